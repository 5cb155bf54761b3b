"""Two ways to search few allowed rows: gather their codes into blocks of their own, or evaluate them one by one."""

from __future__ import annotations

import numpy as np
from numba import float32, int64, uint8, uint32, uint64

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.blocks import GROUP_ROWS, address, distance
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, make_key, select
from spdq_kernels.cpu.scan import write_nearest
from spdq_kernels.cpu.simd import HAS_COMPRESS, compress, count_bits, load, lowest_bit, prefetch

ROWS_AHEAD = 64
"""How many rows in advance a code is asked for."""
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
    *(read(float32, 3), read(uint8, 2), int64, read(uint8, 1), int64, read(uint32, 1), int64),
    *(write(float32, 2), write(int64, 2)),
)
def evaluate_rows(tables, bit_queries, kind, codes, n_bytes, chosen, k, distances, rows):  # type: ignore[no-untyped-def]
    """The k nearest of the chosen rows for each query; +inf and -1 where there are fewer."""
    keys = np.empty(k + k // 2 + 8, np.uint64)
    for q in range(len(distances)):
        size = find_nearest(tables[q], bit_queries[q], kind, codes, n_bytes, chosen, k, keys)
        write_nearest(keys, size, k, distances[q], rows[q])


@kernel(
    *(read(float32, 2), read(uint8, 1), int64, read(uint8, 1), int64, read(uint32, 1), int64),
    write(uint64, 1),
    returns=int64,
)
def find_nearest(tables, bit_query, kind, codes, n_bytes, chosen, k, keys):  # type: ignore[no-untyped-def]
    """Put the keys of the chosen rows into keys, the k smallest among them; returns their number.

    Rows lie apart from each other: the codes of each are asked for some rows before it is evaluated.
    """
    limit, size = NO_LIMIT, np.int64(0)
    codes_at, tables_at, query_at = address(codes), address(tables), address(bit_query)
    for i in range(-ROWS_AHEAD, len(chosen)):
        if i + ROWS_AHEAD < len(chosen):
            ahead = code_of(codes_at, n_bytes, np.int64(chosen[i + ROWS_AHEAD]))
            for byte in range(n_bytes):
                prefetch(ahead + byte * BLOCK_ROWS)
        if i < 0:
            continue
        row = np.int64(chosen[i])
        code = code_of(codes_at, n_bytes, row)
        key = make_key(distance(code, n_bytes, BLOCK_ROWS, kind, tables_at, query_at, np.float32(0)), row)
        keys[size] = key
        size += 1 if key < limit else 0
        if size == len(keys):
            select(keys, size, k)
            size, limit = k, keys[k - 1]
    return size


@inlined
def code_of(codes_at, n_bytes, row):  # type: ignore[no-untyped-def]
    """Where the first byte of a row's code lies."""
    return codes_at + (row // BLOCK_ROWS) * (BLOCK_ROWS * n_bytes) + row % BLOCK_ROWS
