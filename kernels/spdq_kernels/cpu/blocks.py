"""One block of codes against one query: sums of bytes of 256 rows at once, and the exact distance of one row.

Codes are flat, ``[block][byte][256]``. Three kinds share every scan: bytes (one table of 256 entries a byte), halves
(two tables of 16) and bits (the distance is the number of differing bits; the "small table" of a byte is the
query's own byte).
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, uint8

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.simd import add, differing_bits, load, load_byte, load_int, lookup16, lookup256, repeat

BYTES, HALVES, BITS = 0, 1, 2
GROUP_ROWS = 64
SMALL_WIDTH = (256, 32, 1)
"""Bytes of small tables for each byte of code, by kind."""


@inlined
def add_bytes(small, kind, order, start, stop, at, sums):  # type: ignore[no-untyped-def]
    """Add to the sums of four groups of 64 rows what code bytes order[start..stop-1] contribute.

    ``at`` are the addresses of the groups' first bytes, ``small`` and ``order`` addresses, too.
    """
    at0, at1, at2, at3 = at
    sum0, sum1, sum2, sum3 = sums
    if kind == BYTES:
        for i in range(start, stop):
            byte = load_int(order, i)
            table, step = small + byte * 256, byte * BLOCK_ROWS
            sum0 = add(sum0, lookup256(table, load(at0 + step)))
            sum1 = add(sum1, lookup256(table, load(at1 + step)))
            sum2 = add(sum2, lookup256(table, load(at2 + step)))
            sum3 = add(sum3, lookup256(table, load(at3 + step)))
    elif kind == HALVES:
        for i in range(start, stop):
            byte = load_int(order, i)
            table, step = small + byte * 32, byte * BLOCK_ROWS
            sum0 = add(sum0, lookup16(table, load(at0 + step)))
            sum1 = add(sum1, lookup16(table, load(at1 + step)))
            sum2 = add(sum2, lookup16(table, load(at2 + step)))
            sum3 = add(sum3, lookup16(table, load(at3 + step)))
    else:
        for i in range(start, stop):
            byte = load_int(order, i)
            query, step = repeat(load_byte(small + byte)), byte * BLOCK_ROWS
            sum0 = add(sum0, differing_bits(query, load(at0 + step)))
            sum1 = add(sum1, differing_bits(query, load(at1 + step)))
            sum2 = add(sum2, differing_bits(query, load(at2 + step)))
            sum3 = add(sum3, differing_bits(query, load(at3 + step)))
    return sum0, sum1, sum2, sum3


@kernel(read(uint8, 1), int64, int64, read(float32, 2), write(uint8, 1), int64, returns=float32)
def distance(codes, at, n_bytes, tables, small, kind):  # type: ignore[no-untyped-def]
    """The exact distance of the row whose first byte lies at an offset: float32 additions in the codebooks' order."""
    total = np.float32(0)
    if kind == BYTES:
        for byte in range(n_bytes):
            total += tables[byte, codes[at + byte * BLOCK_ROWS]]
    elif kind == HALVES:
        for byte in range(n_bytes):
            code = codes[at + byte * BLOCK_ROWS]
            total += tables[2 * byte, code & 15]
            total += tables[2 * byte + 1, code >> 4]
    else:
        bits = np.int64(0)
        for byte in range(n_bytes):
            differing = np.int64(small[byte] ^ codes[at + byte * BLOCK_ROWS])
            differing -= (differing >> 1) & 0x55
            differing = (differing & 0x33) + ((differing >> 2) & 0x33)
            bits += (differing + (differing >> 4)) & 0x0F
        total = np.float32(bits)
    return total
