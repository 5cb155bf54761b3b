"""Look texts up in a sorted list of texts: a binary search for many of them in step.

In a long list each step of a search waits for memory. The searches of a group halve the same number of candidates at
once, so that the texts they meet next are asked for together and the waits overlap.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint8

from spdq_kernels.cpu.blocks import address
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.simd import load_byte, load_int, prefetch

GROUP_TEXTS = 32


@kernel(read(uint8, 1), read(int64, 1), read(uint8, 1), read(int64, 1), write(int64, 1))
def find_texts(utf8, borders, wanted_utf8, wanted_borders, rows):  # type: ignore[no-untyped-def]
    """rows (q,) = where each wanted text is among the sorted texts, -1 for one that is not."""
    texts, texts_borders = address(utf8), address(borders)
    wanted, wanted_from = address(wanted_utf8), address(wanted_borders)
    n_texts, n_bytes = len(borders) - 1, len(utf8)
    rows[:] = 0 if n_texts else -1
    for first in range(0, len(rows) if n_texts else 0, GROUP_TEXTS):
        group = range(first, min(first + GROUP_TEXTS, len(rows)))
        size = n_texts
        while size > 1:  # a wanted text that is there is among the next ``size`` from its row on
            half = size // 2
            for i in group:
                prefetch(texts + load_int(texts_borders, rows[i] + half))
            for i in group:
                row = rows[i] + half
                if order(texts, texts_borders, n_bytes, row, wanted, wanted_from, i) <= 0:
                    rows[i] = row
            size -= half
        for i in group:
            if order(texts, texts_borders, n_bytes, rows[i], wanted, wanted_from, i) != 0:
                rows[i] = -1


@inlined
def order(texts, borders, n_bytes, row, others, other_borders, other):  # type: ignore[no-untyped-def]
    """Below, at or above 0 as a text comes before, is or comes after the other one; texts and borders are addresses.

    A text whose borders are out of order is cut to what lies inside the n_bytes of all.
    """
    start, other_start = min(max(load_int(borders, row), 0), n_bytes), load_int(other_borders, other)
    length = min(max(load_int(borders, row + 1), start), n_bytes) - start
    other_length = load_int(other_borders, other + 1) - other_start
    for i in range(min(length, other_length)):
        byte, other_byte = load_byte(texts + start + i), load_byte(others + other_start + i)
        if byte != other_byte:
            return np.int64(byte) - np.int64(other_byte)
    return length - other_length
