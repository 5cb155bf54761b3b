from __future__ import annotations

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep import dcmh_pull, mean_likelihood

from spdq_benchmarks.baselines import dcmh, towers
from spdq_benchmarks.baselines.dcmh import DCMH, joint_signs
from spdq_benchmarks.baselines.towers import positive_weight


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 80)


def weighted(weight, n=9, **numbers):
    """An untrained method with n pairs whose similar pairs have this weight."""
    method = type("Weighted", (DCMH,), numbers)()
    method.pairs, method.weight = class_pairs(n, 3, 0), weight
    return method


def test_objective_of_a_batch_against_loops():
    generator = torch.Generator().manual_seed(0)
    own, others = torch.randn(2, 7, 5, generator=generator)
    outputs, signs = torch.randn(3, 5, generator=generator), torch.ones(3, 5)
    signs[1] = -1
    similar = (torch.arange(21).reshape(3, 7) % 3 == 0).float()
    found = weighted(2.5, gamma=0.7, eta=0.3)._loss(outputs, signs, own, others, similar)
    expected = mean_likelihood(outputs, others, similar, 2.5) + dcmh_pull(outputs, signs, 0.7, 0.3) / (3 * 9)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_signs_are_of_the_sum_and_zero_is_positive():
    image, text = torch.tensor([[3.0, -1.0, 0.0]]), torch.tensor([[-2.0, -1.0, 0.0]])
    np.testing.assert_array_equal(joint_signs(image, text), [[1, -1, 1]])


def test_gradient_is_finite_where_everything_is_equal():
    outputs = torch.zeros(2, 8, requires_grad=True)
    buffer = torch.zeros(4, 8)
    torch.autograd.backward(weighted(1.0)._loss(outputs, torch.ones(2, 8), buffer, buffer, torch.zeros(2, 4)))
    assert outputs.grad.isfinite().all()


def test_a_batch_meets_a_part_of_many_items(monkeypatch):
    monkeypatch.setattr(dcmh, "PARTNERS", 24)
    met = []
    plain = DCMH._loss

    def watched(method, outputs, signs, partners, others, similar):
        met.append((len(partners), len(others), tuple(similar.shape)))
        return plain(method, outputs, signs, partners, others, similar)

    monkeypatch.setattr(DCMH, "_loss", watched)
    database = held_out(40, 4, 0)
    assert min(precision(DCMH().fit(class_pairs(80, 4, 0), 16), database, database)) > 0.98
    assert met == [(24, 24, (80, 24))] * 160


def test_separable_classes_are_found_out_of_sample():
    database = held_out(40, 4, 0)
    assert min(precision(DCMH().fit(class_pairs(80, 4, 0), 16), database, database)) > 0.98


def test_quantization_draws_outputs_to_the_corners():
    pairs = class_pairs(60, 3, 0)
    free, drawn = (type("Weighted", (DCMH,), {"gamma": gamma})().fit(pairs, 16) for gamma in (0.0, 100.0))

    def distance(method):
        return np.abs(np.abs(method.embed_image(pairs.image)) - 1).mean()

    assert distance(drawn) < 0.5 * distance(free)


def test_balance_evens_the_bits_of_a_class_that_outnumbers_the_others():
    pairs = class_pairs(60, 3, 0)
    many = pairs.labels[:, 0].astype(bool) | (np.arange(60) < 6)
    crowded = type(pairs)(pairs.image[many], pairs.text[many], pairs.labels[many])
    free, even = (type("Weighted", (DCMH,), {"eta": eta})().fit(crowded, 16) for eta in (0.0, 100.0))

    def lean(method):
        return np.abs(method.embed_image(crowded.image).mean(axis=0)).mean()

    assert lean(even) < 0.5 * lean(free)


def test_settings_tell_the_numbers_of_the_fit():
    pairs = class_pairs(30, 3, 0)
    settings = DCMH().fit(pairs, 8).settings
    assert settings["steps"] == 80
    assert settings["positive_weight"] == positive_weight(pairs.labels) == pytest.approx(2)
