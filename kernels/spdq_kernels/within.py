"""All rows nearer than a radius."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from spdq_kernels.contract import KINDS
from spdq_kernels.dispatch import compiled
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import RowFilter
from spdq_kernels.scanning import BYTES_PER_THREAD, Found, Queries, Rows
from spdq_kernels.threads import pieces, run, workers

RANGE_KEYS = 1 << 14
"""Hits a range search has room for at first."""


_NO_KEYS: NDArray[np.uint64] = np.empty(0, np.uint64)
_SHIFT, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
_NO_LIMIT = np.uint64((0xFF800000 << 32) | 0xFFFFFFFF)


def rows_within(
    queries: Queries,
    blocks: NDArray[np.uint8],
    n_rows: int,
    limit: np.uint64,
    filters: list[RowFilter | None],
    threads: int | None,
) -> tuple[Rows, Floats, Rows]:
    """Limits, distances and rows of all keys below a limit, as ``range_scan`` returns them."""

    def part(query: int, block_range: slice) -> NDArray[np.uint64]:
        return _range_keys(queries, query, blocks, n_rows, block_range, filters[query], limit)

    n_queries, n_blocks = len(queries.tables), len(blocks)
    count = workers(threads, n_queries * blocks.size, BYTES_PER_THREAD)
    if n_queries >= count:

        def some(chosen: slice) -> list[NDArray[np.uint64]]:
            return [part(query, slice(0, n_blocks)) for query in range(chosen.start, chosen.stop)]

        keys = [found for parts in run(some, pieces(n_queries, count)) for found in parts]
    else:
        keys = [
            np.concatenate([_NO_KEYS, *run(partial(part, query), pieces(n_blocks, count))])
            for query in range(n_queries)
        ]
    sizes = np.array([0, *map(len, keys)], np.int64)
    distances, rows = _decode(np.concatenate([np.sort(found) for found in keys] or [_NO_KEYS]))
    return np.cumsum(sizes), distances, rows


def radius_key(radius: float) -> np.uint64:
    """The key below which lie the rows nearer than a radius: that of row 0 at the least float32 not below it."""
    with np.errstate(over="ignore"):
        nearest = np.float32(radius) + np.float32(0)
    if float(nearest) < radius:
        nearest = np.nextafter(nearest, np.float32(np.inf))
    return np.uint64(_ordered(np.array(nearest)) << _SHIFT)


def keys_up_to(bounds: Floats) -> NDArray[np.uint64]:
    """Keys (nq,) uint64 above those of all rows up to bounds (nq,) float32; of +inf above all there are."""
    return _ordered(bounds + np.float32(0)) << _SHIFT | _LOW


def no_limits(count: int) -> NDArray[np.uint64]:
    """Keys (count,) uint64 above those of all rows."""
    return np.full(count, _NO_LIMIT)


def _ordered(distances: Floats) -> NDArray[np.uint64]:
    """What distances are in the upper half of their keys."""
    bits = distances.view(np.uint32)
    return np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)


def _decode(keys: NDArray[np.uint64]) -> Found:
    """Distances (n,) float32 and rows (n,) int64 of keys."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> 31 == 1, ordered ^ np.uint32(1 << 31), ~ordered)
    return bits.view(np.float32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _range_keys(
    queries: Queries,
    query: int,
    blocks: NDArray[np.uint8],
    n_rows: int,
    block_range: slice,
    one: RowFilter | None,
    limit: np.uint64,
) -> NDArray[np.uint64]:
    """The keys below the limit of the rows of some blocks, in no order; room is doubled when it runs out."""
    kernel, flat = compiled(f"range_{KINDS[queries.kind]}"), blocks.reshape(-1)
    mask = 0 if one is None else one.address
    keys, size, block = np.empty(RANGE_KEYS, np.uint64), 0, block_range.start
    while block < block_range.stop:
        block, size = kernel(
            queries.tables[query],
            flat,
            blocks.shape[1],
            n_rows,
            block,
            block_range.stop,
            mask,
            limit,
            keys,
            size,
        )
        if block < block_range.stop:
            keys = np.concatenate([keys, np.empty_like(keys)])
    return keys[:size]
