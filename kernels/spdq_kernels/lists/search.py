"""Searches among the rows of some lists: check the arguments, split the work over threads, run the kernels.

Every result is the same for any number of threads, any batch size and any order of a query's lists.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import KINDS
from spdq_kernels.dispatch import compiled
from spdq_kernels.lists.parts import LEAST_PART, LIST_ROWS, CodeLists, ListTables
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import Allowed, RowFilter, row_filters
from spdq_kernels.scanning import BYTES_PER_THREAD, FIRST_RANK, Found, Rows
from spdq_kernels.search import _table_queries
from spdq_kernels.threads import pieces, run, workers
from spdq_kernels.within import RANGE_KEYS, _decode, radius_key


class Asked(NamedTuple):
    """What a call asks for."""

    kind: int
    tables: Floats
    list_tables: Floats
    """(0, 0, 0) where lists add nothing."""
    offsets: Floats
    """(nq, 0) where there are none."""
    probes: Rows
    lists: CodeLists
    masks: list[NDArray[np.uint64]]
    """One a query."""

    def take(self, queries: slice, places: slice) -> Asked:
        """Some of the lists of some queries."""
        return self._replace(
            tables=self.tables[queries],
            offsets=np.ascontiguousarray(self.offsets[queries, places]),
            probes=np.ascontiguousarray(self.probes[queries, places]),
            masks=self.masks[queries],
        )

    def kernel_arguments(self, chosen: slice) -> tuple[Any, ...]:
        """What every kernel of lists begins with."""
        return (
            self.tables[chosen],
            self.list_tables,
            self.offsets[chosen],
            np.empty(self.list_tables.shape[1:], np.float32),
            self.probes[chosen],
            self.lists.blocks.reshape(-1),
            self.lists.n_bytes,
            self.lists.rows,
            self.lists.starts,
        )


def scan(
    tables: Floats,
    lists: CodeLists,
    probes: Rows,
    k: int,
    threads: int | None = None,
    *,
    list_tables: ListTables | None = None,
    offsets: Floats | None = None,
    allowed: Allowed = None,
) -> Found:
    """Return distances (nq, k') float32 and rows (nq, k') int64 of the k' nearest rows in the lists of each query.

    probes (nq, n_probe) int64 names the lists of each query, none of them twice; those likely to hold near rows
    first is fastest. A distance is a float32 sum from +0 on: the query's offset for the list, of offsets (nq, n_probe)
    float32, if there are any; then, in the order of the codebooks, the row's entries of tables (nq, M, 256) float32,
    each first added to that of the list's tables, if there are any. 4-bit codes have tables (nq, M, 16).

    The order is (distance, row), rows being the numbers the lists give them. k' = min(k, rows that may be returned at
    all); ``allowed`` says which may: one filter of row numbers for all queries, or one each. Where the lists of a query
    hold fewer, +inf and -1 fill up.
    """
    asked = _asked(tables, lists, probes, list_tables, offsets, allowed)
    contract.integer(k, "k", 1)
    filters = row_filters(allowed, len(tables), lists.n_rows)
    counts = [lists.n_rows if one is None else one.count for one in filters]
    one_for_all = allowed.count if isinstance(allowed, RowFilter) else lists.n_rows
    k = min(int(k), one_for_all, max(counts, default=one_for_all))
    return _nearest(asked, k, threads)


def range_scan(
    tables: Floats,
    lists: CodeLists,
    probes: Rows,
    radius: float,
    threads: int | None = None,
    *,
    list_tables: ListTables | None = None,
    offsets: Floats | None = None,
    allowed: Allowed = None,
) -> tuple[Rows, Floats, Rows]:
    """Return all rows nearer than a radius in the lists of each query, as ``spdq_kernels.range_scan`` does.

    The other arguments are those of ``scan``.
    """
    asked = _asked(tables, lists, probes, list_tables, offsets, allowed)
    contract.radius(radius)
    limit = radius_key(float(radius))
    n_queries, n_probe = probes.shape
    count = _workers(asked, threads)

    def whole(chosen: slice) -> list[NDArray[np.uint64]]:
        return [
            _range_keys(asked, limit, query, slice(0, n_probe)) for query in range(chosen.start, chosen.stop)
        ]

    none = np.empty(0, np.uint64)
    if n_queries >= count:
        keys = [found for some in run(whole, pieces(n_queries, count)) for found in some]
    else:
        keys = [
            np.concatenate([none, *run(partial(_range_keys, asked, limit, query), pieces(n_probe, count))])
            for query in range(n_queries)
        ]
    limits = np.cumsum(np.array([0, *map(len, keys)], np.int64))
    return limits, *_decode(np.concatenate([none, *map(np.sort, keys)]))


def _asked(tables: Any, lists: Any, probes: Any, list_tables: Any, offsets: Any, allowed: Allowed) -> Asked:
    if not isinstance(lists, CodeLists):
        raise TypeError(f"lists must be CodeLists, not {type(lists).__name__}")
    contract.tables(tables, lists.n_bytes)
    contract.array(probes, "probes", np.int64, 2)
    if len(probes) != len(tables):
        raise ValueError(f"probes must have {len(tables)} rows, one a query, not {len(probes)}")
    bad = compiled("bad_probe")(probes, lists.n_lists)
    if bad >= 0:
        query, place = divmod(bad, probes.shape[1])
        raise ValueError(
            f"probes must name lists from 0 to {lists.n_lists - 1}, none of them twice, "
            f"not {probes[query].tolist()[: place + 1]} (query {query})"
        )
    queries = _table_queries(tables)
    filters = row_filters(allowed, len(tables), lists.n_rows)
    return Asked(
        kind=queries.kind,
        tables=queries.tables,
        list_tables=_checked_list_tables(list_tables, lists.n_lists, queries.tables.shape[1:]),
        offsets=_checked_offsets(offsets, probes),
        probes=probes,
        lists=lists,
        masks=[lists.words if one is None else lists.allowed(one) for one in filters],
    )


def _checked_list_tables(value: Any, n_lists: int, shape: tuple[int, ...]) -> Floats:
    if value is None:
        return np.empty((0, 0, 0), np.float32)
    if not isinstance(value, ListTables):
        raise TypeError(f"list_tables must be ListTables or None, not {type(value).__name__}")
    if value.values.shape != (n_lists, *shape):
        raise ValueError(
            f"list_tables must have shape {(n_lists, *shape)} to match lists and tables, not {value.values.shape}"
        )
    return value.values


def _checked_offsets(value: Any, probes: Rows) -> Floats:
    if value is None:
        return np.empty((len(probes), 0), np.float32)
    contract.array(value, "offsets", np.float32, 2)
    if value.shape != probes.shape:
        raise ValueError(f"offsets must have shape {probes.shape} to match the probes, not {value.shape}")
    if value.size and not value.min() >= LEAST_PART:
        raise ValueError(f"offsets must not contain NaN or entries below {LEAST_PART:g}")
    return np.ascontiguousarray(value)


def _workers(asked: Asked, threads: int | None) -> int:
    """Threads worth their while: lists are taken to be of equal size."""
    share = asked.lists.blocks.size // asked.lists.n_lists
    return workers(threads, asked.probes.size * share, BYTES_PER_THREAD)


def _nearest(asked: Asked, k: int, threads: int | None) -> Found:
    n_queries, n_probe = asked.probes.shape
    if n_queries == 0 or k == 0 or n_probe == 0:
        return np.full((n_queries, k), np.inf, np.float32), np.full((n_queries, k), -1, np.int64)
    count = _workers(asked, threads)
    every = slice(None)
    if count == 1:
        return _search(asked, k)
    if n_queries >= count:
        parts = run(lambda some: _search(asked.take(some, every), k), pieces(n_queries, count))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    parts = run(lambda some: _search(asked.take(every, some), k), pieces(n_probe, count))
    distances = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.lexsort((rows, rows < 0, distances))[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _search(asked: Asked, k: int, counters: Rows | None = None) -> Found:
    """The k nearest rows of each query; counted in counters (3,) int64."""
    n_queries = len(asked.probes)
    distances, rows = np.empty((n_queries, k), np.float32), np.empty((n_queries, k), np.int64)
    is_short = np.empty(n_queries, np.bool_)
    counters = np.zeros(3, np.int64) if counters is None else counters
    masks = np.array([mask.ctypes.data for mask in asked.masks], np.int64)
    kernel = compiled(f"lists_{KINDS[asked.kind]}")

    def search(chosen: slice, rank: int) -> int:
        short: int = kernel(
            *asked.kernel_arguments(chosen),
            *(masks[chosen], k, rank, distances[chosen], rows[chosen], is_short[chosen], counters),
        )
        return short

    if search(slice(None), 0):
        for place in is_short.nonzero()[0].tolist():
            rank = FIRST_RANK
            while search(slice(place, place + 1), rank):
                rank *= 4
    return distances, rows


def _range_keys(asked: Asked, limit: np.uint64, query: int, places: slice) -> NDArray[np.uint64]:
    """The keys below the limit of the rows in some lists of a query, in no order."""
    one = asked.take(slice(query, query + 1), places)
    kernel = compiled(f"range_lists_{KINDS[asked.kind]}")
    keys, size, place = np.empty(RANGE_KEYS, np.uint64), 0, 0
    arguments, mask = one.kernel_arguments(slice(None)), one.masks[0].ctypes.data
    while True:
        place, size = kernel(*arguments, mask, place, limit, keys, size)
        if place == one.probes.shape[1]:
            return keys[:size]
        which = one.probes[0, place]
        needed = int(asked.lists.starts[which + 1] - asked.lists.starts[which]) * LIST_ROWS
        keys = np.concatenate([keys, np.empty(max(len(keys), needed), np.uint64)])
