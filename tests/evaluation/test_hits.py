from __future__ import annotations

import numpy as np
import pytest

from spdq.evaluation import hits
from spdq.evaluation.ties import rank


def test_hits_within_by_hand():
    # A hit, then four tied with two hits, then a miss.
    ranking = rank(np.float32([0, 1, 1, 1, 1, 2]), np.array([1, 1, 0, 1, 0, 0], bool))
    expected, fewest, most = hits.hits_within(ranking, np.arange(1, 9))
    assert expected.tolist() == [1, 1.5, 2, 2.5, 3, 3, 3, 3]
    assert fewest.tolist() == [1, 1, 1, 2, 3, 3, 3, 3]
    assert most.tolist() == [1, 2, 3, 3, 3, 3, 3, 3]


def test_precision_divides_by_n_and_recall_by_all_relevant():
    ranking = rank(np.arange(3.0), np.array([True, False, True]))
    assert hits.precision(ranking, 2) == (0.5, 0.5, 0.5, 1)
    assert hits.precision(ranking, 8) == (0.25, 0.25, 0.25, 1)
    assert hits.recall(ranking, 2) == (0.5, 0.5, 0.5, 1)
    assert hits.recall(ranking, 8) == (1, 1, 1, 1)


def test_no_items_and_no_relevant_item():
    for n_items in (0, 3):
        ranking = rank(np.zeros(n_items), np.zeros(n_items, bool))
        assert hits.precision(ranking, 2) == hits.recall(ranking, 2) == (0, 0, 0, 1)


@pytest.mark.parametrize("items", [0, 1, 2, 64, 1000, 180_000])
def test_curve_ranks(items):
    ranks = hits.curve_ranks(items)
    assert len(ranks) <= hits.CURVE_POINTS
    assert (np.diff(ranks) > 0).all()
    if items:
        assert ranks[0] == 1
        assert ranks[-1] == items


def test_curve_is_recall_and_precision_at_each_rank():
    rng = np.random.default_rng(0)
    ranking = rank(rng.integers(0, 9, 50), rng.random(50) < 0.3)
    ranks = hits.curve_ranks(50)
    curve = hits.curve(ranking, ranks)
    for i, place in enumerate(ranks.tolist()):
        assert curve[0, :, i] == pytest.approx(hits.recall(ranking, place)[:3])
        assert curve[1, :, i] == pytest.approx(hits.precision(ranking, place)[:3])
