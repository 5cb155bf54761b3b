"""One scan of all blocks: split over queries or blocks, run group by group, merged."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels.contract import KINDS
from spdq_kernels.dispatch import compiled
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import RowFilter
from spdq_kernels.threads import pieces, run, workers

Rows = NDArray[np.int64]
Found = tuple[Floats, Rows]
"""Distances and rows, (nq, k) each."""

BYTES_PER_THREAD = 1 << 24
"""Fewest bytes of code, times queries, worth a thread of their own: half a millisecond of scanning."""

FIRST_RANK = 64
"""Rank in the sample of the limit that a query tries after its first was too low; then four times that."""


class Queries(NamedTuple):
    """What all kinds of search ask: one entry a query in each array."""

    tables: Floats
    """(nq, M, K) float32, (nq, 0, 0) where codes are bits."""
    bits: NDArray[np.uint8]
    """(nq, bytes) uint8, (nq, 0) where they are not."""
    kind: int
    """BYTES, HALVES or BITS."""
    limits: NDArray[np.uint64]
    """(nq,) uint64: keys of rows that may be returned are below; NO_LIMIT where all may be."""

    def take(self, chosen: slice | Rows) -> Queries:
        """The queries of some places."""
        return Queries(self.tables[chosen], self.bits[chosen], self.kind, self.limits[chosen])


def scan_all(
    queries: Queries,
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    filters: list[RowFilter | None],
    threads: int | None,
    counters: NDArray[np.int64] | None = None,
) -> Found:
    """The k nearest rows of each query by one scan of all blocks, each under its mask if there are filters."""
    n_queries, (n_blocks, n_bytes, _) = len(queries.tables), blocks.shape
    if n_queries == 0 or k == 0:
        return np.empty((n_queries, k), np.float32), np.empty((n_queries, k), np.int64)
    kernel, masks = compiled(f"scan_{KINDS[queries.kind]}"), _masks(filters, n_queries)
    task = Task(kernel, blocks.reshape(-1), n_bytes, n_rows, k, counters)
    count = workers(threads, n_queries * blocks.size, BYTES_PER_THREAD)
    if count == 1:
        return task.run(queries, masks, 0, n_blocks)
    if n_queries >= count:
        parts = run(
            lambda chosen: task.run(queries.take(chosen), masks[chosen], 0, n_blocks),
            pieces(n_queries, count),
        )
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    parts = run(lambda some: task.run(queries, masks, some.start, some.stop), pieces(n_blocks, count))
    distances = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.lexsort((rows, rows < 0, distances))[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


class Task(NamedTuple):
    """A scan to be run in parts."""

    kernel: Any
    codes: NDArray[np.uint8]
    n_bytes: int
    n_rows: int
    k: int
    counters: NDArray[np.int64] | None
    """(3,) int64 to count in, of a task that is not split."""

    def run(self, queries: Queries, masks: Rows, first: int, last: int) -> Found:
        """The k nearest rows of blocks first..last-1 for some queries."""
        n_queries = len(masks)
        distances, rows = np.empty((n_queries, self.k), np.float32), np.empty((n_queries, self.k), np.int64)
        is_short = np.empty(n_queries, np.bool_)
        counters = np.zeros(3, np.int64) if self.counters is None else self.counters

        def scan(chosen: slice, rank: int) -> int:
            """Scan for neighbouring queries; how many of them found too few rows."""
            short: int = self.kernel(
                queries.tables[chosen],
                queries.bits[chosen],
                self.codes,
                self.n_bytes,
                self.n_rows,
                first,
                last,
                masks[chosen],
                self.k,
                rank,
                queries.limits[chosen],
                distances[chosen],
                rows[chosen],
                is_short[chosen],
                counters,
            )
            return short

        if scan(slice(None), 0):
            for place in is_short.nonzero()[0].tolist():
                # No row of a sample below rank k can be missed, so the rank rises until the scan needs no luck.
                rank = FIRST_RANK
                while scan(slice(place, place + 1), rank):
                    rank *= 4
        return distances, rows


def _masks(filters: list[RowFilter | None], n_queries: int) -> Rows:
    """(n_queries,) int64: where the words of each query's filter lie, 0 for none."""
    masks = np.zeros(n_queries, np.int64)
    if filters:
        masks[:] = [0 if one is None else one.address for one in filters]
    return masks
