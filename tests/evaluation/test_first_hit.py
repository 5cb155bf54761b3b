from __future__ import annotations

import math

import numpy as np
import oracles_evaluation as oracle
import pytest

from spdq.evaluation import evaluate_ranking
from spdq.evaluation.first_hit import first_rank, median
from spdq.evaluation.ties import rank


@pytest.mark.parametrize("seed", range(20))
def test_ranks_under_ties_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    distances, gains = rng.integers(0, 3, 7).astype(np.float32), rng.integers(0, 2, 7)
    ranks = [oracle.score("median-rank", 0, ranked) for ranked in oracle.orders(distances, gains)]
    expected = sum(ranks) / len(ranks), min(ranks), max(ranks), 1
    assert first_rank(rank(distances, gains), 0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("items", [0, 3])
def test_nothing_relevant_ranks_behind_all(items):
    assert first_rank(rank(np.zeros(items), np.zeros(items)), 0)[:3] == (items + 1,) * 3


def test_the_median_of_queries():
    distances = np.tile(np.arange(5.0), (4, 1))
    relevant = np.eye(5, dtype=bool)[[0, 2, 3, 4]]
    (figure,) = evaluate_ranking(distances, relevant, "median-rank")
    assert (figure.value, figure.lowest, figure.highest) == (3.5, 3.5, 3.5)


def test_no_query_has_no_median():
    assert all(math.isnan(value) for value in median([]))
