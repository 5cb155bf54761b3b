"""Where the first relevant item of a query stands, and the median over queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spdq.evaluation.averages import Score
from spdq.evaluation.figures import Spread
from spdq.evaluation.ties import TiedRanking


def first_rank(ranking: TiedRanking, cut: int) -> Score:
    """Rank of the first hit, from 1; one more than there are items where nothing is relevant.

    Of s tied items with h hits the first hit stands at (s + 1) / (h + 1) on average.
    """
    group = int(np.argmax(ranking.hits > 0)) if ranking.relevant else 0
    if not ranking.relevant:
        beyond = float(ranking.items + 1)
        return Score(beyond, beyond, beyond)
    start, size, hits = (int(part[group]) for part in (ranking.start, ranking.size, ranking.hits))
    return Score(start + (size + 1) / (hits + 1), start + 1, start + size - hits + 1)


def median(scores: Sequence[Score]) -> Spread:
    """``median-rank``: medians over queries of the expected, best and worst rank; NaN without queries."""
    if not scores:
        return Spread(np.nan, np.nan, np.nan)
    table = np.array(scores, dtype=np.float64)
    return Spread(*np.median(table[:, :3], axis=0).tolist())
