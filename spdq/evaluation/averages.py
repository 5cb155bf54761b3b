"""From one score a query to one figure: the exact mean over queries, some of which ties may leave out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spdq.evaluation.figures import Spread
from spdq.evaluation.ties import FloatArray


class Score(NamedTuple):
    """One query under one protocol, over all orders of its tied items.

    value
        Expected score, orders in which the query is left out counting 0.
    lowest, highest
        Extremes over the orders in which the query counts.
    counted
        Probability that it counts: exactly 1 or 0 only where no order says otherwise.
    """

    value: float
    lowest: float
    highest: float
    counted: float = 1.0


LEFT_OUT = Score(0.0, 0.0, 0.0, 0.0)


def each_query(scores: Sequence[Score]) -> tuple[float, ...]:
    """Expected score of each query over the orders in which it counts, NaN where it counts in none.

    Their mean without NaN is the figure, but for ``map@R/skip`` where ties decide whether a query counts.
    """
    return tuple(score.value / score.counted if score.counted else math.nan for score in scores)


def average(scores: Sequence[Score]) -> Spread:
    """The mean score of the queries that count: its expected value and its extremes over all orders.

    The number of queries that count is itself random where ``counted`` lies between 0 and 1. The expected
    value is that of the whole ratio (sum of scores / number that count), not a ratio of expected values;
    orders in which no query counts have no mean and are excluded. NaN where no query ever counts.
    """
    table = np.array(scores, dtype=np.float64).reshape(-1, 4)
    sure, maybe = table[table[:, 3] == 1], table[(table[:, 3] > 0) & (table[:, 3] < 1)]
    if len(sure) + len(maybe) == 0:
        return Spread(np.nan, np.nan, np.nan)
    low = _extreme(sure[:, 1], maybe[:, 1])
    high = -_extreme(-sure[:, 2], -maybe[:, 2])
    value = _expected(sure, maybe)
    return Spread(min(max(value, low), high), low, high)  # rounding alone could step outside


def _expected(sure: FloatArray, maybe: FloatArray) -> float:
    """E[sum / count | count > 0], by adding the uncertain queries one by one.

    ``chance[k]`` is P(k uncertain queries count) and ``total[k]`` is E[sum; k uncertain queries count].
    """
    chance, total = np.ones(1), np.array([sure[:, 0].sum()])
    for value, _, _, counted in maybe:
        total = _shifted(total, counted) + value * np.append(0.0, chance)
        chance = _shifted(chance, counted)
    count = len(sure) + np.arange(len(chance))
    some = count > 0
    return float((total[some] / count[some]).sum() / chance[some].sum())


def _shifted(by_count: FloatArray, counted: float) -> FloatArray:
    return (1 - counted) * np.append(by_count, 0.0) + counted * np.append(0.0, by_count)


def _extreme(sure: FloatArray, maybe: FloatArray) -> float:
    """The least mean of all ``sure`` with any part of ``maybe``: its smallest while they pull it down."""
    total, count = float(sure.sum()), len(sure)
    for score in np.sort(maybe):
        if count and score * count >= total:
            break
        total, count = total + float(score), count + 1
    return total / count
