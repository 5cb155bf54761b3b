from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles_gated import hinge

from spdq.losses.structured_hinge import structured_hinge_terms


def rows(n, dim, seed):
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def terms_of(queries, targets, cost):
    return structured_hinge_terms(*map(torch.from_numpy, (queries, targets, cost.astype(np.float32)))).numpy()


@pytest.mark.parametrize("n", [1, 2, 9])
def test_equal_to_the_plain_sum(n):
    classes = np.random.default_rng(3).integers(0, 4, n)
    cost = 0.3 * (classes[:, None] != classes[None, :])
    queries, targets = rows(n, 5, 1), rows(n, 5, 2)
    np.testing.assert_allclose(terms_of(queries, targets, cost), hinge(queries, targets, cost), atol=1e-6)


def test_nothing_is_violated_beyond_the_margin():
    same = np.eye(4, dtype=np.float32)
    assert terms_of(same, same, 0.5 * (1 - same)).sum() == 0


def test_a_batch_of_one_class_has_no_negatives():
    terms = terms_of(rows(5, 3, 0), rows(5, 3, 1), np.zeros((5, 5)))
    np.testing.assert_array_equal(terms, np.zeros((2, 5)))


def test_a_batch_of_one_class_has_no_gradient_that_is_no_number():
    queries = torch.from_numpy(rows(3, 2, 0)).requires_grad_()
    terms = structured_hinge_terms(queries, torch.from_numpy(rows(3, 2, 1)), torch.zeros(3, 3))
    torch.autograd.backward(terms.sum())
    assert queries.grad is not None
    assert torch.equal(queries.grad, torch.zeros(3, 2))


def test_the_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(0)
    queries, targets = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    cost = 0.2 * (1 - torch.eye(6, dtype=torch.float64))
    inputs = (queries.requires_grad_(), targets.requires_grad_(), cost)
    assert torch.autograd.gradcheck(structured_hinge_terms, inputs)
