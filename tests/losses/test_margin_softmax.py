from __future__ import annotations

import math

import numpy as np
import oracles_mixer as oracle
import pytest
import torch

from spdq.losses.margin_softmax import margin_softmax_terms


def drawn(n, width, seed):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def terms(vectors, weights, own, margin, scale):
    found = margin_softmax_terms(
        torch.from_numpy(vectors), torch.from_numpy(weights), torch.tensor(own), margin=margin, scale=scale
    )
    return found.numpy()


@pytest.mark.parametrize(("margin", "scale"), [(0.0, 1.0), (0.2, 16.0), (0.5, 64.0)])
@pytest.mark.parametrize("n", [1, 7])
def test_equals_the_twin(n, margin, scale):
    vectors, weights = drawn(n, 5, 0), drawn(4, 5, 1)
    own = [row % 4 for row in range(n)]
    found = terms(vectors, weights, own, margin, scale)
    assert (found.shape, found.dtype) == ((n,), np.float32)
    np.testing.assert_allclose(
        found, oracle.margin_softmax(vectors, weights, own, margin, scale), rtol=1e-4, atol=1e-4
    )


def test_by_hand():
    """Own cosine 1, the other's 0: log(1 + exp(-s (1 - m)))."""
    eye = np.eye(2, dtype=np.float32)
    expected = math.log1p(math.exp(-4 * (1 - 0.25)))
    np.testing.assert_allclose(terms(3 * eye, 0.1 * eye, [0, 1], 0.25, 4.0), [expected] * 2, rtol=1e-5)


def test_one_class_costs_nothing():
    np.testing.assert_array_equal(terms(drawn(3, 5, 0), drawn(1, 5, 1), [0, 0, 0], 0.3, 16.0), np.zeros(3))


def test_no_sample():
    assert terms(drawn(0, 5, 0), drawn(2, 5, 1), np.zeros(0, np.int64), 0.3, 16.0).shape == (0,)


def test_gradients_stay_finite_at_the_class_itself():
    weights = torch.from_numpy(drawn(3, 4, 1)).requires_grad_()
    vectors = weights.detach().clone().requires_grad_()
    margin_softmax_terms(vectors, weights, torch.arange(3), margin=0.2, scale=64.0).sum().backward()
    assert torch.isfinite(vectors.grad).all()
    assert torch.isfinite(weights.grad).all()
