"""Two ways to search few allowed rows: gather their codes into blocks of their own, or evaluate them one by one."""

from __future__ import annotations

import numpy as np
from numba import float32, int64, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.blocks import GROUP_ROWS, address, distance
from spdq_kernels.cpu.compiler import kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, make_key, select
from spdq_kernels.cpu.scan import write_nearest
from spdq_kernels.cpu.simd import HAS_COMPRESS, compress, count_bits, load, lowest_bit, prefetch

TOGETHER = 32
"""Rows that are evaluated one after another."""
_ONE = np.uint64(1)
_NONE = np.uint64(0)


@kernel(read(uint8, 1), int64, read(uint64, 1), write(uint8, 1), write(int64, 1))
def gather(codes, n_bytes, words, gathered, rows):  # type: ignore[no-untyped-def]
    """gathered = the blocks of the rows whose bit is set, zeros in the last one; rows (count,) = which they were."""
    block_bytes = BLOCK_ROWS * n_bytes
    # Of each byte the rows of a block that is being filled, and room for those of one more group.
    waiting = np.zeros((n_bytes, BLOCK_ROWS + GROUP_ROWS), np.uint8)
    waiting_at, codes_at = address(waiting), address(codes)
    n_waiting, n_blocks, n_rows = 0, 0, 0
    for group in range(len(words)):
        mask = words[group]
        if mask == _NONE:
            continue
        start = (group // 4) * block_bytes + (group % 4) * GROUP_ROWS
        count = count_bits(mask)
        if HAS_COMPRESS:
            for byte in range(n_bytes):
                to = waiting_at + byte * (BLOCK_ROWS + GROUP_ROWS) + n_waiting
                compress(to, load(codes_at + start + byte * BLOCK_ROWS), mask)
        rest = mask
        for i in range(count):
            row = lowest_bit(rest)
            rest &= rest - _ONE
            rows[n_rows + i] = group * GROUP_ROWS + row
            if not HAS_COMPRESS:
                for byte in range(n_bytes):
                    waiting[byte, n_waiting + i] = codes[start + byte * BLOCK_ROWS + row]
        n_rows += count
        n_waiting += count
        if n_waiting >= BLOCK_ROWS:
            for byte in range(n_bytes):
                at = n_blocks * block_bytes + byte * BLOCK_ROWS
                gathered[at : at + BLOCK_ROWS] = waiting[byte, :BLOCK_ROWS]
                waiting[byte, :GROUP_ROWS] = waiting[byte, BLOCK_ROWS:]
            n_blocks += 1
            n_waiting -= BLOCK_ROWS
    if n_waiting:
        for byte in range(n_bytes):
            at = n_blocks * block_bytes + byte * BLOCK_ROWS
            gathered[at : at + n_waiting] = waiting[byte, :n_waiting]


@kernel(
    *(read(float32, 3), read(uint8, 2), int64, read(uint8, 1), int64, read(uint64, 1), int64),
    *(write(float32, 2), write(int64, 2)),
)
def evaluate_rows(tables, bit_queries, kind, codes, n_bytes, words, k, distances, rows):  # type: ignore[no-untyped-def]
    """The k nearest of the rows whose bit is set, for each query; +inf and -1 where there are fewer."""
    keys = np.empty(k + k // 2 + 8 + TOGETHER, np.uint64)
    for q in range(len(distances)):
        size = find_nearest(tables[q], bit_queries[q], kind, codes, n_bytes, words, k, keys)
        write_nearest(keys, size, k, distances[q], rows[q])


@kernel(
    *(read(float32, 2), read(uint8, 1), int64, read(uint8, 1), int64, read(uint64, 1), int64),
    write(uint64, 1),
    returns=int64,
)
def find_nearest(tables, bit_query, kind, codes, n_bytes, words, k, keys):  # type: ignore[no-untyped-def]
    """Put the keys of the rows whose bit is set into keys, the k smallest among them; returns their number.

    Rows lie apart from each other: their codes are asked for some rows before they are evaluated.
    """
    full = len(keys) - TOGETHER
    limit, size = NO_LIMIT, np.int64(0)
    codes_at, tables_at, query_at = address(codes), address(tables), address(bit_query)
    waiting = np.empty(TOGETHER, np.int64)
    n_waiting = 0
    for group in range(len(words) + 1):
        is_last = group == len(words)
        mask = _NONE if is_last else words[group]
        while mask != _NONE or (is_last and n_waiting):
            if mask != _NONE:
                row = group * GROUP_ROWS + lowest_bit(mask)
                mask &= mask - _ONE
                code = codes_at + (row // BLOCK_ROWS) * (BLOCK_ROWS * n_bytes) + row % BLOCK_ROWS
                for byte in range(n_bytes):
                    prefetch(code + byte * BLOCK_ROWS)
                waiting[n_waiting] = row
                n_waiting += 1
                if n_waiting < TOGETHER:
                    continue
            for row in waiting[:n_waiting]:
                code = codes_at + (row // BLOCK_ROWS) * (BLOCK_ROWS * n_bytes) + row % BLOCK_ROWS
                key = make_key(distance(code, n_bytes, kind, tables_at, query_at), row)
                keys[size] = key
                size += 1 if key < limit else 0
            n_waiting = 0
            if size > full:
                select(keys, size, k)
                size, limit = k, keys[k - 1]
    return size
