"""The scan of some blocks for one query: filter rows by sums of bytes, evaluate those that pass, keep the nearest.

Every row that passes the filter is evaluated in float32; so bytes, limits and stages decide how fast the answer comes,
never what it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, types, uint64

from spdq_kernels.contract import BITS, BLOCK_ROWS, BYTES, HALVES
from spdq_kernels.cpu.blocks import AHEAD, GROUP_ROWS, QUERY, ROWS, add_bytes, address, distance
from spdq_kernels.cpu.bounds import tighten
from spdq_kernels.cpu.compiler import inlined, kernel, write
from spdq_kernels.cpu.keys import key_distance, make_key, select
from spdq_kernels.cpu.simd import (
    at_most,
    count_bits,
    load_int,
    lowest_bit,
    prefetch,
    repeat,
    store_word,
    zeros,
)

MASK_AHEAD = 2048
"""Bytes of a mask that are asked for in advance: queries come back to theirs after a tile."""
REPEATS, EVALUATED, DEEP_BLOCKS = 0, 1, 2
"""Places in the counters: queries scanned twice, rows evaluated, blocks that needed their second stage."""
_ONE = np.uint64(1)
_NONE = np.uint64(0)
_ALL = np.uint64((1 << 64) - 1)


@inlined
def first_rows(count):  # type: ignore[no-untyped-def]
    """A mask of the first ``count`` of 64 rows."""
    if count >= GROUP_ROWS:
        return _ALL
    return (_ONE << np.uint64(max(count, 0))) - _ONE


@kernel(int64, int64, int64, uint64, int64, int64, int64, uint64, int64, int64, returns=int64)
def collect(code, n_bytes, row, mask, kind, tables, small, limit, keys, size):  # type: ignore[no-untyped-def]
    """Append the keys of masked rows that lie below the limit; returns the new number of keys.

    ``code`` is the address of the first byte of the group's first row, ``tables``, ``small`` and ``keys`` addresses.
    """
    while mask != _NONE:
        place = lowest_bit(mask)
        mask &= mask - _ONE
        found = distance(code + place, n_bytes, BLOCK_ROWS, kind, tables, small, np.float32(0))
        key = make_key(found, row + place)
        store_word(keys, size, key)
        size += 1 if key < limit else 0
    return size


@inlined
def scan_blocks(  # type: ignore[no-untyped-def]
    kind, rows, query, first, last, depth, k, full, limit, most, keys, size, counters
):
    """Append the keys below the limit of blocks first..last-1; with more than ``full`` of them the limit falls.

    Returns the limit, the largest sum of bytes that goes with it, and the number of keys. With ``depth`` below the
    number of bytes a block whose sums over that many bytes are too large already is left.
    """
    n_bytes, n_rows, mask = rows.n_bytes, rows.n_rows, rows.mask
    block_bytes = BLOCK_ROWS * n_bytes
    codes_at, keys_at = address(rows.codes), address(keys)
    tables_at, small_at, order_at = address(query.tables), address(query.small), address(query.order)
    any_kind = np.int64(kind)  # as a constant it would make kernels of its own
    empty = zeros()
    largest = repeat(np.uint8(most))
    word0 = word1 = word2 = word3 = _ALL
    n_deep, n_evaluated = 0, 0
    for block in range(first, last):
        if mask:
            prefetch(mask + 32 * block + MASK_AHEAD)
            word0 = np.uint64(load_int(mask, 4 * block))
            word1 = np.uint64(load_int(mask, 4 * block + 1))
            word2 = np.uint64(load_int(mask, 4 * block + 2))
            word3 = np.uint64(load_int(mask, 4 * block + 3))
            if (word0 | word1 | word2 | word3) == _NONE:
                continue
        start = codes_at + block * block_bytes
        at = (start, start + 64, start + 128, start + 192)
        sums = (empty, empty, empty, empty)
        sums = add_bytes(small_at, kind, order_at, 0, depth, at, BLOCK_ROWS, AHEAD, sums)
        if depth < n_bytes:
            passing = (
                (at_most(sums[0], largest) & word0)
                | (at_most(sums[1], largest) & word1)
                | (at_most(sums[2], largest) & word2)
                | (at_most(sums[3], largest) & word3)
            )
            if passing == _NONE:
                continue
            n_deep += 1
            sums = add_bytes(small_at, kind, order_at, depth, n_bytes, at, BLOCK_ROWS, AHEAD, sums)
        mask0, mask1 = at_most(sums[0], largest) & word0, at_most(sums[1], largest) & word1
        mask2, mask3 = at_most(sums[2], largest) & word2, at_most(sums[3], largest) & word3
        if (mask0 | mask1 | mask2 | mask3) == _NONE:
            continue
        row = block * BLOCK_ROWS
        if row + BLOCK_ROWS > n_rows:
            mask0, mask1 = mask0 & first_rows(n_rows - row), mask1 & first_rows(n_rows - row - 64)
            mask2, mask3 = mask2 & first_rows(n_rows - row - 128), mask3 & first_rows(n_rows - row - 192)
        n_evaluated += count_bits(mask0) + count_bits(mask1) + count_bits(mask2) + count_bits(mask3)
        if mask0:
            size = collect(start, n_bytes, row, mask0, any_kind, tables_at, small_at, limit, keys_at, size)
        if mask1:
            size = collect(
                at[1], n_bytes, row + 64, mask1, any_kind, tables_at, small_at, limit, keys_at, size
            )
        if mask2:
            size = collect(
                at[2], n_bytes, row + 128, mask2, any_kind, tables_at, small_at, limit, keys_at, size
            )
        if mask3:
            size = collect(
                at[3], n_bytes, row + 192, mask3, any_kind, tables_at, small_at, limit, keys_at, size
            )
        if size > full:
            select(keys, size, k)
            size = k
            limit = keys[k - 1]
            most = tighten(any_kind, query, key_distance(limit))
            largest = repeat(np.uint8(most))
    counters[DEEP_BLOCKS] += n_deep
    counters[EVALUATED] += n_evaluated
    return limit, most, size


_ARGUMENTS: Any = (
    *(ROWS, QUERY, int64, int64, int64, int64, int64, uint64, int64, write(uint64, 1), int64),
    write(int64, 1),
)
_SCANNED: Any = types.Tuple((uint64, int64, int64))


@kernel(*_ARGUMENTS, returns=_SCANNED)
def scan_blocks_bytes(  # type: ignore[no-untyped-def]
    rows, query, first, last, depth, k, full, limit, most, keys, size, counters
):
    """``scan_blocks`` of kind BYTES."""
    return scan_blocks(BYTES, rows, query, first, last, depth, k, full, limit, most, keys, size, counters)


@kernel(*_ARGUMENTS, returns=_SCANNED)
def scan_blocks_halves(  # type: ignore[no-untyped-def]
    rows, query, first, last, depth, k, full, limit, most, keys, size, counters
):
    """``scan_blocks`` of kind HALVES."""
    return scan_blocks(HALVES, rows, query, first, last, depth, k, full, limit, most, keys, size, counters)


@kernel(*_ARGUMENTS, returns=_SCANNED)
def scan_blocks_bits(  # type: ignore[no-untyped-def]
    rows, query, first, last, depth, k, full, limit, most, keys, size, counters
):
    """``scan_blocks`` of kind BITS."""
    return scan_blocks(BITS, rows, query, first, last, depth, k, full, limit, most, keys, size, counters)
