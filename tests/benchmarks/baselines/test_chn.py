from __future__ import annotations

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep import cosine_margin, sign_margin

from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.chn import CHN, cosine_margin_terms, sign_margin_terms


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 80)


def test_pair_loss_against_loops():
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(4, 6, generator=generator), torch.randn(5, 6, generator=generator)
    similar = (torch.arange(20).reshape(4, 5) % 3 == 0).float()
    expected = [
        [cosine_margin(image[i], text[j], float(similar[i, j]), 0.5) for j in range(5)] for i in range(4)
    ]
    np.testing.assert_allclose(cosine_margin_terms(image, text, similar, 0.5), expected, atol=1e-6)


def test_pairs_past_the_margin_cost_nothing():
    image = torch.tensor([[1.0, 0.0]])
    text = torch.tensor([[2.0, 0.1], [-2.0, 0.1]])
    np.testing.assert_array_equal(cosine_margin_terms(image, text, torch.tensor([[1.0, 0.0]]), 0.8), [[0, 0]])


def test_corner_loss_against_loops_and_corners_cost_nothing():
    outputs = torch.randn(5, 6, generator=torch.Generator().manual_seed(1)) ** 3
    expected = [sign_margin(row, 0.9) for row in outputs]
    np.testing.assert_allclose(sign_margin_terms(outputs, 0.9), expected, atol=1e-6)
    assert max(expected) > 0
    np.testing.assert_allclose(sign_margin_terms(torch.tensor([[0.3, -0.3, 0.3]]), 1.0), [0], atol=1e-6)


def test_gradients_of_zero_outputs_are_finite():
    outputs = torch.zeros(3, 8, requires_grad=True)
    loss = cosine_margin_terms(outputs, outputs, torch.eye(3), 0.8).mean()
    torch.autograd.backward(loss + sign_margin_terms(outputs, 0.8).mean())
    assert outputs.grad.isfinite().all()


def test_separable_classes_are_found_out_of_sample():
    database = held_out(40, 4, 0)
    assert min(precision(CHN().fit(class_pairs(80, 4, 0), 16), database, database)) > 0.98


def test_quantization_makes_outputs_alike_in_size():
    pairs = class_pairs(60, 3, 0)
    free, drawn = (
        type("Weighted", (CHN,), {"margin": 1.0, "quantization": weight})().fit(pairs, 16)
        for weight in (0.0, 10.0)
    )

    def spread(method):
        sizes = np.abs(method.embed_image(pairs.image))
        return (sizes.std(axis=1) / sizes.mean(axis=1)).mean()

    assert spread(drawn) < 0.5 * spread(free)
