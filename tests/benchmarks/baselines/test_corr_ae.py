from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep import correspondence

from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.corr_ae import CorrAE, correspondence_terms


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 100)


def test_loss_against_loops():
    generator = torch.Generator().manual_seed(0)
    x, x_again = torch.randn(2, 4, 6, generator=generator)
    y, y_again = torch.randn(2, 4, 3, generator=generator)
    f, g = torch.randn(2, 4, 5, generator=generator)
    expected = [correspondence(x[i], x_again[i], f[i], y[i], y_again[i], g[i], 0.3) for i in range(4)]
    np.testing.assert_allclose(correspondence_terms(x, x_again, f, y, y_again, g, 0.3), expected, rtol=1e-5)


def test_classes_are_found_without_labels():
    pairs = dataclasses.replace(class_pairs(80, 4, 0), labels=None)
    database = held_out(40, 4, 0)
    assert min(precision(CorrAE().fit(pairs, 32), database, database)) > 0.9


def test_the_very_item_is_found_where_both_modalities_are_linear_in_one_cause():
    random = np.random.default_rng(0)
    causes = random.standard_normal((200, 4))
    image, text = ((causes @ random.standard_normal((4, width))).astype(np.float32) for width in (12, 9))
    method = CorrAE().fit(Pairs(image[:150], text[:150]), 64)
    distances = method.distances(method.embed_image(image[150:]), method.encode_text(text[150:]))
    assert (distances.argmin(axis=1) == np.arange(50)).mean() > 0.6  # by chance .02


def test_vectors_are_centred_by_the_training_mean_of_their_modality():
    pairs = class_pairs(60, 3, 0)
    shifted = Pairs(pairs.image + 3, pairs.text - 2)
    method = CorrAE().fit(shifted, 8)
    np.testing.assert_allclose(method.embed_image(shifted.image).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(method.embed_text(shifted.text).mean(axis=0), 0, atol=1e-4)


def test_correspondence_brings_the_vectors_of_a_pair_together():
    pairs = class_pairs(60, 6, 0, noise=0.6)

    def apart(weight):
        method = type("Weighted", (CorrAE,), {"correspondence": weight})().fit(pairs, 8)
        image, text = method.embed_image(pairs.image), method.embed_text(pairs.text)
        return np.square(image - text).sum() / np.square(image).sum()

    assert apart(0.8) < 0.5 * apart(0.01)
