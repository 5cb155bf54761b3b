from __future__ import annotations

import math

import numpy as np
import oracles_models as oracle
import pytest
import torch

from spdq.losses.classification import label_set_terms, sigmoid_terms

SETS = ((0, 3, True), (3, 5, False), (5, 6, False), (6, 8, True))


def drawn(n):
    random = np.random.default_rng(n)
    logits = (3 * random.normal(size=(n, 8))).astype(np.float32)
    labels = (random.random((n, 8)) < 0.5).astype(np.float32)
    for start, stop, exclusive in SETS:
        if exclusive:
            labels[:, start:stop] = np.eye(stop - start)[random.integers(stop - start, size=n)]
    return torch.from_numpy(logits), torch.from_numpy(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("n", [1, 9])
def test_label_sets_equal_the_twin(n, smoothing):
    logits, labels = drawn(n)
    found = label_set_terms(logits, labels, SETS, smoothing)
    expected = oracle.label_set_terms(logits.tolist(), labels.tolist(), SETS, smoothing)
    assert found.shape == (len(SETS), n)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sigmoid_equals_the_twin():
    logits, labels = drawn(7)
    expected = [
        list(map(oracle.sigmoid_cross_entropy, *pair))
        for pair in zip(logits.tolist(), labels.tolist(), strict=True)
    ]
    np.testing.assert_allclose(sigmoid_terms(logits, labels), expected, rtol=1e-5, atol=1e-6)


def test_by_hand():
    """Zero logits: log 2 a free label, log 3 a softmax of three, whatever the smoothing."""
    labels = torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0]])
    found = label_set_terms(torch.zeros(1, 5), labels, ((0, 3, True), (3, 5, False)), 0.1)
    np.testing.assert_allclose(found, [[math.log(3)], [2 * math.log(2)]], rtol=1e-6)


def test_a_row_of_zeros_is_an_item_with_none_of_the_labels():
    (term,) = sigmoid_terms(torch.zeros(1, 3), torch.zeros(1, 3))
    np.testing.assert_allclose(term, [math.log(2)] * 3, rtol=1e-6)


def test_smoothing_leaves_free_labels_alone():
    logits, labels = drawn(4)
    sharp, smooth = (label_set_terms(logits, labels, SETS, smoothing) for smoothing in (0, 0.3))
    torch.testing.assert_close(sharp[1:3], smooth[1:3], rtol=0, atol=0)
    assert (sharp[[0, 3]] != smooth[[0, 3]]).all()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    terms = label_set_terms(logits, torch.tensor([[0.0, 1, 0, 1]]), ((0, 2, True), (2, 4, False)), 0.0)
    np.testing.assert_allclose(terms.detach(), [[2e4], [2e4]])
    terms.sum().backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("n", [0, 5])
def test_no_label_set(n):
    assert label_set_terms(torch.zeros(n, 0), torch.zeros(n, 0), (), 0.1).shape == (0, n)


def test_no_row():
    logits, labels = drawn(0)
    assert label_set_terms(logits, labels, SETS, 0.1).shape == (4, 0)
