"""One block of codes against one query: sums of bytes of 256 rows at once, and the exact distance of one row.

Codes are flat, ``[block][byte][256]``. Three kinds share every scan: bytes (one table of 256 entries a byte), halves
(two tables of 16) and bits (the distance is the number of differing bits; the "small table" of a byte is the
query's own byte).

Hot code takes addresses: an array handed to a function is seven arguments, and one that goes through an inlined
function is counted in and out of use for every block.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import float32, float64, int64, types, uint8

from spdq_kernels.contract import BYTES, HALVES
from spdq_kernels.cpu.compiler import inlined, read, write
from spdq_kernels.cpu.lookups import lookup16, lookup256
from spdq_kernels.cpu.simd import (
    add,
    count_bits,
    differing_bits,
    load,
    load_byte,
    load_float,
    load_int,
    prefetch,
    repeat,
)

GROUP_ROWS = 64
AHEAD = 16384
"""Bytes that are asked for in advance."""
SMALL_WIDTH = (256, 32, 1)
"""Bytes of small tables for each byte of code, by kind."""


class Rows(NamedTuple):
    """The rows to scan."""

    codes: Any
    """(blocks * bytes * 256,) uint8."""
    n_bytes: int
    n_rows: int
    mask: int
    """Address of 4 words a block whose bits say which rows may be returned; 0: all."""


class Query(NamedTuple):
    """One query: its tables (M, K) float32, and what ``bounds`` and ``scan`` make of them."""

    tables: Any
    lowest: Any
    """(M,) float32."""
    bound: Any
    """(3,) float64."""
    small: Any
    """(bytes * width,) uint8."""
    order: Any
    """(bytes,) int64: the bytes of a code, those that tell most first."""
    offset: Any
    """float32: what the sum of a row begins with."""


ROWS: Any = types.NamedTuple((read(uint8, 1), int64, int64, int64), Rows)
QUERY: Any = types.NamedTuple(
    (read(float32, 2), write(float32, 1), write(float64, 1), write(uint8, 1), write(int64, 1), float32),
    Query,
)


@inlined
def ask_for(at, step):  # type: ignore[no-untyped-def]
    """Ask for the same bytes of the blocks to come (bits are counted too fast for that to pay)."""
    prefetch(at[0] + step)
    prefetch(at[1] + step)
    prefetch(at[2] + step)
    prefetch(at[3] + step)


@inlined
def add_bytes(small, kind, order, start, stop, at, stride, ahead, sums):  # type: ignore[no-untyped-def]
    """Add to the sums of four groups of 64 rows what code bytes order[start..stop-1] contribute.

    ``at`` are the addresses of the groups' first bytes, ``small`` and ``order`` addresses, too. A group's bytes lie
    ``stride`` apart; the groups to come lie ``ahead`` of these.
    """
    at0, at1, at2, at3 = at
    sum0, sum1, sum2, sum3 = sums
    if kind == BYTES:
        for i in range(start, stop):
            byte = load_int(order, i)
            table, step = small + byte * 256, byte * stride
            ask_for(at, step + ahead)
            sum0 = add(sum0, lookup256(table, load(at0 + step)))
            sum1 = add(sum1, lookup256(table, load(at1 + step)))
            sum2 = add(sum2, lookup256(table, load(at2 + step)))
            sum3 = add(sum3, lookup256(table, load(at3 + step)))
    elif kind == HALVES:
        for i in range(start, stop):
            byte = load_int(order, i)
            table, step = small + byte * 32, byte * stride
            ask_for(at, step + ahead)
            sum0 = add(sum0, lookup16(table, load(at0 + step)))
            sum1 = add(sum1, lookup16(table, load(at1 + step)))
            sum2 = add(sum2, lookup16(table, load(at2 + step)))
            sum3 = add(sum3, lookup16(table, load(at3 + step)))
    else:
        for i in range(start, stop):
            byte = load_int(order, i)
            query, step = repeat(load_byte(small + byte)), byte * stride
            sum0 = add(sum0, differing_bits(query, load(at0 + step)))
            sum1 = add(sum1, differing_bits(query, load(at1 + step)))
            sum2 = add(sum2, differing_bits(query, load(at2 + step)))
            sum3 = add(sum3, differing_bits(query, load(at3 + step)))
    return sum0, sum1, sum2, sum3


@inlined
def distance(code, n_bytes, stride, kind, tables, small, offset):  # type: ignore[no-untyped-def]
    """The exact distance of the row whose first byte lies at an address: float32 additions in the codebooks' order.

    They begin with the offset, which is not -0.
    """
    total = offset
    if kind == BYTES:
        for byte in range(n_bytes):
            total += load_float(tables, byte * 256 + load_byte(code + byte * stride))
    elif kind == HALVES:
        for byte in range(n_bytes):
            both = load_byte(code + byte * stride)
            total += load_float(tables, byte * 32 + (both & 15))
            total += load_float(tables, byte * 32 + 16 + (both >> 4))
    else:
        bits = np.int64(0)
        for byte in range(n_bytes):
            bits += count_bits(np.uint64(load_byte(small + byte) ^ load_byte(code + byte * stride)))
        total = np.float32(bits)
    return total


@inlined
def address(array):  # type: ignore[no-untyped-def]
    """Where an array's entries lie."""
    return np.int64(array.ctypes.data)
