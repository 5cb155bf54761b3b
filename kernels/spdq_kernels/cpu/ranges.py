"""All rows nearer than a radius."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, types, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS, BYTES, HALVES
from spdq_kernels.cpu.block_scan import scan_blocks_bytes, scan_blocks_halves
from spdq_kernels.cpu.blocks import SMALL_WIDTH, Query, Rows
from spdq_kernels.cpu.bounds import find_lowest, quantize
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import key_distance


@inlined
def scan_range(  # type: ignore[no-untyped-def]
    kind, scan_blocks, tables, codes, n_bytes, n_rows, first, last, mask, limit, keys, size
):
    """Append the keys of rows of blocks first..last-1 below the limit while 256 more have room.

    Returns the block to go on with and the number of keys. tables (M, K) are those of one query.
    """
    lowest = np.empty(len(tables), np.float32)
    small = np.empty(n_bytes * SMALL_WIDTH[kind], np.uint8)
    rows = Rows(codes, n_bytes, n_rows, mask)
    query = Query(tables, lowest, np.zeros(3), small, np.arange(n_bytes), np.float32(0))
    find_lowest(query)
    most = quantize(np.int64(kind), query, key_distance(limit))
    counters = np.zeros(3, np.int64)
    while first < last and size + BLOCK_ROWS <= len(keys):
        # As many blocks as have room even if all their rows are hits.
        stop = min(last, first + (len(keys) - size) // BLOCK_ROWS)
        _, _, size = scan_blocks(
            rows,
            query,
            first,
            stop,
            n_bytes,
            np.int64(0),
            len(keys),
            limit,
            most,
            keys,
            size,
            counters,
        )
        first = stop
    return first, size


_RANGE: Any = (
    *(read(float32, 2), read(uint8, 1), int64, int64, int64, int64, int64, uint64),
    *(write(uint64, 1), int64),
)
_DONE: Any = types.UniTuple(int64, 2)


@kernel(*_RANGE, returns=_DONE)
def range_bytes(  # type: ignore[no-untyped-def]
    tables, codes, n_bytes, n_rows, first, last, mask, limit, keys, size
):
    """``scan_range`` of kind BYTES."""
    return scan_range(
        BYTES,
        scan_blocks_bytes,
        tables,
        codes,
        n_bytes,
        n_rows,
        first,
        last,
        mask,
        limit,
        keys,
        size,
    )


@kernel(*_RANGE, returns=_DONE)
def range_halves(  # type: ignore[no-untyped-def]
    tables, codes, n_bytes, n_rows, first, last, mask, limit, keys, size
):
    """``scan_range`` of kind HALVES."""
    return scan_range(
        HALVES,
        scan_blocks_halves,
        tables,
        codes,
        n_bytes,
        n_rows,
        first,
        last,
        mask,
        limit,
        keys,
        size,
    )
