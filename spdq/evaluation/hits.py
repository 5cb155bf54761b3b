"""Measures that count the hits in the top n of one query: precision, recall, the points of a curve."""

from __future__ import annotations

import numpy as np

from spdq.evaluation.averages import Score
from spdq.evaluation.ties import FloatArray, IntArray, TiedRanking

CURVE_POINTS = 64


def hits_within(ranking: TiedRanking, ranks: IntArray) -> FloatArray:
    """Expected, fewest and most hits in the top ``ranks``.

    Parameters
    ----------
    ranks : (r,) int64, from 1; beyond the last item all hits are counted

    Returns
    -------
    (3, r) float64
    """
    if ranking.items == 0:
        return np.zeros((3, len(ranks)))
    ranks = np.minimum(ranks, ranking.items)
    group = np.searchsorted(ranking.start, ranks) - 1
    share = (ranks - ranking.start[group]) / ranking.size[group]
    return np.stack(
        [
            ranking.before[group] + share * ranking.hits[group],
            np.searchsorted(ranking.worst_ranks, ranks, side="right"),
            np.searchsorted(ranking.best_ranks, ranks, side="right"),
        ]
    )


def precision(ranking: TiedRanking, cut: int) -> Score:
    """``precision@n``: hits in the top n / n."""
    return Score(*(hits_within(ranking, np.array([cut]))[:, 0] / cut).tolist())


def recall(ranking: TiedRanking, cut: int) -> Score:
    """``recall@n``: hits in the top n / all relevant items; 0 where there are none."""
    return Score(*(hits_within(ranking, np.array([cut]))[:, 0] / max(ranking.relevant, 1)).tolist())


def curve_ranks(items: int) -> IntArray:
    """(at most CURVE_POINTS,) the ranks of ``pr-curve``: from 1 to ``items``, evenly in logarithm."""
    if items == 0:
        return np.zeros(0, np.int64)
    return np.unique(np.rint(np.geomspace(1, items, CURVE_POINTS)).astype(np.int64))


def curve(ranking: TiedRanking, ranks: IntArray) -> FloatArray:
    """(2, 3, r) recall and precision; each expected, lowest, highest; at every one of ``ranks``."""
    hits = hits_within(ranking, ranks)
    return np.stack([hits / max(ranking.relevant, 1), hits / ranks])
