"""Where to look for a first limit: a few blocks of all, and how many of their rows to trust.

Without a limit a scan evaluates rows one by one until it has seen k of them, and rows sorted from far to near make it
evaluate them all. So the scan of a sample comes first; the distance of its row of a certain rank is a limit below which
k rows lie nearly always. Where fewer do, that is found out and the scan repeated.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float64, int64, types

from spdq_kernels.contract import BLOCK_ROWS, CACHE_LINE
from spdq_kernels.cpu.blocks import address
from spdq_kernels.cpu.bounds import EVERYTHING
from spdq_kernels.cpu.compiler import inlined, kernel
from spdq_kernels.cpu.keys import NO_LIMIT, select
from spdq_kernels.cpu.simd import prefetch

_ROW_BITS = np.uint64((1 << 32) - 1)
SAMPLE_BLOCKS = 64
"""Blocks in a sample at most, and ..."""
SHARE = 8
"""... at most one in this many of all."""
TOO_LOW = 2e-3
"""Share of limits that may turn out too low, each costing a second scan."""


@kernel(float64, int64, returns=int64)
def rank_of(expected, k):  # type: ignore[no-untyped-def]
    """The smallest rank j with P(Poisson(expected) >= j) <= TOO_LOW, at most k.

    Of the k nearest rows a sample holds about Poisson(expected) many; if fewer than j, its j-th nearest is no nearer
    than the k-th of all.
    """
    if expected > 500.0:
        return min(int(expected + 4 * math.sqrt(expected)) + 1, k)
    term = math.exp(-expected)
    below = term
    rank = 1
    while 1.0 - below > TOO_LOW and rank < k:
        term *= expected / rank
        below += term
        rank += 1
    return rank


@kernel(int64, returns=types.UniTuple(int64, 4))
def sample_of(n_blocks):  # type: ignore[no-untyped-def]
    """Blocks to sample: how many, the first, the distance between two, and how many places to go on each time.

    They lie evenly apart and are visited in scattered order, so that sorted rows look like any others.
    """
    count = min(SAMPLE_BLOCKS, n_blocks // SHARE)
    if count == 0:
        return 0, 0, 0, 0
    stride = n_blocks // count
    step = int(count * 0.618) | 1
    while math.gcd(step, count) != 1:
        step += 2
    return count, stride // 2, stride, step


@inlined
def first_limit(kind, scan_blocks, rows, query, first, last, k, rank, keys, counters):  # type: ignore[no-untyped-def]
    """A limit from a sample of blocks first..last-1; ``rank`` 0 stands for the rank that is rarely too low."""
    count, start, stride, step = sample_of(last - first)
    if count == 0 or rank > k:
        return NO_LIMIT
    if rank == 0:
        rank = rank_of(k * count / (last - first), k)
    limit, most, size, place = NO_LIMIT, np.int64(EVERYTHING), np.int64(0), np.int64(0)
    block_bytes = BLOCK_ROWS * rows.n_bytes
    for _ in range(count):
        block = first + start + place * stride
        place = (place + step) % count
        # The next one lies where no processor expects it.
        following = address(rows.codes) + (first + start + place * stride) * block_bytes
        for line in range(following, following + block_bytes, CACHE_LINE):
            prefetch(line)
        limit, most, size = scan_blocks(
            rows,
            query,
            block,
            block + 1,
            rows.n_bytes,
            rank,
            rank + rank // 2 + 8,
            limit,
            most,
            keys,
            size,
            counters,
        )
    if size < rank:
        return NO_LIMIT
    select(keys, size, rank)
    return keys[rank - 1] | _ROW_BITS
