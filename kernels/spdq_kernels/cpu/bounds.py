"""Lookup tables in bytes whose sums never exceed the true distances: what the scan filters with.

A row's float32 sum s has M + 1 terms: an offset, 0 where codes are no residuals, and the row's entries t of M tables.
The offset and the lowest entries of the tables add up to ``base``. The byte of an entry is at most
(t - lowest) * scale, so the sum of a row's bytes is at most (S - base) * scale, S being the sum without rounding.

Rounding: M additions in float32 lose at most M * 2**-24 (1 + M * 2**-24) times the largest partial sum, and none
exceeds A + S - base in size, with A the sum of the sizes of the offset and of the lowest entries: |t| is at most
|lowest| + (t - lowest). So |s - S| <= e * (A + S - base) with e = 2**-23 (M + 1); that is more than twice what is
lost, and the rest covers the arithmetic here, which is in float64. Hence s <= limit implies

    S - base <= reach = (limit - base + e A) / (1 - e)

and the sum of bytes is at most reach * scale. With scale = 254 / reach no sum of such a row saturates at 255. Nothing
here wants base, or what it is the sum of, to be small: where an offset, the squared distance of a query and its list,
lies far above the spread of the entries, e A grows with it as the rounding of s does.

Entries are residual tables' sums of two parts *as rounded*: distances are defined by those.

Bytes are computed in float32: the difference and the product are rounded once each, by 2**-24 of themselves at most
(or, below the normal numbers, down from less than 1 to 0), which the factor 1 - 2**-20 more than makes up for.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64

from spdq_kernels.contract import BITS
from spdq_kernels.cpu.blocks import QUERY, address
from spdq_kernels.cpu.compiler import kernel
from spdq_kernels.cpu.floats import (
    LANES,
    least,
    load_floats,
    minus,
    plus,
    repeat_float,
    smaller,
    store_floats,
    store_steps,
    times,
)
from spdq_kernels.cpu.lookups import DIFFERENCES

BASE, SLACK, SCALE = 0, 1, 2
"""Places in the bound of a query: base, e A, scale (float64)."""
EVERYTHING = 255
"""A limit on sums that lets every row pass."""
_SAFETY = 1 - 2.0**-40  # the product with the scale is rounded, too
_IN_FLOAT32 = 1 - 2.0**-20
_LARGEST = 3e38
_COARSE = 160


@kernel(QUERY)
def find_lowest(query):  # type: ignore[no-untyped-def]
    """Set the lowest entry of each table, K a multiple of 16, and base and slack of the bound."""
    n_tables, n_words = query.tables.shape
    tables_at = address(query.tables)
    for m in range(n_tables):
        lowest = load_floats(tables_at, m * n_words)
        for word in range(m * n_words + LANES, (m + 1) * n_words, LANES):
            lowest = smaller(load_floats(tables_at, word), lowest)
        query.lowest[m] = least(lowest)
    set_base(query)


@kernel(QUERY, int64, int64)
def add_parts(query, part, other):  # type: ignore[no-untyped-def]
    """Fill the tables with the sums of two parts at these addresses, and ``find_lowest``."""
    n_tables, n_words = query.tables.shape
    tables_at = address(query.tables)
    for m in range(n_tables):
        lowest = repeat_float(np.float32(np.inf))
        for word in range(m * n_words, (m + 1) * n_words, LANES):
            entries = plus(load_floats(part, word), load_floats(other, word))
            store_floats(tables_at, word, entries)
            lowest = smaller(entries, lowest)
        query.lowest[m] = least(lowest)
    set_base(query)


@kernel(QUERY)
def set_base(query):  # type: ignore[no-untyped-def]
    """Set base and slack of the bound from the offset and the lowest entries."""
    bound, n_tables = query.bound, len(query.tables)
    base = np.float64(query.offset)
    size = abs(base)
    for m in range(n_tables):
        base += np.float64(query.lowest[m])
        size += abs(np.float64(query.lowest[m]))
    bound[BASE] = base
    bound[SLACK] = size * ((n_tables + 1) * 2.0**-23)


@kernel(QUERY, float32, returns=float64)
def reach(query, limit):  # type: ignore[no-untyped-def]
    """The largest S - base of a row whose distance is at most the limit."""
    slack = 1 - (len(query.tables) + 1) * 2.0**-23
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
    factor = repeat_float(np.float32(scale * _IN_FLOAT32))
    tables_at, small_at = address(query.tables), address(small)
    for m in range(n_tables):
        lowest = repeat_float(query.lowest[m])
        for word in range(m * n_words, (m + 1) * n_words, LANES):
            # Infinite entries and, where all of a table are infinite, NaN become 255.
            store_steps(small_at + word, times(minus(load_floats(tables_at, word), lowest), factor))
        place = small[m * n_words : (m + 1) * n_words]
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
