"""Distances of vectors to many centres, and the nearest of them.

Four vectors at a time share the centres they are compared with; each distance keeps its own order of additions over the
dimensions, so none depends on what stands beside it.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64, uint64

from spdq_kernels.cpu.blocks import address
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.floats import (
    LANES,
    at_most_bits,
    least,
    load_floats,
    minus,
    plus,
    repeat_float,
    smaller,
    store_floats,
    times,
)
from spdq_kernels.cpu.keys import SORTED, key_distance, key_row, make_key, select, sort
from spdq_kernels.cpu.simd import load_float, lowest_bit
from spdq_kernels.cpu.tables import multiply, square_differences

TILE_ROWS = 4
TILE = 2 * LANES
"""Vectors, and centres, whose distances are computed at once."""
GROUPS = 2
"""Groups of lists for each list wanted, at least: the least distances of groups tell which lists cannot be wanted."""


@inlined
def one_more(squared, total, x, column):  # type: ignore[no-untyped-def]
    """Sums after one more dimension: of squared differences, or of products."""
    if squared:
        difference = minus(x, column)
        return plus(total, times(difference, difference))
    return plus(total, times(x, column))


@inlined
def distance_tile(squared, vectors, dim, columns, n_centres, first, sums):  # type: ignore[no-untyped-def]
    """Sums of four vectors and the 32 centres from ``first`` on.

    ``vectors`` (4, dim), ``columns`` (dim, n_centres) and ``sums`` (4, n_centres) are addresses.
    """
    zero = repeat_float(np.float32(0))
    sum00, sum01, sum10, sum11 = zero, zero, zero, zero
    sum20, sum21, sum30, sum31 = zero, zero, zero, zero
    for d in range(dim):
        column0 = load_floats(columns, d * n_centres + first)
        column1 = load_floats(columns, d * n_centres + first + LANES)
        x = repeat_float(load_float(vectors, d))
        sum00, sum01 = one_more(squared, sum00, x, column0), one_more(squared, sum01, x, column1)
        x = repeat_float(load_float(vectors, dim + d))
        sum10, sum11 = one_more(squared, sum10, x, column0), one_more(squared, sum11, x, column1)
        x = repeat_float(load_float(vectors, 2 * dim + d))
        sum20, sum21 = one_more(squared, sum20, x, column0), one_more(squared, sum21, x, column1)
        x = repeat_float(load_float(vectors, 3 * dim + d))
        sum30, sum31 = one_more(squared, sum30, x, column0), one_more(squared, sum31, x, column1)
    store_floats(sums, first, sum00)
    store_floats(sums, first + LANES, sum01)
    store_floats(sums, n_centres + first, sum10)
    store_floats(sums, n_centres + first + LANES, sum11)
    store_floats(sums, 2 * n_centres + first, sum20)
    store_floats(sums, 2 * n_centres + first + LANES, sum21)
    store_floats(sums, 3 * n_centres + first, sum30)
    store_floats(sums, 3 * n_centres + first + LANES, sum31)


@kernel(read(float32, 2), int64, read(float32, 2), int64, write(float32, 2), returns=int64)
def compare(vectors, first, columns, squared, sums):  # type: ignore[no-untyped-def]
    """sums (4, K) of up to four vectors (n, d) from ``first`` on and columns (d, K); returns how many vectors."""
    dim, n_centres = columns.shape
    if first + TILE_ROWS > len(vectors) or n_centres < TILE:
        if squared:
            square_differences(vectors[first], columns, sums[0])
        else:
            multiply(vectors[first], columns, sums[0])
        return 1
    vectors_at = address(vectors) + first * dim * 4
    for start in range(0, n_centres, TILE):
        # The last centres may be those of the tile before, in part.
        centre = min(start, n_centres - TILE)
        if squared:
            distance_tile(True, vectors_at, dim, address(columns), n_centres, centre, address(sums))
        else:
            distance_tile(False, vectors_at, dim, address(columns), n_centres, centre, address(sums))
    return TILE_ROWS


@kernel(write(float32, 1), returns=int64)
def first_least(numbers):  # type: ignore[no-untyped-def]
    """Place of the smallest number, the first of equals; 0 where none is a number."""
    count, numbers_at = len(numbers), address(numbers)
    if count < LANES:
        best = 0
        for i in range(1, count):
            if numbers[i] < numbers[best]:
                best = i
        return best
    lowest = load_floats(numbers_at, count - LANES)
    for start in range(0, count - LANES, LANES):
        lowest = smaller(load_floats(numbers_at, start), lowest)
    wanted = repeat_float(least(lowest))
    for start in range(0, count, LANES):
        place = min(start, count - LANES)
        found = at_most_bits(load_floats(numbers_at, place), wanted)
        if found:
            return place + lowest_bit(found)
    return 0


@kernel(read(float32, 2), read(float32, 2), write(int64, 1))
def assign(vectors, columns, nearest):  # type: ignore[no-untyped-def]
    """nearest (n,) = the first of the columns (d, K) at the smallest squared distance."""
    sums = np.empty((TILE_ROWS, columns.shape[1]), np.float32)
    first = np.int64(0)  # A plain 0 would have what is called compiled once more, for it alone.
    while first < len(vectors):
        count = compare(vectors, first, columns, np.int64(1), sums)
        for i in range(count):
            nearest[first + i] = first_least(sums[i])
        first += count


@kernel(write(float32, 1), int64, write(uint64, 1), returns=int64)
def candidates(distances, wanted, keys):  # type: ignore[no-untyped-def]
    """Put the keys of lists that may be among the nearest into keys (n_lists,); returns their number."""
    n_lists, distances_at = len(distances), address(distances)
    rows = n_lists // LANES
    in_group = min(rows, rows * LANES // (GROUPS * wanted))
    if in_group < 2:
        for one in range(n_lists):
            keys[one] = make_key(distances[one], one)
        return n_lists
    # Groups of lists, 16 side by side: no more than ``wanted`` of them have a list below the limit.
    lowest = np.empty(LANES, np.float32)
    size = np.int64(0)
    for row in range(0, rows - in_group + 1, in_group):
        least_of = load_floats(distances_at, row * LANES)
        for other in range(row + 1, row + in_group):
            least_of = smaller(load_floats(distances_at, other * LANES), least_of)
        store_floats(address(lowest), 0, least_of)
        for lane in range(LANES):
            keys[size + lane] = make_key(lowest[lane], size + lane)
        size += LANES
    if size <= SORTED:
        sort(keys, size)
    else:
        select(keys, size, wanted)
    limit = key_distance(keys[wanted - 1])
    size = np.int64(0)
    for row in range(rows):
        found = at_most_bits(load_floats(distances_at, row * LANES), repeat_float(limit))
        while found:
            one = row * LANES + lowest_bit(found)
            found &= found - np.uint64(1)
            keys[size] = make_key(distances[one], one)
            size += 1
    for one in range(rows * LANES, n_lists):
        keys[size] = make_key(distances[one], one)
        size += 1
    return size


@kernel(read(float32, 2), read(float32, 2), int64, write(float32, 2), write(int64, 2))
def nearest_lists(vectors, columns, squared, distances, lists):  # type: ignore[no-untyped-def]
    """distances and lists (n, n_probe): the nearest of the columns (d, n_lists) in the order (distance, list).

    Distances are squared Euclidean, or negated inner products.
    """
    n_lists, n_probe = columns.shape[1], distances.shape[1]
    sums, keys = np.empty((TILE_ROWS, n_lists), np.float32), np.empty(n_lists, np.uint64)
    first = np.int64(0)
    while first < len(vectors):
        count = compare(vectors, first, columns, squared, sums)
        for i in range(count):
            if not squared:
                for one in range(n_lists):
                    sums[i, one] = np.float32(0) - sums[i, one]  # never -0
            size = candidates(sums[i], n_probe, keys)
            if size > SORTED:
                select(keys, size, n_probe)
                size = n_probe
            sort(keys, size)
            for place in range(n_probe):
                distances[first + i, place] = key_distance(keys[place])
                lists[first + i, place] = key_row(keys[place])
        first += count
