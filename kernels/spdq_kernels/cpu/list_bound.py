"""A limit for a query from the byte sums of its nearest list, before any row is evaluated.

Tables become bytes with a scale that puts a row of the list's mean to 254. A byte below 255 is at least
(t - lowest) * f - 1 with f a little less than the scale (``bounds`` has the roundings), so a row whose M bytes add up
to i < 255 has S - base <= (i + M) / f, and s <= S + e (A + S - base). Where k rows have a sum of at most i, so many lie
within that distance: it is certain, and needs no verification.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64

from spdq_kernels.contract import BYTES, HALVES
from spdq_kernels.cpu.blocks import GROUP_ROWS, QUERY, add_bytes, address
from spdq_kernels.cpu.bounds import BASE, EVERYTHING, SCALE, SLACK, quantize
from spdq_kernels.cpu.compiler import inlined, kernel
from spdq_kernels.cpu.floats import LANES, load_floats, plus, repeat_float, store_floats
from spdq_kernels.cpu.list_scan import LISTS, QUAD
from spdq_kernels.cpu.simd import load_byte, load_int, lowest_bit, store, zeros

_BIT = np.uint64(1)
_NONE = np.uint64(0)
_IN_FLOAT32 = 1 - 2.0**-19
"""Twice the share that bytes lose to rounding and to the safety of their factor."""


@kernel(QUERY, returns=float32)
def mean_distance(query):  # type: ignore[no-untyped-def]
    """Offset and means of the tables: what a row has on average, if each word is used as much as any other."""
    n_tables, n_words = query.tables.shape
    tables_at = address(query.tables)
    lanes = np.empty(LANES, np.float32)
    sums = repeat_float(np.float32(0))
    for word in range(0, n_tables * n_words, LANES):
        sums = plus(sums, load_floats(tables_at, word))
    store_floats(address(lanes), 0, sums)
    total = np.float64(0)
    for lane in range(LANES):
        total += np.float64(lanes[lane])
    return np.float32(np.float64(query.offset) + total / n_words)


@inlined
def bound_of_list(kind, lists, mask, query, which, k):  # type: ignore[no-untyped-def]
    """A distance within which k rows of a list lie; +inf where the sums of bytes do not tell."""
    starts, n_bytes, bound = lists.starts, lists.n_bytes, query.bound
    n_tables = len(query.tables)
    quantize(np.int64(kind), query, mean_distance(query))
    if not bound[SCALE] > 0.0:
        return np.float32(np.inf)
    counts = np.zeros(EVERYTHING + 1, np.int64)
    sums = np.empty(QUAD * GROUP_ROWS, np.uint8)
    sums_at, small_at, order_at = address(sums), address(query.small), address(query.order)
    codes_at, block_bytes = address(lists.codes), GROUP_ROWS * n_bytes
    empty = zeros()
    first, last = starts[which], starts[which + 1]
    for block in range(first, last, QUAD):
        end = last - 1
        at = (
            codes_at + block * block_bytes,
            codes_at + min(block + 1, end) * block_bytes,
            codes_at + min(block + 2, end) * block_bytes,
            codes_at + min(block + 3, end) * block_bytes,
        )
        nothing = (empty, empty, empty, empty)
        four = add_bytes(small_at, kind, order_at, 0, n_bytes, at, GROUP_ROWS, QUAD * block_bytes, nothing)
        store(sums_at, four[0])
        store(sums_at + GROUP_ROWS, four[1])
        store(sums_at + 2 * GROUP_ROWS, four[2])
        store(sums_at + 3 * GROUP_ROWS, four[3])
        for i in range(min(QUAD, last - block)):
            word = np.uint64(load_int(mask, block + i))
            while word != _NONE:
                counts[load_byte(sums_at + i * GROUP_ROWS + lowest_bit(word))] += 1
                word &= word - _BIT
    count = 0
    for largest in range(EVERYTHING):
        count += counts[largest]
        if count >= k:
            farthest = (largest + n_tables) / (bound[SCALE] * _IN_FLOAT32)
            farthest = bound[BASE] + farthest * (1 + (n_tables + 1) * 2.0**-23) + bound[SLACK]
            distance = np.float32(farthest)
            if np.float64(distance) < farthest:
                distance = np.nextafter(distance, np.float32(np.inf))
            return np.float32(0) + distance
    return np.float32(np.inf)


_BOUND: Any = (LISTS, int64, QUERY, int64, int64)


@kernel(*_BOUND, returns=float32)
def bound_of_bytes(lists, mask, query, which, k):  # type: ignore[no-untyped-def]
    """``bound_of_list`` of kind BYTES."""
    return bound_of_list(BYTES, lists, mask, query, which, k)


@kernel(*_BOUND, returns=float32)
def bound_of_halves(lists, mask, query, which, k):  # type: ignore[no-untyped-def]
    """``bound_of_list`` of kind HALVES."""
    return bound_of_list(HALVES, lists, mask, query, which, k)
