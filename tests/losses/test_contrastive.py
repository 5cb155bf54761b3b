from __future__ import annotations

import math

import numpy as np
import oracles_models as oracle
import pytest
import torch
from torch.nn import functional

from spdq.losses.contrastive import MAX_SCALE, contrastive_terms


def drawn(n, width, seed):
    rows = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return functional.normalize(torch.from_numpy(rows), dim=1)


@pytest.mark.parametrize("scale", [1.0, 14.0])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_equals_the_twin(n, scale):
    x, y = drawn(n, 4, 0), drawn(n, 4, 1)
    found = contrastive_terms(x, y, torch.tensor(math.log(scale)))
    assert found.shape == (2, n)
    np.testing.assert_allclose(found, oracle.contrastive(x.tolist(), y.tolist(), scale), atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_equal_scores_cost_the_logarithm_of_their_number(n):
    same = torch.ones(n, 1)
    found = contrastive_terms(same, same, torch.tensor(2.0))
    np.testing.assert_allclose(found, np.full((2, n), math.log(n)), rtol=1e-6, atol=1e-7)


def test_by_hand():
    """Own score s, the other's 0: log(1 + exp(-s))."""
    found = contrastive_terms(torch.eye(2), torch.eye(2), torch.tensor(math.log(3.0)))
    np.testing.assert_allclose(found, np.full((2, 2), math.log1p(math.exp(-3))), rtol=1e-5)


def test_the_directions_are_told_apart():
    x, y = drawn(6, 3, 0), drawn(6, 3, 1)
    scale = torch.tensor(1.0)
    torch.testing.assert_close(contrastive_terms(x, y, scale), contrastive_terms(y, x, scale).flip(0))
    assert not torch.equal(*contrastive_terms(x, y, scale))


def test_the_temperature_has_a_bound():
    x, y = drawn(5, 3, 0), drawn(5, 3, 1)
    at, beyond = (torch.tensor(math.log(MAX_SCALE) + more, requires_grad=True) for more in (-1e-3, 3.0))
    bounded = contrastive_terms(x, y, torch.tensor(math.log(MAX_SCALE)))
    torch.testing.assert_close(contrastive_terms(x, y, beyond), bounded, rtol=1e-4, atol=1e-4)
    for scale in (at, beyond):
        contrastive_terms(x, y, scale).sum().backward()
    assert at.grad != 0
    assert beyond.grad == 0


def test_no_row():
    empty = torch.zeros(0, 3)
    assert contrastive_terms(empty, empty, torch.tensor(0.0)).shape == (2, 0)
