"""DJSRH: affinity and loss against loops, a target that codes can reach, clusters without labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep2 import joint_affinity, reconstruction_error

from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.djsrh import DJSRH, affinity, reconstruction


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def test_affinity_is_the_paper_s():
    image, text = normal(6, 5), normal(6, 3, seed=1)
    wanted = joint_affinity(image.tolist(), text.tolist(), beta=0.6, eta=0.4, mu=1.5)
    np.testing.assert_allclose(affinity(image, text).numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_affinity_of_equal_rows_is_mu():
    rows = torch.ones(4, 3)
    np.testing.assert_allclose(affinity(rows, 2 * rows).numpy(), 1.5, rtol=1e-6)


def test_affinity_of_rows_of_zeros_is_finite():
    assert torch.isfinite(affinity(torch.zeros(3, 4), normal(3, 4))).all()


def test_loss_is_the_paper_s():
    image, text, target = normal(6, 8), normal(6, 8, seed=1), normal(6, 6, seed=2)
    wanted = reconstruction_error(image.tolist(), text.tolist(), target.tolist(), within=0.1)
    np.testing.assert_allclose(float(reconstruction(image, text, target)), wanted, rtol=1e-5)


def test_loss_is_zero_where_codes_have_the_target_s_cosines():
    codes = torch.tensor([[1.0, 1, 1, 1], [1, 1, -1, -1], [-1, -1, -1, -1]])
    assert float(reconstruction(codes, 0.5 * codes, codes @ codes.T / 4)) == pytest.approx(0, abs=1e-12)


def test_clusters_are_found_without_labels(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 150)
    arguments = {"n": 150, "classes": 5, "seed": 1}
    method = DJSRH().fit(dataclasses.replace(class_pairs(**arguments), labels=None), 32, seed=0)
    queries = held_out(**arguments)
    assert min(precision(method, queries, queries)) > 0.9


def test_inputs_are_centred(monkeypatch):
    """The affinity does not see where the inputs' origin is."""
    seen = []

    def watched(image, text):
        seen.append(affinity(image, text))
        return seen[-1]

    monkeypatch.setattr(towers, "MIN_STEPS", 1)
    monkeypatch.setattr("spdq_benchmarks.baselines.djsrh.affinity", watched)
    pairs = class_pairs(30, 3, 0)
    for shift in (0, 5):
        DJSRH().fit(dataclasses.replace(pairs, image=pairs.image + np.float32(shift)), 8)
    first, second = seen[0], seen[len(seen) // 2]
    np.testing.assert_allclose(first.numpy(), second.numpy(), atol=1e-4)
