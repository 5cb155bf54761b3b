"""Two ways to search few allowed rows: gather their codes into blocks of their own, or evaluate them one by one."""

from __future__ import annotations

import numpy as np
from numba import float32, int64, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.blocks import BITS, GROUP_ROWS, distance
from spdq_kernels.cpu.compiler import kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, make_key, select
from spdq_kernels.cpu.scan import write_nearest
from spdq_kernels.cpu.simd import HAS_COMPRESS, compress, count_bits, load, lowest_bit

_ONE = np.uint64(1)
_NONE = np.uint64(0)


@kernel(read(uint8, 1), int64, read(uint64, 1), write(uint8, 1), write(int64, 1))
def gather(codes, n_bytes, words, gathered, rows):  # type: ignore[no-untyped-def]
    """gathered = the blocks of the rows whose bit is set, zeros beforehand; rows (count,) = which they were."""
    block_bytes = BLOCK_ROWS * n_bytes
    # Of each byte the rows of a block that is being filled, and room for those of one more group.
    waiting = np.zeros((n_bytes, BLOCK_ROWS + GROUP_ROWS), np.uint8)
    waiting_at, first_code = np.int64(waiting.ctypes.data), np.int64(codes.ctypes.data)
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
                compress(to, load(first_code + start + byte * BLOCK_ROWS), mask)
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
    keys = np.empty(k + k // 2 + 8 + GROUP_ROWS, np.uint64)
    full = len(keys) - GROUP_ROWS
    small = np.empty(n_bytes, np.uint8)
    for q in range(len(distances)):
        if kind == BITS:
            small[:] = bit_queries[q]
        limit, size = NO_LIMIT, np.int64(0)
        for group in range(len(words)):
            mask = words[group]
            start = (group // 4) * (BLOCK_ROWS * n_bytes) + (group % 4) * GROUP_ROWS
            while mask != _NONE:
                row = lowest_bit(mask)
                mask &= mask - _ONE
                found = distance(codes, start + row, n_bytes, tables[q], small, kind)
                keys[size] = make_key(found, group * GROUP_ROWS + row)
                size += 1 if keys[size] < limit else 0
            if size > full:
                select(keys, size, k)
                size, limit = k, keys[k - 1]
        write_nearest(keys, size, k, distances[q], rows[q])
