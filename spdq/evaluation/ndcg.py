"""Discounted cumulative gain of one query under tied distances, normalised two ways."""

from __future__ import annotations

import numpy as np

from spdq.evaluation.averages import Score
from spdq.evaluation.ties import FloatArray, TiedRanking

EXCELLENT = 7
"""Gain of the best grade of the MSR-Bing challenge: 2^3 - 1."""


def ndcg(ranking: TiedRanking, cut: int) -> Score:
    """``ndcg@n``: sum of gain / log2(rank + 1) over the top n / the same sum with the largest gains first.

    Gains are used as given (1 for a relevant item where relevance is yes or no; give 2^grade - 1 for the
    other usual form). The expected gain of a rank is the mean gain of the group that holds it, so the
    expected value is exact for graded gains too. 0 where no item has a gain.
    """
    cut = min(cut, ranking.items)
    if cut == 0 or ranking.relevant == 0:
        return Score(0.0, 0.0, 0.0)
    return _discounted(ranking, cut, float(np.sort(ranking.gains)[::-1][:cut] @ _discount(cut)))


def dcg(ranking: TiedRanking, cut: int) -> Score:
    """``dcg@n``: the same sum / what n excellent items (gain 7) would give, whether there are as many or not.

    At n = 25 that is the .01757 of the MSR-Bing Image Retrieval Challenge, whose grades 3, 2 and 0 have the gains
    2^grade - 1.
    """
    best = EXCELLENT * float(_discount(cut).sum())
    if ranking.items == 0 or ranking.relevant == 0:
        return Score(0.0, 0.0, 0.0)
    return _discounted(ranking, min(cut, ranking.items), best)


def _discount(cut: int) -> FloatArray:
    return np.asarray(1 / np.log2(np.arange(2, cut + 2)))


def _discounted(ranking: TiedRanking, cut: int, best: float) -> Score:
    """Sums over the top ``cut`` of all orders of ties, over ``best``."""
    discount = _discount(cut)
    groups = ranking.group_at(cut) + 1
    start, size = ranking.start[:groups], ranking.size[:groups]
    gains = ranking.gains[: size.sum()].astype(np.float64)
    group = np.repeat(np.arange(groups), size)
    mean = np.add.reduceat(gains, start) / size
    value, lowest, highest = (
        float(ordered[:cut] @ discount) / best
        for ordered in (mean[group], gains[np.lexsort((gains, group))], gains[np.lexsort((-gains, group))])
    )
    return Score(value, lowest, highest)
