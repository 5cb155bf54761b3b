"""The supervised contrastive tower: its loss against loops, a worked case, a separable problem, code lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep2 import supervised_contrast
from torch.nn import functional

from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.supcon_pq import SupConPQ, contrastive_terms


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 40)


def test_loss_is_the_paper_s():
    random = np.random.default_rng(0)
    vectors = functional.normalize(torch.from_numpy(random.standard_normal((9, 4))).float(), dim=1)
    positives = (random.random((9, 9)) < 0.3).astype(np.float32)
    positives[2] = 0
    found = contrastive_terms(vectors, torch.from_numpy(positives), 0.2)
    wanted = supervised_contrast(vectors.tolist(), positives, 0.2)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-6)
    assert found[2] == 0


def test_loss_of_equal_vectors_counts_the_others():
    vectors = torch.ones(5, 1)
    found = contrastive_terms(vectors, torch.ones(5, 5), 0.1)
    np.testing.assert_allclose(found.numpy(), math.log(4), rtol=1e-6)


def test_classes_far_apart_are_found():
    arguments = {"n": 150, "classes": 5, "seed": 1}
    method = SupConPQ().fit(class_pairs(**arguments), 16, seed=0)
    queries = held_out(**arguments)
    assert min(precision(method, queries, queries)) > 0.97


def test_vectors_have_length_one():
    pairs = class_pairs(40, 4, 0)
    method = SupConPQ().fit(pairs, 16)
    image, text = method.embed_image(pairs.image), method.embed_text(pairs.text)
    for vectors in (image, text, method.embed_unit(image, text)):
        assert vectors.shape == (40, 128)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_a_code_length_that_does_not_divide_the_width_gets_zero_columns():
    pairs = class_pairs(40, 4, 0)
    method = SupConPQ().fit(pairs, 16)
    longer = method.with_bits(24)
    assert longer.encode_text(pairs.text).shape == (40, 3)
    vectors = longer.embed_image(pairs.image)
    assert vectors.shape == (40, 129)
    assert not vectors[:, 128].any()
    np.testing.assert_array_equal(vectors[:, :128], method.embed_image(pairs.image))


def test_another_length_is_the_same_space():
    pairs = class_pairs(40, 4, 0)
    np.testing.assert_array_equal(
        SupConPQ().fit(pairs, 16, 3).with_bits(8).encode_image(pairs.image),
        SupConPQ().fit(pairs, 8, 3).encode_image(pairs.image),
    )
