"""One query's ranking as groups of tied items, and two distributions that random order in a group gives.

Items at exactly the same distance form a group. Every order of a group is equally likely, independently of
other groups; groups follow each other nearest first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TiedRanking:
    """Groups of tied items of one query, nearest first.

    Attributes
    ----------
    start, size, hits, before : (groups,) int64
        Items ranked ahead of the group, items in it, relevant items in it, relevant items ahead of it.
    gains : (items,) bool, integer or floating
        Gain of every item in order of distance; relevant where > 0; the order within a group means nothing.
    """

    start: IntArray
    size: IntArray
    hits: IntArray
    before: IntArray
    gains: npt.NDArray[Any]

    @property
    def items(self) -> int:
        return len(self.gains)

    @cached_property
    def relevant(self) -> int:
        return int(self.hits.sum())

    @cached_property
    def best_ranks(self) -> IntArray:
        """(relevant,) rank of the 1st, 2nd, ... hit where every group has its relevant items first."""
        return np.repeat(self.start - self.before, self.hits) + np.arange(1, self.relevant + 1)

    @cached_property
    def worst_ranks(self) -> IntArray:
        """(relevant,) as ``best_ranks``, every group having its relevant items last."""
        behind = self.start + self.size - self.hits - self.before
        return np.repeat(behind, self.hits) + np.arange(1, self.relevant + 1)

    def group_at(self, rank: int) -> int:
        """The group that holds that rank (1 to ``items``)."""
        return int(np.searchsorted(self.start, rank)) - 1


def rank(distances: npt.NDArray[Any], gains: npt.NDArray[Any]) -> TiedRanking:
    """Group one query's items by distance, smaller = closer.

    Parameters
    ----------
    distances : (items,) any real dtype, free of NaN
    gains : (items,) bool, integer or floating; relevant where > 0
    """
    order = np.argsort(distances)
    sorted_distances, sorted_gains = distances[order], gains[order]
    opens = np.ones(len(order), bool)
    np.not_equal(sorted_distances[1:], sorted_distances[:-1], out=opens[1:])
    start = np.flatnonzero(opens)
    size = np.diff(start, append=len(order))
    hits = np.add.reduceat(sorted_gains > 0, start, dtype=np.int64)
    return TiedRanking(start, size, hits, np.cumsum(hits) - hits, sorted_gains)


def hits_inside(size: int, hits: int, inside: int) -> tuple[IntArray, FloatArray]:
    """How many of a group's hits stand among its first ``inside`` places: the values and their probabilities.

    The hypergeometric distribution, from max(0, inside - misses) to min(inside, hits).
    """
    misses = size - hits
    values = np.arange(max(0, inside - misses), min(inside, hits) + 1)
    x = values[:-1]
    steps = np.log(hits - x) + np.log(inside - x) - np.log(x + 1) - np.log(misses - inside + x + 1)
    return values, _probabilities(steps)


def place_of_hit(size: int, hits: int, which: int) -> tuple[IntArray, FloatArray]:
    """At which of a group's places, from 1, its ``which``-th hit stands: the values and their probabilities.

    The negative hypergeometric distribution, from ``which`` to size - hits + which.
    """
    misses = size - hits
    values = np.arange(which, misses + which + 1)
    j = values[:-1]
    steps = np.log(j) - np.log(j - which + 1) + np.log(misses - j + which) - np.log(size - j)
    return values, _probabilities(steps)


def _probabilities(log_steps: FloatArray) -> FloatArray:
    """A distribution from the logarithms of the ratios of each probability to the one ahead of it."""
    logs = np.concatenate(([0.0], np.cumsum(log_steps)))
    weights = np.exp(logs - logs.max())
    probabilities: FloatArray = weights / weights.sum()
    return probabilities
