from __future__ import annotations

import math

import numpy as np
import oracles_evaluation as oracle
import pytest
from sklearn.metrics import ndcg_score

from spdq.evaluation.ndcg import dcg, ndcg
from spdq.evaluation.ties import rank


def test_by_hand():
    # Gains 0, 3, 1 in order; two ranks count.
    found = ndcg(rank(np.arange(3.0), np.array([0, 3, 1])), 2)
    assert found == pytest.approx((*[(3 / math.log2(3)) / (3 + 1 / math.log2(3))] * 3, 1))


@pytest.mark.parametrize("seed", range(20))
def test_graded_gains_under_ties_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    distances, gains = rng.integers(0, 3, 7).astype(np.float32), rng.integers(0, 4, 7)
    for cut in (1, 2, 4, 7, 9):
        scores = [oracle.score("ndcg@n", cut, ranked) for ranked in oracle.orders(distances, gains)]
        expected = sum(scores) / len(scores), min(scores), max(scores), 1
        assert ndcg(rank(distances, gains), cut) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("cut", [1, 10, 100, 500])
def test_expected_value_is_that_of_scikit_learn(cut):
    rng = np.random.default_rng(1)
    distances, gains = rng.integers(0, 30, 300), rng.integers(0, 5, 300).astype(np.float32)
    expected = ndcg_score(gains[None], -distances[None], k=cut)
    assert ndcg(rank(distances, gains), cut).value == pytest.approx(expected, abs=1e-9)


def test_yes_or_no_relevance_is_gain_one():
    rng = np.random.default_rng(2)
    distances, relevant = rng.integers(0, 5, 40), rng.random(40) < 0.3
    assert ndcg(rank(distances, relevant), 10) == ndcg(rank(distances, relevant.astype(float)), 10)


def test_nothing_to_gain():
    for n_items in (0, 3):
        for measure in (ndcg, dcg):
            assert measure(rank(np.zeros(n_items), np.zeros(n_items)), 2) == (0, 0, 0, 1)


def test_the_factor_of_the_challenge():
    """.01757 times the sum, which 25 excellent items bring to 1."""
    gains = np.array([7, 3, 0, 7] + [0] * 30)
    by_hand = 0.01757 * (7 + 3 / math.log2(3) + 7 / math.log2(5))
    assert dcg(rank(np.arange(34.0), gains), 25).value == pytest.approx(by_hand, rel=1e-3)
    assert dcg(rank(np.arange(30.0), np.full(30, 7)), 25).value == pytest.approx(1)
    assert dcg(rank(np.arange(2.0), np.full(2, 7)), 25).value == pytest.approx(
        (1 + 1 / math.log2(3)) / sum(1 / math.log2(i + 1) for i in range(1, 26))
    )
