from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles_csm import softmax_terms

from spdq.losses.click_softmax import click_softmax_terms


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 4), (5, 5), (6, 11)])
def test_equals_the_twin(rows, columns, share):
    random = np.random.default_rng(rows)
    scores = (3 * random.normal(size=(rows, columns))).astype(np.float32)
    clicked = random.random((rows, columns)) < share
    found = click_softmax_terms(torch.from_numpy(scores), torch.from_numpy(clicked))
    assert found.shape == (rows,)
    np.testing.assert_allclose(found, softmax_terms(scores.tolist(), clicked.tolist()), atol=1e-5)


def test_by_hand():
    scores = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    clicked = torch.tensor([[True, False, True], [False, True, False]])
    expected = [math.log(1 + math.exp(-2)), math.log(1 + 2 * math.exp(-2))]
    np.testing.assert_allclose(click_softmax_terms(scores, clicked), expected, rtol=1e-6)


def test_the_own_pair_counts_whatever_the_log_says():
    scores = torch.randn(4, 4)
    own = torch.eye(4, dtype=torch.bool)
    assert torch.equal(click_softmax_terms(scores, own), click_softmax_terms(scores, ~own & own))


def test_without_negatives_there_is_nothing_to_learn():
    scores = torch.randn(3, 5, requires_grad=True)
    terms = click_softmax_terms(scores, torch.ones(3, 5, dtype=torch.bool))
    terms.sum().backward()
    assert torch.equal(terms.detach(), torch.zeros(3))
    assert torch.equal(scores.grad, torch.zeros(3, 5))


def test_what_was_clicked_gets_no_gradient():
    scores = torch.randn(2, 3, requires_grad=True)
    clicked = torch.tensor([[True, True, False], [False, True, True]])
    click_softmax_terms(scores, clicked).sum().backward()
    assert scores.grad[0, 1] == scores.grad[1, 2] == 0
    assert (scores.grad[0, [0, 2]] != 0).all()


def test_large_scores_stay_finite():
    scores = torch.tensor([[1e4, -1e4], [1e4, -1e4]])
    found = click_softmax_terms(scores, torch.zeros(2, 2, dtype=torch.bool))
    np.testing.assert_allclose(found, [0.0, 2e4])


def test_no_row():
    assert click_softmax_terms(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).shape == (0,)
