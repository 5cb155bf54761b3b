"""Normalised discounted cumulative gain of one query under tied distances."""

from __future__ import annotations

import numpy as np

from spdq.evaluation.averages import Score
from spdq.evaluation.ties import TiedRanking


def ndcg(ranking: TiedRanking, cut: int) -> Score:
    """``ndcg@n``: sum of gain / log2(rank + 1) over the top n / the same sum with the largest gains first.

    Gains are used as given (1 for a relevant item where relevance is yes or no; give 2^grade - 1 for the
    other usual form). The expected gain of a rank is the mean gain of the group that holds it, so the
    expected value is exact for graded gains too. 0 where no item has a gain.
    """
    cut = min(cut, ranking.items)
    if cut == 0 or ranking.relevant == 0:
        return Score(0.0, 0.0, 0.0)
    discount = 1 / np.log2(np.arange(2, cut + 2))
    ideal = float(np.sort(ranking.gains)[::-1][:cut] @ discount)

    groups = ranking.group_at(cut) + 1
    start, size = ranking.start[:groups], ranking.size[:groups]
    gains = ranking.gains[: size.sum()].astype(np.float64)
    group = np.repeat(np.arange(groups), size)
    mean = np.add.reduceat(gains, start) / size
    value, lowest, highest = (
        float(ordered[:cut] @ discount) / ideal
        for ordered in (mean[group], gains[np.lexsort((gains, group))], gains[np.lexsort((-gains, group))])
    )
    return Score(value, lowest, highest)
