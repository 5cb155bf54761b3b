"""Distance and row in one number, and the selection of the smallest: order of keys is order of (distance, row).

The upper 32 bits are the distance's, changed so that they order like the distances themselves; the lower 32 the row.
Distances are never -0 (sums start from +0) and never NaN.
"""

from __future__ import annotations

import numpy as np
from numba import int64, uint64

from spdq_kernels.cpu.compiler import inlined, kernel, write
from spdq_kernels.cpu.simd import bits_float, float_bits

_SIGN = np.uint64(1 << 31)
_LOW = np.uint64((1 << 32) - 1)
_SHIFT = np.uint64(32)
NO_LIMIT = np.uint64((0xFF800000 << 32) | 0xFFFFFFFF)
"""Above the key of every row, also of one at an infinite distance."""
_FEW = 24  # as many keys are sorted by insertion
SORTED = 192
"""As many keys are faster sorted, by counting, than cut: that has no branches to guess."""


@inlined
def make_key(distance, row):  # type: ignore[no-untyped-def]
    """The key of a float32 distance and a row below 2**32."""
    bits = float_bits(distance)
    ordered = bits ^ _LOW if bits & _SIGN else bits | _SIGN
    return (ordered << _SHIFT) | np.uint64(row)


@inlined
def key_distance(key):  # type: ignore[no-untyped-def]
    """The distance of a key."""
    ordered = key >> _SHIFT
    return bits_float(ordered ^ _SIGN if ordered & _SIGN else ordered ^ _LOW)


@inlined
def key_row(key):  # type: ignore[no-untyped-def]
    """The row of a key."""
    return np.int64(key & _LOW)


@inlined
def middle_of_three(keys, first, last):  # type: ignore[no-untyped-def]
    """The median of the first, middle and last key of a range."""
    a, b, c = keys[first], keys[(first + last) >> 1], keys[last]
    if a > b:
        a, b = b, a
    if b > c:
        b = c if c > a else a
    return b


@kernel(write(uint64, 1), int64, int64, returns=int64)
def cut(keys, first, last):  # type: ignore[no-untyped-def]
    """Order three or more distinct keys[first..last]: returns i with keys[first..i-1] < keys[i..last], both some."""
    pivot = middle_of_three(keys, first, last)
    low, high = first, last
    while True:
        while keys[low] < pivot:
            low += 1
        while keys[high] > pivot:
            high -= 1
        if low >= high:
            return low
        keys[low], keys[high] = keys[high], keys[low]
        low += 1
        high -= 1


@kernel(write(uint64, 1), int64, int64)
def select(keys, size, k):  # type: ignore[no-untyped-def]
    """Put the k smallest of the first ``size`` keys first, in no order, the largest of them in place k - 1."""
    first, last, wanted = np.int64(0), size - 1, k - 1
    while last - first > _FEW:
        middle = cut(keys, first, last)
        if wanted < middle:
            last = middle - 1
        else:
            first = middle
    insertion_sort(keys, first, last)


@kernel(write(uint64, 1), int64, int64)
def insertion_sort(keys, first, last):  # type: ignore[no-untyped-def]
    """Sort keys[first..last], a few."""
    for i in range(first + 1, last + 1):
        key = keys[i]
        at = i
        while at > first and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            at -= 1
        keys[at] = key


@kernel(write(uint64, 1), int64)
def sort_by_counting(keys, size):  # type: ignore[no-untyped-def]
    """Sort the first ``size`` keys, some and distinct: each goes behind those that are less."""
    before = keys[:size].copy()
    for i in range(size):
        key = before[i]
        place = 0
        for j in range(size):
            place += 1 if before[j] < key else 0
        keys[place] = key


@kernel(write(uint64, 1), int64)
def sort(keys, size):  # type: ignore[no-untyped-def]
    """Sort the first ``size`` keys: quicksort, the larger part later, so 64 ranges wait at most."""
    if size <= SORTED:
        sort_by_counting(keys, size)
        return
    waiting = np.empty((64, 2), np.int64)
    n_waiting = 1
    waiting[0, 0], waiting[0, 1] = 0, size - 1
    while n_waiting:
        n_waiting -= 1
        first, last = waiting[n_waiting, 0], waiting[n_waiting, 1]
        while last - first > _FEW:
            middle = cut(keys, first, last)
            if middle - first > last - middle:
                waiting[n_waiting, 0], waiting[n_waiting, 1] = first, middle - 1
                first = middle
            else:
                waiting[n_waiting, 0], waiting[n_waiting, 1] = middle, last
                last = middle - 1
            n_waiting += 1
        insertion_sort(keys, first, last)
