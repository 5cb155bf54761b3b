"""One generation of an index: its segments, searched together. Nothing in it ever changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError
from spdq.index.catalogue import State
from spdq.index.ids import IdArray, Int64Array, Uint8Array, show_id, sort_keys
from spdq.index.segments import Segment
from spdq_kernels import range_scan, scan

if TYPE_CHECKING:
    from spdq.index.filters import Filter

Floats = npt.NDArray[np.float32]
Filters = Sequence["Filter | None"]
"""One for all queries, or one each."""

_NO_ROW = -1


class Nearest(NamedTuple):
    """The nearest items of some queries, by kernel distance and id."""

    distances: Floats
    """(nq, k'), +inf behind the last of a query's items."""
    ids: IdArray
    """(nq, k'), -1 or None there."""
    counts: Int64Array
    """(nq,): how many items each query has."""


Within = tuple[Int64Array, Floats, IdArray]
"""Limits (nq + 1,), distances and ids (n,) of all items nearer than a radius."""


class Snapshot:
    """The segments of a generation, and what can be asked of them."""

    def __init__(self, state: State, segments: Sequence[Segment]) -> None:
        self.state = state
        self.segments = tuple(segments)

    @cached_property
    def n_items(self) -> int:
        """Items that have not been removed."""
        return sum(segment.n_live for segment in self.segments)

    @property
    def no_ids(self) -> IdArray:
        """(0,) of the kind of ids."""
        return np.empty(0, object if self.state.meta["ids"] == "str" else np.int64)

    def ids(self) -> IdArray:
        """All ids (n,), ascending."""
        return self.in_order()[0]

    def codes(self) -> Uint8Array:
        """All codes (n, M), in the order of the ids."""
        empty = np.empty((0, self.state.meta["n_codebooks"]), np.uint8)
        return np.concatenate([empty, *(segment.codes for segment in self.segments)])[self.in_order()[1]]

    def in_order(self) -> tuple[IdArray, Int64Array]:
        """All ids (n,) ascending, and each one's place (n,) among those of all segments end to end."""
        ids = np.concatenate([self.no_ids, *(segment.ids for segment in self.segments)])
        if len(self.segments) <= 1:
            return ids, np.arange(len(ids))
        order = np.argsort(sort_keys(ids), kind="stable")
        return ids[order], order

    def find(self, ids: IdArray) -> tuple[Int64Array, Int64Array]:
        """Where ids (m,) are: the place of the segment and the row (m,) each, -1 for those that are not there."""
        places = np.full(len(ids), _NO_ROW)
        rows = np.full(len(ids), _NO_ROW)
        for place, segment in enumerate(self.segments):
            found = segment.find(ids)
            places[found >= 0] = place
            rows[found >= 0] = found[found >= 0]
        return places, rows

    def find_all(self, ids: IdArray) -> tuple[Int64Array, Int64Array]:
        """``find`` where every id must be there. Raises DataError naming the first that is not."""
        places, rows = self.find(ids)
        if (missing := np.flatnonzero(rows == _NO_ROW)).size:
            raise DataError(f"no item has the id {show_id(ids[missing[0]])}")
        return places, rows

    def codes_of(self, ids: IdArray) -> Uint8Array:
        """The codes (m, M) of ids (m,). Raises DataError."""
        places, rows = self.find_all(ids)
        codes = np.empty((len(ids), self.state.meta["n_codebooks"]), np.uint8)
        for place, segment in enumerate(self.segments):
            here = places == place
            codes[here] = segment.take_codes(rows[here])
        return codes

    def search(
        self,
        tables: Floats,
        k: int,
        filters: Filters | None,
        threads: int | None,
        bounds: Floats | None = None,
    ) -> Nearest:
        """The k nearest items of each query, of those no farther than its bound (nq,) if there are bounds."""
        parts = [self.nothing(len(tables))]
        # The largest first: what is farther than its k-th nearest row need not be looked at in the others.
        for segment in sorted(self.segments, key=len, reverse=True):
            allowed = _allowed(segment, filters)
            with sums_that_fit():
                distances, rows = scan(
                    tables, segment.blocks, len(segment), k, threads, allowed=allowed, bounds=bounds
                )
            if distances.shape[1] == k:
                last = np.ascontiguousarray(distances[:, -1])
                bounds = last if bounds is None else np.minimum(bounds, last)
            counts = np.count_nonzero(rows != _NO_ROW, axis=1)
            parts.append(Nearest(distances, self._ids_at(segment, rows), counts))
        return nearest_of(parts, k)

    def nothing(self, n_queries: int) -> Nearest:
        """No item for so many queries."""
        no_distances = np.empty((n_queries, 0), np.float32)
        return Nearest(no_distances, self.no_ids.reshape(n_queries, 0), np.zeros(n_queries, np.int64))

    def search_within(
        self, tables: Floats, radius: float, filters: Filters | None, threads: int | None
    ) -> Within:
        """All items nearer than a kernel distance, by (distance, id)."""
        parts = [(np.zeros(len(tables) + 1, np.int64), np.empty(0, np.float32), self.no_ids)]
        for segment in self.segments:
            allowed = _allowed(segment, filters)
            with sums_that_fit():
                limits, near, rows = range_scan(
                    tables, segment.blocks, len(segment), radius, threads, allowed=allowed
                )
            parts.append((limits, near, segment.take_ids(rows)))
        return all_within(parts)

    def _ids_at(self, segment: Segment, rows: Int64Array) -> IdArray:
        """The ids of rows (nq, k), None or -1 where there is no row."""
        ids = segment.take_ids(np.maximum(rows, 0))
        ids[rows == _NO_ROW] = None if ids.dtype == object else _NO_ROW
        return ids


def nearest_of(parts: Sequence[Nearest], k: int) -> Nearest:
    """The k nearest items of some parts of an index, each query's at least one part's first k."""
    counts = np.minimum(k, sum(part.counts for part in parts))
    distances, ids = (np.concatenate([part[field] for part in parts], axis=1) for field in (0, 1))
    width = min(k, distances.shape[1] if not len(counts) else int(counts.max()))
    if sum(part.distances.shape[1] > 0 for part in parts) > 1:
        missing = np.concatenate(
            [np.arange(part.distances.shape[1]) >= part.counts[:, np.newaxis] for part in parts], axis=1
        )
        order = np.lexsort((sort_keys(ids), missing, distances))[:, :width]
        return Nearest(np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1), counts)
    return Nearest(distances[:, :width], ids[:, :width], counts)


def all_within(parts: Sequence[Within]) -> Within:
    """All items of some parts of an index, query by query in the order (distance, id)."""
    n_queries = len(parts[0][0]) - 1
    of_query = np.concatenate([np.repeat(np.arange(n_queries), np.diff(limits)) for limits, _, _ in parts])
    near, found = np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])
    limits = np.searchsorted(np.sort(of_query), np.arange(n_queries + 1))
    order = np.lexsort((sort_keys(found), near, of_query))
    return limits, near[order], found[order]


@contextmanager
def sums_that_fit() -> Iterator[None]:
    """Turn the kernels' refusal of tables into DataError."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"queries and codebooks are too large to multiply: {error}") from None


def _allowed(segment: Segment, filters: Filters | None) -> Any:
    """What a scan of the segment may return."""
    if filters is None:
        return segment.live
    allowed = [segment.live if one is None else one.rows(segment) for one in filters]
    return allowed[0] if len(allowed) == 1 else allowed
