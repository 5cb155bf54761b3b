"""The scan of one list, or of a sample of blocks, for one query: ``block_scan`` over blocks of 64 rows.

Codes are flat, ``[block][byte][64]``; each list begins with a block of its own. A row has a slot, its place among all
blocks, and a number, which stands in its key: whatever the order of lists and slots, keys order by (distance, row).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import float32, int64, types, uint8, uint32, uint64

from spdq_kernels.contract import BYTES, HALVES
from spdq_kernels.cpu.block_scan import EVALUATED
from spdq_kernels.cpu.blocks import GROUP_ROWS, QUERY, add_bytes, address, distance
from spdq_kernels.cpu.bounds import tighten
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import key_distance, make_key, select
from spdq_kernels.cpu.simd import (
    at_most,
    count_bits,
    load_int,
    load_row,
    lowest_bit,
    repeat,
    store_word,
    zeros,
)

QUAD = 4
"""Blocks that are scanned at once."""
QUAD_ROWS = QUAD * GROUP_ROWS
_ONE = np.uint64(1)
_NONE = np.uint64(0)


class Lists(NamedTuple):
    """The lists to scan."""

    codes: Any
    """(blocks * bytes * 64,) uint8."""
    n_bytes: int
    rows: Any
    """(blocks * 64,) uint32: the number of the row in each slot."""
    starts: Any
    """(n_lists + 1,) int64: the first block of each list."""


LISTS: Any = types.NamedTuple((read(uint8, 1), int64, read(uint32, 1), read(int64, 1)), Lists)


@kernel(
    *(int64, int64, int64, uint64, int64, int64, float32, int64, uint64, int64, int64),
    returns=int64,
)
def collect_slots(code, n_bytes, slot, mask, kind, tables, offset, rows, limit, keys, size):  # type: ignore[no-untyped-def]
    """Append the keys of masked slots that lie below the limit; returns the new number of keys.

    ``code`` is the address of the block's first byte, ``slot`` its first slot; tables, rows and keys are addresses.
    """
    while mask != _NONE:
        place = lowest_bit(mask)
        mask &= mask - _ONE
        found = distance(code + place, n_bytes, GROUP_ROWS, kind, tables, tables, offset)
        key = make_key(found, load_row(rows, slot + place))
        store_word(keys, size, key)
        size += 1 if key < limit else 0
    return size


@inlined
def scan_quad(  # type: ignore[no-untyped-def]
    kind, lists, query, blocks, words, ahead, k, full, limit, most, keys, size, counters
):
    """``block_scan.scan_blocks`` of four blocks, wherever they lie, and of the slots whose bits are set in words."""
    n_bytes = lists.n_bytes
    block_bytes = GROUP_ROWS * n_bytes
    codes_at, rows_at, keys_at = address(lists.codes), address(lists.rows), address(keys)
    tables_at, small_at, order_at = address(query.tables), address(query.small), address(query.order)
    any_kind = np.int64(kind)  # as a constant it would make kernels of its own
    block0, block1, block2, block3 = blocks
    at = (
        codes_at + block0 * block_bytes,
        codes_at + block1 * block_bytes,
        codes_at + block2 * block_bytes,
        codes_at + block3 * block_bytes,
    )
    empty, largest = zeros(), repeat(np.uint8(most))
    sums = (empty, empty, empty, empty)
    sums = add_bytes(small_at, kind, order_at, 0, n_bytes, at, GROUP_ROWS, ahead, sums)
    mask0, mask1 = at_most(sums[0], largest) & words[0], at_most(sums[1], largest) & words[1]
    mask2, mask3 = at_most(sums[2], largest) & words[2], at_most(sums[3], largest) & words[3]
    if (mask0 | mask1 | mask2 | mask3) != _NONE:
        counters[EVALUATED] += count_bits(mask0) + count_bits(mask1) + count_bits(mask2) + count_bits(mask3)
        if mask0:
            slot = block0 * GROUP_ROWS
            size = collect_slots(
                at[0], n_bytes, slot, mask0, any_kind, tables_at, query.offset, rows_at, limit, keys_at, size
            )
        if mask1:
            slot = block1 * GROUP_ROWS
            size = collect_slots(
                at[1], n_bytes, slot, mask1, any_kind, tables_at, query.offset, rows_at, limit, keys_at, size
            )
        if mask2:
            slot = block2 * GROUP_ROWS
            size = collect_slots(
                at[2], n_bytes, slot, mask2, any_kind, tables_at, query.offset, rows_at, limit, keys_at, size
            )
        if mask3:
            slot = block3 * GROUP_ROWS
            size = collect_slots(
                at[3], n_bytes, slot, mask3, any_kind, tables_at, query.offset, rows_at, limit, keys_at, size
            )
        if size > full:
            select(keys, size, k)
            size = k
            limit = keys[k - 1]
            most = tighten(any_kind, query, key_distance(limit))
    return limit, most, size


@inlined
def scan_run(  # type: ignore[no-untyped-def]
    kind, lists, mask, query, first, last, following, k, full, limit, most, keys, size, counters
):
    """Append the keys below the limit of blocks first..last-1; with more than ``full`` of them the limit falls.

    ``mask`` is the address of a word a block. ``following``: the block that is scanned next. Returns the limit, the
    largest sum of bytes that goes with it, and the number of keys.
    """
    block_bytes = GROUP_ROWS * lists.n_bytes
    for block in range(first, last, QUAD):
        # Where a list ends the last block stands in for those that are not there, and no slot is wanted of them.
        end = last - 1
        blocks = (block, min(block + 1, end), min(block + 2, end), min(block + 3, end))
        words = (
            np.uint64(load_int(mask, block)),
            np.uint64(load_int(mask, blocks[1])) if block + 1 < last else _NONE,
            np.uint64(load_int(mask, blocks[2])) if block + 2 < last else _NONE,
            np.uint64(load_int(mask, blocks[3])) if block + 3 < last else _NONE,
        )
        if (words[0] | words[1] | words[2] | words[3]) == _NONE:
            continue
        next_block = block + QUAD if block + QUAD < last else following
        ahead = (next_block - block) * block_bytes
        limit, most, size = scan_quad(
            kind, lists, query, blocks, words, ahead, k, full, limit, most, keys, size, counters
        )
    return limit, most, size


@inlined
def scan_some(  # type: ignore[no-untyped-def]
    kind, lists, mask, query, chosen, n_chosen, k, full, limit, most, keys, size, counters
):
    """``scan_run`` of the first ``n_chosen`` of chosen blocks (m,) int64, which may lie anywhere."""
    for i in range(0, n_chosen, QUAD):
        end = n_chosen - 1
        blocks = (
            chosen[i],
            chosen[min(i + 1, end)],
            chosen[min(i + 2, end)],
            chosen[min(i + 3, end)],
        )
        words = (
            np.uint64(load_int(mask, blocks[0])),
            np.uint64(load_int(mask, blocks[1])) if i + 1 < n_chosen else _NONE,
            np.uint64(load_int(mask, blocks[2])) if i + 2 < n_chosen else _NONE,
            np.uint64(load_int(mask, blocks[3])) if i + 3 < n_chosen else _NONE,
        )
        limit, most, size = scan_quad(
            kind, lists, query, blocks, words, 0, k, full, limit, most, keys, size, counters
        )
    return limit, most, size


_KEPT: Any = (int64, int64, uint64, int64, write(uint64, 1), int64, write(int64, 1))
_RUN: Any = (LISTS, int64, QUERY, int64, int64, int64, *_KEPT)
_SOME: Any = (LISTS, int64, QUERY, write(int64, 1), int64, *_KEPT)
_SCANNED: Any = types.Tuple((uint64, int64, int64))


@kernel(*_RUN, returns=_SCANNED)
def scan_run_bytes(  # type: ignore[no-untyped-def]
    lists, mask, query, first, last, following, k, full, limit, most, keys, size, counters
):
    """``scan_run`` of kind BYTES."""
    return scan_run(
        BYTES, lists, mask, query, first, last, following, k, full, limit, most, keys, size, counters
    )


@kernel(*_RUN, returns=_SCANNED)
def scan_run_halves(  # type: ignore[no-untyped-def]
    lists, mask, query, first, last, following, k, full, limit, most, keys, size, counters
):
    """``scan_run`` of kind HALVES."""
    return scan_run(
        HALVES, lists, mask, query, first, last, following, k, full, limit, most, keys, size, counters
    )


@kernel(*_SOME, returns=_SCANNED)
def scan_some_bytes(  # type: ignore[no-untyped-def]
    lists, mask, query, chosen, n_chosen, k, full, limit, most, keys, size, counters
):
    """``scan_some`` of kind BYTES."""
    return scan_some(BYTES, lists, mask, query, chosen, n_chosen, k, full, limit, most, keys, size, counters)


@kernel(*_SOME, returns=_SCANNED)
def scan_some_halves(  # type: ignore[no-untyped-def]
    lists, mask, query, chosen, n_chosen, k, full, limit, most, keys, size, counters
):
    """``scan_some`` of kind HALVES."""
    return scan_some(HALVES, lists, mask, query, chosen, n_chosen, k, full, limit, most, keys, size, counters)
