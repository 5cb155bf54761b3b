"""All rows nearer than a radius in the lists a query asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, types, uint8, uint32, uint64

from spdq_kernels.contract import BYTES, HALVES
from spdq_kernels.cpu.blocks import GROUP_ROWS, SMALL_WIDTH
from spdq_kernels.cpu.bounds import quantize
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import key_distance
from spdq_kernels.cpu.list_scan import Lists, scan_run_bytes, scan_run_halves
from spdq_kernels.cpu.list_search import Asked, query_for_list


@inlined
def range_lists(  # type: ignore[no-untyped-def]
    kind,
    scan_run,
    tables,
    list_tables,
    offsets,
    summed,
    probes,
    codes,
    n_bytes,
    numbers,
    starts,
    mask,
    place,
    limit,
    keys,
    size,
):
    """Append the keys below the limit of rows in lists probes[0, place] on while the next list has room.

    Returns the place to go on with and the number of keys. tables (1, M, K) are those of one query.
    """
    asked = Asked(tables, list_tables, offsets, summed, probes)
    lists = Lists(codes, n_bytes, numbers, starts)
    lowest, bound = np.empty(tables.shape[1], np.float32), np.zeros(3)
    small, order = np.empty(n_bytes * SMALL_WIDTH[kind], np.uint8), np.arange(n_bytes)
    counters = np.zeros(3, np.int64)
    while place < probes.shape[1]:
        first, last = starts[probes[0, place]], starts[probes[0, place] + 1]
        if size + (last - first) * GROUP_ROWS > len(keys):
            break
        query = query_for_list(asked, 0, place, lowest, bound, small, order)
        most = quantize(np.int64(kind), query, key_distance(limit))
        _, _, size = scan_run(
            lists,
            mask,
            query,
            first,
            last,
            first,
            np.int64(0),
            len(keys),
            limit,
            most,
            keys,
            size,
            counters,
        )
        place += 1
    return place, size


_RANGE: Any = (
    *(read(float32, 3), read(float32, 3), read(float32, 2), read(float32, 2), read(int64, 2)),
    *(read(uint8, 1), int64, read(uint32, 1), read(int64, 1), int64, int64, uint64),
    *(write(uint64, 1), int64),
)
_DONE: Any = types.UniTuple(int64, 2)


@kernel(*_RANGE, returns=_DONE)
def range_lists_bytes(  # type: ignore[no-untyped-def]
    tables,
    list_tables,
    offsets,
    summed,
    probes,
    codes,
    n_bytes,
    numbers,
    starts,
    mask,
    place,
    limit,
    keys,
    size,
):
    """``range_lists`` of kind BYTES."""
    return range_lists(
        BYTES,
        scan_run_bytes,
        tables,
        list_tables,
        offsets,
        summed,
        probes,
        codes,
        n_bytes,
        numbers,
        starts,
        mask,
        place,
        limit,
        keys,
        size,
    )


@kernel(*_RANGE, returns=_DONE)
def range_lists_halves(  # type: ignore[no-untyped-def]
    tables,
    list_tables,
    offsets,
    summed,
    probes,
    codes,
    n_bytes,
    numbers,
    starts,
    mask,
    place,
    limit,
    keys,
    size,
):
    """``range_lists`` of kind HALVES."""
    return range_lists(
        HALVES,
        scan_run_halves,
        tables,
        list_tables,
        offsets,
        summed,
        probes,
        codes,
        n_bytes,
        numbers,
        starts,
        mask,
        place,
        limit,
        keys,
        size,
    )
