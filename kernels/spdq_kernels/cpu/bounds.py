"""Lookup tables in bytes whose sums never exceed the true distances: what the scan filters with.

A row's sum of float32 entries t is s; the lowest entries of its tables add up to ``base``. The byte of an entry is
floor((t - lowest) * scale), so the sum of a row's bytes is at most (S - base) * scale, S being the sum without
rounding. Rounding: |s - S| <= e * (A + S - base) with A the sum of the |lowest| and e = 2**-23 M, twice what M
additions in float32 can lose (the rest covers the arithmetic here, which is in float64). Hence s <= limit implies

    S - base <= reach = (limit - base + e A) / (1 - e)

and the sum of bytes is at most reach * scale. With scale = 254 / reach no sum of such a row saturates at 255.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64

from spdq_kernels.contract import BITS
from spdq_kernels.cpu.blocks import QUERY
from spdq_kernels.cpu.compiler import kernel
from spdq_kernels.cpu.lookups import DIFFERENCES

BASE, SLACK, SCALE = 0, 1, 2
"""Places in the bound of a query: base, e A, scale (float64)."""
EVERYTHING = 255
"""A limit on sums that lets every row pass."""
_LANES = 16
_SAFETY = 1 - 2.0**-40  # the product with the scale is rounded, too
_LARGEST = 1e300
_COARSE = 160


@kernel(QUERY)
def find_lowest(query):  # type: ignore[no-untyped-def]
    """Set the lowest entry of each table, K a multiple of 16, and base and slack of the bound."""
    tables, bound = query.tables, query.bound
    n_tables, n_words = tables.shape
    lanes = np.empty(_LANES, np.float32)
    bound[BASE] = bound[SLACK] = 0.0
    for m in range(n_tables):
        for lane in range(_LANES):
            lanes[lane] = tables[m, lane]
        for word in range(_LANES, n_words, _LANES):
            for lane in range(_LANES):
                entry = tables[m, word + lane]
                lanes[lane] = entry if entry < lanes[lane] else lanes[lane]
        least = lanes[0]
        for lane in range(1, _LANES):
            least = min(least, lanes[lane])
        query.lowest[m] = least
        bound[BASE] += np.float64(least)
        bound[SLACK] += abs(np.float64(least))
    bound[SLACK] *= n_tables * 2.0**-23


@kernel(QUERY, float32, returns=float64)
def reach(query, limit):  # type: ignore[no-untyped-def]
    """The largest S - base of a row whose distance is at most the limit."""
    slack = 1 - len(query.tables) * 2.0**-23
    return (np.float64(limit) - query.bound[BASE] + query.bound[SLACK]) / slack


@kernel(int64, QUERY, float32, returns=int64)
def quantize(kind, query, limit):  # type: ignore[no-untyped-def]
    """Make the bytes for rows up to a limit; returns the largest sum of such a row.

    Of kind BITS ``small`` is the query and stays: its sums are distances. Levels that look up in 16 bytes get tables of
    256 entries as differences (see ``lookups.lookup256``).
    """
    if kind == BITS:
        return np.int64(min(limit, np.float32(EVERYTHING)))
    small = query.small
    n_tables, n_words = query.tables.shape
    if limit == np.inf:
        small[:] = 0
        query.bound[SCALE] = 0.0
        return EVERYTHING
    farthest = reach(query, limit)
    # Where nothing can be as near as the limit, every entry above the lowest becomes 255.
    scale = min(254 * _SAFETY / farthest, _LARGEST) if farthest > 0 else _LARGEST
    query.bound[SCALE] = scale
    for m in range(n_tables):
        entries, place = query.tables[m], small[m * n_words : (m + 1) * n_words]
        least = np.float64(query.lowest[m])
        for word in range(n_words):
            steps = (np.float64(entries[word]) - least) * scale
            # Infinite entries and, where all of a table are infinite, NaN become 255.
            place[word] = np.uint8(np.int32(steps if steps < 255.0 else 255.0))
        if DIFFERENCES and n_words == 256:
            for half in (0, 128):
                for word in range(half + 127, half + 15, -1):
                    place[word] ^= place[word - 16]
    return 254


@kernel(int64, QUERY, float32, returns=int64)
def tighten(kind, query, limit):  # type: ignore[no-untyped-def]
    """The largest sum of a row up to a lower limit; the bytes are made anew where they have become too coarse."""
    if kind != BITS and query.bound[SCALE] > 0.0:
        steps = reach(query, limit) * query.bound[SCALE]
        # A hair more, for the roundings of scale and product.
        largest = np.int64(max(min(steps * (1 + 2.0**-30), 254.0), 0.0))
        if largest >= _COARSE:
            return largest
    return quantize(kind, query, limit)
