"""Text queries and the items that each of them found, with a whole number a pair: clicks, or grades."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spdq.data.dataset_checks import check_strings, shape_of
from spdq.data.splits import Rows
from spdq.errors import DataError


@dataclass(frozen=True, eq=False)
class QueryItems:
    """m pairs of a query and an item, each with a value.

    Parameters
    ----------
    queries : distinct texts, none empty.
    query : (m,) int64, m >= 1, places in ``queries``; every query occurs.
    item : (m,) int64 >= 0, rows of a data set. Pairs ascend by (query, item), each comes once.
    value : (m,) int64 >= 1.

    Raises
    ------
    DataError
        Anything that breaks these rules. That the items exist is checked by the ``Dataset`` they are given to.
    """

    queries: tuple[str, ...]
    query: Rows
    item: Rows
    value: Rows

    def __post_init__(self) -> None:
        if not isinstance(self.queries, tuple) or not self.queries:
            raise DataError("queries: expected a tuple of str, at least one")
        check_strings("queries", self.queries, unique=True)
        for name in ("query", "item", "value"):
            _check_column(name, getattr(self, name), self.query)
        query, item = self.query, self.item
        ascends = (query[1:] > query[:-1]) | ((query[1:] == query[:-1]) & (item[1:] > item[:-1]))
        if not ascends.all():
            place = int(np.argmin(ascends)) + 1
            raise DataError(f"pairs must ascend by (query, item) without duplicates, pair {place} does not")
        n = len(self.queries)
        if query[0] != 0 or query[-1] != n - 1 or np.any(np.diff(query) > 1):
            raise DataError(f"query: expected each of 0 to {n - 1}, the places of the queries, at least once")
        for name, column, least in (("item", item, 0), ("value", self.value, 1)):
            if column.min() < least:
                pair = int(np.argmax(column < least))
                raise DataError(f"{name} of pair {pair}: expected {least} or more, got {column[pair]}")

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def from_mapping(cls, found: Mapping[str, Mapping[int, int]]) -> QueryItems:
        """Query -> item row -> value; the queries keep the mapping's order.

        Raises
        ------
        DataError
            No query, a query without an item, or as for the class.
        """
        counts = [len(items) for items in found.values()]
        item = np.array([row for items in found.values() for row in items], np.int64)
        value = np.array([value for items in found.values() for value in items.values()], np.int64)
        query = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        order = np.lexsort((item, query))
        return cls(tuple(found), query, item[order], value[order])

    def take_queries(self, rows: npt.ArrayLike) -> QueryItems:
        """The pairs of some queries, which are renumbered in the given order.

        Parameters
        ----------
        rows : (k,) integers, k >= 1, places in ``queries``, each at most once.

        Raises
        ------
        DataError
            No such query, none at all, a query twice.
        """
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or chosen.size == 0 or not np.issubdtype(chosen.dtype, np.integer):
            raise DataError(f"queries to take: expected (k,) integers, got {chosen.shape} {chosen.dtype}")
        if chosen.min() < 0 or chosen.max() >= len(self.queries):
            bad = chosen.min() if chosen.min() < 0 else chosen.max()
            raise DataError(f"queries to take: {bad} is none of {len(self.queries)} queries")
        pairs, query = pairs_of(self.query, chosen)
        queries = tuple(map(self.queries.__getitem__, chosen.tolist()))
        return QueryItems(queries, query, self.item[pairs], self.value[pairs])


def pairs_of(query: Rows, chosen: Rows) -> tuple[Rows, Rows]:
    """Places of the pairs of some queries, in the given order, and their queries as numbered by that order.

    Parameters
    ----------
    query : (m,) int64, ascending, each of 0 to its last at least once.
    chosen : (k,) int64 of these.
    """
    counts = np.bincount(query)
    starts = np.cumsum(counts) - counts
    counts, starts = counts[chosen], starts[chosen]
    before = np.cumsum(counts) - counts
    pairs = np.repeat(starts - before, counts) + np.arange(counts.sum())
    return pairs, np.repeat(np.arange(len(chosen), dtype=np.int64), counts)


def _check_column(name: str, column: object, query: Rows) -> None:
    if (
        not isinstance(column, np.ndarray)
        or column.dtype != np.int64
        or column.ndim != 1
        or column.size == 0
        or column.shape != query.shape
    ):
        expected = "(m,) int64, one a pair, at least one pair"
        raise DataError(f"{name}: expected {expected}, got {shape_of(column)}")


def normalised_query(text: str) -> str:
    """A query as logs are added up by: NFKC, case folded, NFKC again (folding can undo it), single blanks."""
    if text.isascii():
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())
