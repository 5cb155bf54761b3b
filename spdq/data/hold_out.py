"""Leaving queries of a click log out of training, to judge by them what was learned from the others."""

from __future__ import annotations

from typing import cast

import numpy as np

from spdq.data.query_items import QueryItems
from spdq.data.splits import Rows
from spdq.errors import DataError, UsageError

EXCELLENT, GOOD = 3, 2
"""Values of ``Dataset.grades``."""


def held_out_queries(n: int, share: float, seed: int) -> Rows:
    """A random share of n queries, at least one and not all -> (.,) int64 places, ascending.

    Raises
    ------
    DataError
        There is only one query.
    UsageError
        Unless 0 < share < 1 and seed >= 0.
    """
    if not 0 < share < 1:
        raise UsageError(f"share of queries to hold out: expected more than 0 and less than 1, got {share}")
    if seed < 0:
        raise UsageError(f"hold-out seed: expected 0 or more, got {seed}")
    if n < 2:
        raise DataError(f"{n} query cannot be split into queries to learn from and queries to judge by")
    n_held = min(max(1, round(share * n)), n - 1)
    drawn = np.random.default_rng(seed).choice(n, size=n_held, replace=False, shuffle=False)
    return cast(Rows, np.sort(drawn.astype(np.int64)))


def hold_out(clicks: QueryItems, share: float, seed: int) -> tuple[QueryItems, QueryItems]:
    """Clicks of the queries to learn from, and grades of a random share of the queries, none of them in both.

    Of a held-out query, items with at least half the clicks of its most clicked item are excellent (3), the
    others that were clicked are good (2).

    Raises
    ------
    DataError, UsageError
        As ``held_out_queries``.
    """
    held = held_out_queries(len(clicks.queries), share, seed)
    kept = np.setdiff1d(np.arange(len(clicks.queries)), held)
    judged = clicks.take_queries(held)
    most = np.maximum.reduceat(judged.value, np.searchsorted(judged.query, np.arange(len(held))))
    grade = np.where(2 * judged.value >= most[judged.query], EXCELLENT, GOOD).astype(np.int64)
    return clicks.take_queries(kept), QueryItems(judged.queries, judged.query, judged.item, grade)
