"""Click logs made of what items are called: a tenth of the queries is held out, and judged by more than clicks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.hold_out import EXCELLENT, GOOD, held_out_queries
from spdq.data.query_items import QueryItems
from spdq.data.splits import Rows, Split

HELD_OUT = 0.1


def with_made_clicks(items: Dataset, clicks: QueryItems, alike: Callable[[Rows], Rows], seed: int) -> Dataset:
    """The items with a click log, of which a random tenth of the queries is held out as grades.

    For a held-out query the items that were clicked are excellent (3), the others that ``alike`` names are good
    (2). The split is of kind ``clicks``: every item is trained on and searched.

    Parameters
    ----------
    alike : rows of the items clicked for a query, (k,) int64 -> rows (m,) int64 of items that would do as well;
        clicked ones may be among them.

    Raises
    ------
    DataError
        There are fewer than two queries.
    """
    n_queries = len(clicks.queries)
    held = held_out_queries(n_queries, HELD_OUT, seed)
    every = np.arange(len(items), dtype=np.int64)
    return dataclasses.replace(
        items,
        clicks=clicks.take_queries(np.setdiff1d(np.arange(n_queries), held)),
        grades=_grades(clicks.take_queries(held), alike, len(items)),
        split=Split(np.empty(0, np.int64), every, every, "clicks", seed),
    )


def _grades(held: QueryItems, alike: Callable[[Rows], Rows], n: int) -> QueryItems:
    found, values = [], []
    for clicked in np.split(held.item, np.flatnonzero(np.diff(held.query)) + 1):
        grade = np.zeros(n, np.int64)
        grade[alike(clicked)] = GOOD
        grade[clicked] = EXCELLENT
        found.append(np.flatnonzero(grade))
        values.append(grade[found[-1]])
    query = np.repeat(np.arange(len(found), dtype=np.int64), [len(items) for items in found])
    return QueryItems(held.queries, query, np.concatenate(found), np.concatenate(values))
