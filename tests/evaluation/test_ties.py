from __future__ import annotations

from math import comb

import numpy as np
import pytest

from spdq.evaluation.ties import hits_inside, place_of_hit, rank


def test_groups_of_a_worked_case():
    ranking = rank(np.float32([2, 1, 2, 0.5, 2, 3]), np.array([1, 0, 1, 1, 0, 0], bool))
    assert ranking.start.tolist() == [0, 1, 2, 5]
    assert ranking.size.tolist() == [1, 1, 3, 1]
    assert ranking.hits.tolist() == [1, 0, 2, 0]
    assert ranking.before.tolist() == [0, 1, 1, 3]
    assert ranking.best_ranks.tolist() == [1, 3, 4]
    assert ranking.worst_ranks.tolist() == [1, 4, 5]
    assert [ranking.group_at(place) for place in range(1, 7)] == [0, 1, 2, 2, 2, 3]


def test_no_items():
    ranking = rank(np.zeros(0, np.float32), np.zeros(0, bool))
    assert (ranking.items, ranking.relevant, len(ranking.start)) == (0, 0, 0)


def test_infinite_and_negative_zero_distances_tie():
    ranking = rank(np.float32([np.inf, -0.0, np.inf, 0.0, -np.inf]), np.ones(5, bool))
    assert ranking.size.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("size", "hits", "inside"),
    [(1, 0, 1), (1, 1, 1), (7, 3, 4), (7, 7, 2), (7, 0, 2), (400, 90, 50), (400, 390, 50)],
)
def test_hits_inside_against_binomials(size, hits, inside):
    values, chance = hits_inside(size, hits, inside)
    possible = [x for x in range(inside + 1) if x <= hits and inside - x <= size - hits]
    exact = [comb(hits, x) * comb(size - hits, inside - x) / comb(size, inside) for x in possible]
    assert values.tolist() == possible
    np.testing.assert_allclose(chance, exact, rtol=1e-10)


@pytest.mark.parametrize(
    ("size", "hits", "which"), [(1, 1, 1), (7, 3, 1), (7, 3, 3), (7, 7, 4), (400, 90, 50), (400, 399, 1)]
)
def test_place_of_hit_against_binomials(size, hits, which):
    values, chance = place_of_hit(size, hits, which)
    possible = range(which, size - hits + which + 1)
    exact = [comb(j - 1, which - 1) * comb(size - j, hits - which) / comb(size, hits) for j in possible]
    assert values.tolist() == list(possible)
    np.testing.assert_allclose(chance, exact, rtol=1e-10)
