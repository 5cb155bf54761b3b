"""One scan of all blocks: split over queries or blocks, run group by group, merged."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels.contract import KINDS
from spdq_kernels.dispatch import compiled, read_only
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

GROUP_QUERIES = 64
"""Queries that scan a tile of codes in turn while it lies in the processor's cache, and ..."""
GROUP_MEMORY = 1 << 26
"""... the bytes of keys they may keep."""


class Queries(NamedTuple):
    """What all kinds of search ask: one entry a query in each array."""

    tables: Floats
    """(nq, M, K) float32, (nq, 0, 0) where codes are bits."""
    bits: NDArray[np.uint8]
    """(nq, bytes) uint8, (nq, 0) where they are not."""
    kind: int
    """BYTES, HALVES or BITS."""

    def take(self, chosen: slice | Rows) -> Queries:
        """The queries of some places."""
        return Queries(self.tables[chosen], self.bits[chosen], self.kind)


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
    task = Task(
        compiled(f"scan_{KINDS[queries.kind]}"),
        queries,
        read_only(blocks.reshape(-1)),
        n_bytes,
        n_rows,
        k,
        _masks(filters, n_queries),
        counters,
    )
    count = workers(threads, n_queries * blocks.size, BYTES_PER_THREAD)
    if count == 1:
        return task.run(slice(0, n_queries), slice(0, n_blocks))
    if n_queries >= count:
        everything = slice(0, n_blocks)
        parts = run(lambda chosen: task.run(chosen, everything), pieces(n_queries, count))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    all_queries = slice(0, n_queries)
    parts = run(lambda block_range: task.run(all_queries, block_range), pieces(n_blocks, count))
    distances = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.lexsort((rows, rows < 0, distances))[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


class Task(NamedTuple):
    """A scan to be run in parts."""

    kernel: Any
    queries: Queries
    codes: NDArray[np.uint8]
    n_bytes: int
    n_rows: int
    k: int
    masks: Rows
    counters: NDArray[np.int64] | None
    """(3,) int64 to count in, of a task that is not split."""

    def run(self, chosen: slice, blocks: slice) -> Found:
        """The k nearest rows of some blocks for some queries, group by group."""
        shape = chosen.stop - chosen.start, self.k
        distances, rows = np.empty(shape, np.float32), np.empty(shape, np.int64)
        is_short = np.empty(shape[0], np.bool_)
        counters = np.zeros(3, np.int64) if self.counters is None else self.counters
        group = max(1, min(GROUP_QUERIES, GROUP_MEMORY // (16 * self.k)))
        for start in range(chosen.start, chosen.stop, group):
            stop = min(start + group, chosen.stop)
            here = slice(start - chosen.start, stop - chosen.start)
            self._run_group(
                slice(start, stop), blocks, 0, distances[here], rows[here], is_short[here], counters
            )
        for place in is_short.nonzero()[0]:
            # No row of a sample below rank k can be missed, so the rank rises until the scan needs no luck.
            rank = FIRST_RANK
            query = slice(chosen.start + int(place), chosen.start + int(place) + 1)
            here = slice(int(place), int(place) + 1)
            while is_short[place]:
                self._run_group(query, blocks, rank, distances[here], rows[here], is_short[here], counters)
                rank *= 4
        return distances, rows

    def _run_group(
        self,
        chosen: slice,
        blocks: slice,
        rank: int,
        distances: Floats,
        rows: Rows,
        is_short: NDArray[np.bool_],
        counters: NDArray[np.int64],
    ) -> None:
        self.kernel(
            self.queries.tables[chosen],
            self.queries.bits[chosen],
            self.codes,
            self.n_bytes,
            self.n_rows,
            blocks.start,
            blocks.stop,
            self.masks[chosen],
            self.k,
            rank,
            distances,
            rows,
            is_short,
            counters,
        )


def _masks(filters: list[RowFilter | None], n_queries: int) -> Rows:
    """(n_queries,) int64: where the words of each query's filter lie, 0 for none."""
    masks = np.zeros(n_queries, np.int64)
    if filters:
        masks[:] = [0 if one is None else one.address for one in filters]
    masks.setflags(write=False)
    return masks
