"""A guess at the distance of the k-th nearest row, from a sample: where the filter of a scan starts.

Without one a scan evaluates rows one by one until it has seen k of them, and rows sorted from far to near make it
evaluate them all. A guess that is too low is found out, because fewer than k rows lie below it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import boolean, float32, float64, int64, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.blocks import GROUP_ROWS, add_bytes, distance
from spdq_kernels.cpu.bounds import quantize, tighten
from spdq_kernels.cpu.compiler import kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, keep_smallest, make_key
from spdq_kernels.cpu.simd import at_most, lowest_bit, repeat, zeros

SAMPLE_GROUPS = 256
"""Groups of 64 rows in a sample at most, and ..."""
SHARE = 8
"""... at most one in this many of all."""
MIN_GROUPS = 16
"""Fewer groups than this are scanned without a guess."""
TOO_LOW = 2e-3
"""Share of guesses that may turn out too low, each costing a second scan."""
_ALL = np.uint64((1 << 64) - 1)
_ONE = np.uint64(1)
_NONE = np.uint64(0)
_LAST_ROW = (1 << 32) - 1


@kernel(float64, int64, returns=int64)
def guess_rank(expected, k):  # type: ignore[no-untyped-def]
    """The smallest rank j with P(Poisson(expected) >= j) <= TOO_LOW, at most k.

    Of the k nearest rows a sample holds about Poisson(expected) many; if fewer than j, its j-th nearest is no nearer
    than the k-th of all.
    """
    if expected > 500.0:
        return min(np.int64(expected + 4 * math.sqrt(expected)) + 1, k)
    term = math.exp(-expected)
    below = term
    rank = 1
    while 1.0 - below > TOO_LOW and rank < k:
        term *= expected / rank
        below += term
        rank += 1
    return rank


@kernel(
    *(read(uint8, 1), int64, int64, uint64, int64, read(float32, 2), write(uint8, 1), int64),
    *(write(float32, 1), int64),
)
def evaluate(codes, n_bytes, group, mask, kind, tables, small, n_rows, smallest, count):  # type: ignore[no-untyped-def]
    """Put the distances of the masked rows of a group into ``smallest``."""
    at = (group // 4) * (BLOCK_ROWS * n_bytes) + (group % 4) * GROUP_ROWS
    while mask != _NONE:
        row = lowest_bit(mask)
        mask &= mask - _ONE
        if group * GROUP_ROWS + row < n_rows:
            keep_smallest(smallest, count, distance(codes, at + row, n_bytes, tables, small, kind))


@kernel(
    *(read(uint8, 1), int64, int64, int64, int64, boolean, read(uint64, 1), int64, read(float32, 2)),
    *(write(float32, 1), write(float64, 1), write(uint8, 1), write(int64, 1), int64),
    returns=uint64,
)
def guess(  # type: ignore[no-untyped-def]
    codes,
    n_bytes,
    n_rows,
    first_group,
    n_groups,
    is_masked,
    words,
    kind,
    tables,
    lowest,
    bound,
    small,
    order,
    rank,
):
    """A limit for keys just above the rank-th smallest distance in a sample of ``n_groups`` groups of rows.

    NO_LIMIT if the sample holds fewer rows.

    The groups lie evenly apart and are visited in scattered order, so that sorted rows look like any others.
    """
    n_sampled = max(1, min(SAMPLE_GROUPS, n_groups // SHARE))
    stride = n_groups // n_sampled
    start = first_group + stride // 2
    step = np.int64(n_sampled * 0.618) | 1
    while math.gcd(step, n_sampled) != 1:
        step += 2
    smallest = np.full(rank, np.inf, np.float32)
    seen, place = 0, 0
    while seen < n_sampled and smallest[rank - 1] == np.inf:
        group = start + place * stride
        place = (place + step) % n_sampled
        seen += 1
        mask = words[group] if is_masked else _ALL
        evaluate(codes, n_bytes, group, mask, kind, tables, small, n_rows, smallest, rank)
    if smallest[rank - 1] == np.inf:
        return NO_LIMIT
    limit = smallest[rank - 1]
    most = quantize(kind, tables, lowest, limit, bound, small)
    first_code = np.int64(codes.ctypes.data)
    small_at, order_at = np.int64(small.ctypes.data), np.int64(order.ctypes.data)
    groups = np.empty(4, np.int64)
    at = np.empty(4, np.int64)
    masks = np.empty(4, np.uint64)
    while seen < n_sampled:
        together = min(4, n_sampled - seen)
        for i in range(4):
            # Where fewer than four are left the last one fills up and is masked out.
            if i < together:
                groups[i] = start + place * stride
                place = (place + step) % n_sampled
            else:
                groups[i] = groups[together - 1]
            at[i] = first_code + (groups[i] // 4) * (BLOCK_ROWS * n_bytes) + (groups[i] % 4) * GROUP_ROWS
        seen += together
        empty = zeros()
        four = (at[0], at[1], at[2], at[3])
        sums = add_bytes(small_at, kind, order_at, 0, n_bytes, four, (empty, empty, empty, empty))
        largest = repeat(np.uint8(most))
        masks[0], masks[1] = at_most(sums[0], largest), at_most(sums[1], largest)
        masks[2], masks[3] = at_most(sums[2], largest), at_most(sums[3], largest)
        for i in range(together):
            mask = masks[i] & words[groups[i]] if is_masked else masks[i]
            evaluate(codes, n_bytes, groups[i], mask, kind, tables, small, n_rows, smallest, rank)
        if smallest[rank - 1] < limit:
            limit = smallest[rank - 1]
            most = tighten(kind, tables, lowest, limit, bound, small)
    return make_key(limit, _LAST_ROW)
