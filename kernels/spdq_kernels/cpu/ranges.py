"""All rows nearer than a radius."""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, int64, types, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.blocks import SMALL_WIDTH, add_bytes
from spdq_kernels.cpu.bounds import find_lowest, quantize
from spdq_kernels.cpu.compiler import kernel, read, write
from spdq_kernels.cpu.keys import key_distance
from spdq_kernels.cpu.scan import AHEAD, collect, first_rows
from spdq_kernels.cpu.simd import at_most, prefetch, repeat, zeros

_ALL = np.uint64((1 << 64) - 1)


@kernel(
    *(read(float32, 2), int64, read(uint8, 1), int64, int64, int64, int64, boolean, read(uint64, 1)),
    *(uint64, write(uint64, 1), int64),
    returns=types.UniTuple(int64, 2),
)
def scan_range(  # type: ignore[no-untyped-def]
    tables, kind, codes, n_bytes, n_rows, first, last, is_masked, words, limit, keys, size
):
    """Append the keys of rows of blocks first..last-1 below the limit while 256 more have room.

    Returns the block to go on with and the number of keys. tables (M, K) are those of one query.
    """
    lowest = np.empty(len(tables), np.float32)
    bound = np.zeros(3, np.float64)
    small = np.empty(n_bytes * SMALL_WIDTH[kind], np.uint8)
    order = np.arange(n_bytes)
    find_lowest(tables, lowest, bound)
    largest = repeat(np.uint8(quantize(kind, tables, lowest, key_distance(limit), bound, small)))
    empty = zeros()
    block_bytes = BLOCK_ROWS * n_bytes
    first_code = np.int64(codes.ctypes.data)
    small_at, order_at = np.int64(small.ctypes.data), np.int64(order.ctypes.data)
    for block in range(first, last):
        if size + BLOCK_ROWS > len(keys):
            return block, size
        start, row = block * block_bytes, block * BLOCK_ROWS
        address = first_code + start
        for line in range(address + AHEAD, address + AHEAD + block_bytes, 64):
            prefetch(line)
        at = (address, address + 64, address + 128, address + 192)
        sums = add_bytes(small_at, kind, order_at, 0, n_bytes, at, (empty, empty, empty, empty))
        for i in range(4):
            part = sums[0]
            if i == 1:
                part = sums[1]
            elif i == 2:
                part = sums[2]
            elif i == 3:
                part = sums[3]
            mask = at_most(part, largest) & (words[4 * block + i] if is_masked else _ALL)
            if row + BLOCK_ROWS > n_rows:
                mask &= first_rows(n_rows - row - 64 * i)
            if mask:
                size = collect(
                    codes, n_bytes, start + 64 * i, row + 64 * i, mask, kind, tables, small, limit, keys, size
                )
    return last, size
