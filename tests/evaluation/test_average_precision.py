"""The four average precisions, held against enumeration of every order and against cases worked by hand."""

from __future__ import annotations

import itertools

import numpy as np
import oracles_evaluation as oracle
import pytest

from spdq.evaluation import average_precision as ap
from spdq.evaluation.ties import rank

DEFINED = {
    "map@all": ap.over_all,
    "map@R": ap.in_top,
    "map@R/skip": ap.in_top_or_skip,
    "map@R/first-hits": ap.at_first_hits,
}


def enumerated(row, cut, distances, gains):
    """(value with left-out orders as 0, lowest and highest of the rest, chance to count)."""
    scores = [oracle.score(row, cut, ranked) for ranked in oracle.orders(distances, gains)]
    counted = [s for s in scores if s is not None]
    extremes = (min(counted), max(counted)) if counted else (0.0, 0.0)
    return sum(counted) / len(scores), *extremes, len(counted) / len(scores)


@pytest.mark.parametrize("row", DEFINED)
def test_every_tie_structure_and_relevance_of_five_items(row):
    for steps in itertools.product([0, 1], repeat=4):
        distances = np.cumsum([0, *steps]).astype(np.float32)
        for pattern in itertools.product([False, True], repeat=5):
            gains = np.array(pattern)
            ranking = rank(distances, gains)
            for cut in range(1, 7):
                found = DEFINED[row](ranking, cut)
                assert found == pytest.approx(enumerated(row, cut, distances, gains), abs=1e-9), (
                    distances, pattern, cut)  # fmt: skip


@pytest.mark.parametrize("row", DEFINED)
@pytest.mark.parametrize("seed", range(6))
def test_larger_groups(row, seed):
    rng = np.random.default_rng(seed)
    distances = np.repeat(np.float32([0, 1, 2]), [2, 10, 3])
    gains = rng.random(15) < 0.4
    for cut in (1, 3, 5, 8, 12, 13):
        found = DEFINED[row](rank(distances, gains), cut)
        assert found == pytest.approx(enumerated(row, cut, distances, gains), abs=1e-9)


def test_without_ties_by_hand():
    # Hits at ranks 1, 3 and 6: precisions 1, 2/3, 1/2.
    ranking = rank(np.arange(6, dtype=np.float32), np.array([1, 0, 1, 0, 0, 1], bool))
    thirds, all_hits = (1 + 2 / 3) / 2, (1 + 2 / 3 + 1 / 2) / 3
    assert ap.over_all(ranking, 0) == pytest.approx((all_hits, all_hits, all_hits, 1))
    assert ap.in_top(ranking, 4) == pytest.approx((thirds, thirds, thirds, 1))
    assert ap.at_first_hits(ranking, 4) == pytest.approx((all_hits, all_hits, all_hits, 1))
    assert ap.at_first_hits(ranking, 2) == pytest.approx((thirds, thirds, thirds, 1))


def test_two_tied_items_by_hand():
    ranking = rank(np.zeros(2, np.float32), np.array([True, False]))
    assert ap.over_all(ranking, 0) == pytest.approx((0.75, 0.5, 1.0, 1))
    assert ap.in_top(ranking, 1) == pytest.approx((0.5, 0.0, 1.0, 1))
    assert ap.in_top_or_skip(ranking, 1) == pytest.approx((0.5, 1.0, 1.0, 0.5))
    assert ap.at_first_hits(ranking, 1) == pytest.approx((0.75, 0.5, 1.0, 1))


def test_relevant_first_is_not_always_best_for_map_at_r():
    # Hit, miss, miss, then one hit and one miss tied, R = 4. With the tied hit inside the cut
    # (1 + 2/4) / 2 = .75, with it behind the cut 1. "Relevant first" would report .75 as the best.
    ranking = rank(np.float32([0, 1, 2, 3, 3]), np.array([1, 0, 0, 1, 0], bool))
    assert ap.in_top(ranking, 4) == pytest.approx((0.875, 0.75, 1.0, 1))


def test_all_tied_large_against_recursion():
    # One group of 3,000 with 700 hits, cut at 50: the exact expected value, rank by rank.
    size, hits, cut = 3000, 700, 50
    ranking = rank(np.zeros(size, np.float32), np.arange(size) < hits)
    # chance[x], sums[x]: probability of x hits so far, and expected sum of precision on that event.
    chance, sums = np.zeros(cut + 2), np.zeros(cut + 2)
    chance[0] = 1.0
    for place in range(1, cut + 1):
        x = np.arange(cut + 2)
        hit = (hits - x) / (size - place + 1)
        gained = (sums + chance * (x + 1) / place) * hit
        sums, chance = (
            sums * (1 - hit) + np.append(0, gained[:-1]),
            chance * (1 - hit) + np.append(0, (chance * hit)[:-1]),
        )
    expected = (sums[1:] / np.arange(1, cut + 2)).sum()
    assert ap.in_top(ranking, cut).value == pytest.approx(expected, abs=1e-10)
    assert ap.in_top_or_skip(ranking, cut).counted == pytest.approx(1 - chance[0], abs=1e-12)


@pytest.mark.parametrize("row", DEFINED)
def test_nothing_to_find(row):
    for n_items in (0, 1, 4):
        ranking = rank(np.zeros(n_items, np.float32), np.zeros(n_items, bool))
        counted = 0 if row in ("map@R/skip", "map@R/first-hits") else 1
        assert DEFINED[row](ranking, 3) == (0, 0, 0, counted)


@pytest.mark.parametrize("row", DEFINED)
@pytest.mark.parametrize("distances", [np.zeros(4), np.arange(4), np.ones(1)])
def test_everything_relevant(row, distances):
    for cut in (1, 3, 4, 9):
        found = DEFINED[row](rank(distances, np.ones(len(distances), bool)), cut)
        assert found == pytest.approx((1, 1, 1, 1), abs=1e-12)
