"""The exact scan: filter all rows by sums of bytes, evaluate those that pass, keep the k nearest.

Queries come in groups that share a tile of codes while it lies in the processor's cache. Every row that passes
the filter is evaluated in float32; so bytes, guesses, tiles and stages decide how fast the answer comes, never what
it is.
"""

from __future__ import annotations

import numpy as np
from numba import boolean, float32, float64, int64, types, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.cpu.blocks import BITS, GROUP_ROWS, SMALL_WIDTH, add_bytes, distance
from spdq_kernels.cpu.bounds import find_lowest, quantize, tighten
from spdq_kernels.cpu.compiler import kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, key_distance, key_row, make_key, select, sort
from spdq_kernels.cpu.pilot import MIN_GROUPS, SAMPLE_GROUPS, SHARE, guess, guess_rank
from spdq_kernels.cpu.simd import at_most, count_bits, lowest_bit, prefetch, repeat, zeros

TILE_BYTES = 1 << 18
"""Codes that a group of queries scans in turn: a part of the second-level cache."""
GROUP_QUERIES = 64
GROUP_MEMORY = 1 << 26
"""Bytes of keys a group may keep."""
AHEAD = 8192
"""Bytes that a single query asks for in advance."""
REPEATS, EVALUATED, DEEP_BLOCKS = 0, 1, 2
"""Places in the counters: queries scanned twice, rows evaluated, blocks that needed their second stage."""
_ONE = np.uint64(1)
_NONE = np.uint64(0)
_ALL = np.uint64((1 << 64) - 1)
_STAGE_COST = 0.12
"""What testing after the first stage costs, as a share of scanning a block."""


@kernel(int64, returns=uint64)
def first_rows(count):  # type: ignore[no-untyped-def]
    """A mask of the first ``count`` of 64 rows."""
    if count >= GROUP_ROWS:
        return _ALL
    return (_ONE << np.uint64(max(count, 0))) - _ONE


@kernel(
    *(read(uint8, 1), int64, int64, int64, uint64, int64, read(float32, 2), write(uint8, 1), uint64),
    *(write(uint64, 1), int64),
    returns=int64,
)
def collect(codes, n_bytes, at, row, mask, kind, tables, small, limit, keys, size):  # type: ignore[no-untyped-def]
    """Append the keys of masked rows that lie below the limit; returns the new number of keys."""
    while mask != _NONE:
        place = lowest_bit(mask)
        mask &= mask - _ONE
        keys[size] = make_key(distance(codes, at + place, n_bytes, tables, small, kind), row + place)
        size += 1 if keys[size] < limit else 0
    return size


@kernel(
    *(read(uint8, 1), int64, int64, int64, int64, boolean, read(uint64, 1), int64, read(float32, 2)),
    *(write(float32, 1), write(float64, 1), write(uint8, 1), write(int64, 1), int64, int64, uint64, int64),
    *(write(uint64, 1), int64, int64, write(int64, 1)),
    returns=types.Tuple((uint64, int64, int64)),
)
def scan_blocks(  # type: ignore[no-untyped-def]
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    is_masked,
    words,
    kind,
    tables,
    lowest,
    bound,
    small,
    order,
    depth,
    k,
    limit,
    most,
    keys,
    size,
    ahead,
    counters,
):
    """Append the keys below the limit of rows of blocks first..last-1; when they are full, the limit falls.

    Returns the limit, the largest sum of bytes that goes with it, and the number of keys. With ``depth`` below the
    number of bytes a block whose sums over that many bytes are too large already is left.
    """
    full = len(keys) - BLOCK_ROWS
    block_bytes = BLOCK_ROWS * n_bytes
    empty = zeros()
    largest = repeat(np.uint8(most))
    first_code = np.int64(codes.ctypes.data)
    small_at, order_at = np.int64(small.ctypes.data), np.int64(order.ctypes.data)
    word0 = word1 = word2 = word3 = _ALL
    for block in range(first, last):
        if is_masked:
            word0, word1, word2, word3 = (
                words[4 * block],
                words[4 * block + 1],
                words[4 * block + 2],
                words[4 * block + 3],
            )
            if (word0 | word1 | word2 | word3) == _NONE:
                continue
        start = block * block_bytes
        address = first_code + start
        if ahead:
            for line in range(address + ahead, address + ahead + block_bytes, 64):
                prefetch(line)
        at = (address, address + 64, address + 128, address + 192)
        sums = add_bytes(small_at, kind, order_at, 0, depth, at, (empty, empty, empty, empty))
        if depth < n_bytes:
            passing = (
                (at_most(sums[0], largest) & word0)
                | (at_most(sums[1], largest) & word1)
                | (at_most(sums[2], largest) & word2)
                | (at_most(sums[3], largest) & word3)
            )
            if passing == _NONE:
                continue
            counters[DEEP_BLOCKS] += 1
            sums = add_bytes(small_at, kind, order_at, depth, n_bytes, at, sums)
        mask0, mask1 = at_most(sums[0], largest) & word0, at_most(sums[1], largest) & word1
        mask2, mask3 = at_most(sums[2], largest) & word2, at_most(sums[3], largest) & word3
        if (mask0 | mask1 | mask2 | mask3) == _NONE:
            continue
        row = block * BLOCK_ROWS
        if row + BLOCK_ROWS > n_rows:
            mask0, mask1 = mask0 & first_rows(n_rows - row), mask1 & first_rows(n_rows - row - 64)
            mask2, mask3 = mask2 & first_rows(n_rows - row - 128), mask3 & first_rows(n_rows - row - 192)
        counters[EVALUATED] += count_bits(mask0) + count_bits(mask1) + count_bits(mask2) + count_bits(mask3)
        if mask0:
            size = collect(codes, n_bytes, start, row, mask0, kind, tables, small, limit, keys, size)
        if mask1:
            size = collect(
                codes, n_bytes, start + 64, row + 64, mask1, kind, tables, small, limit, keys, size
            )
        if mask2:
            size = collect(
                codes, n_bytes, start + 128, row + 128, mask2, kind, tables, small, limit, keys, size
            )
        if mask3:
            size = collect(
                codes, n_bytes, start + 192, row + 192, mask3, kind, tables, small, limit, keys, size
            )
        if size > full:
            select(keys, size, k)
            size = k
            limit = keys[k - 1]
            most = tighten(kind, tables, lowest, key_distance(limit), bound, small)
            largest = repeat(np.uint8(most))
    return limit, most, size


@kernel(write(uint8, 1), int64, int64, write(int64, 1))
def put_in_order(small, width, n_bytes, order):  # type: ignore[no-untyped-def]
    """Order the bytes of a code by how much they add on average, most first: what a first stage should look at."""
    adds = np.empty(n_bytes, np.int64)
    for byte in range(n_bytes):
        total = 0
        for entry in range(byte * width, (byte + 1) * width):
            total += small[entry]
        at = byte
        while at > 0 and adds[at - 1] < total:
            adds[at], order[at] = adds[at - 1], order[at - 1]
            at -= 1
        adds[at], order[at] = total, byte


@kernel(read(uint64, 1), boolean, int64, int64, int64, int64, returns=int64)
def count_rows(words, is_masked, n_rows, first, last, enough):  # type: ignore[no-untyped-def]
    """Rows of blocks first..last-1 that may be returned, ``enough`` if there are more."""
    if not is_masked:
        return min(min(last * BLOCK_ROWS, n_rows) - first * BLOCK_ROWS, enough)
    count = 0
    for word in range(4 * first, 4 * last):
        count += count_bits(words[word])
        if count >= enough:
            return enough
    return count


@kernel(
    *(read(float32, 3), read(uint8, 2), int64, read(uint8, 1), int64, int64, int64, int64),
    *(read(uint64, 2), read(int64, 1), int64, write(float32, 2), write(int64, 2), write(int64, 1)),
)
def scan(  # type: ignore[no-untyped-def]
    tables,
    bit_queries,
    kind,
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    masks,
    mask_of,
    k,
    distances,
    rows,
    counters,
):
    """The k nearest rows of blocks first..last-1 for each query, sorted; +inf and -1 where there are fewer.

    tables (nq, M, K) float32, for kind BITS (nq, 0, 0) beside bit_queries (nq, bytes) uint8; codes flat blocks;
    masks (n, 4 * blocks) uint64, of which query q has the one at mask_of[q], or all rows if that is negative.
    """
    n_keys = k + k // 2 + 8 + BLOCK_ROWS
    group = max(1, min(GROUP_QUERIES, GROUP_MEMORY // (8 * n_keys)))
    for start in range(0, len(mask_of), group):
        stop = min(start + group, len(mask_of))
        scan_group(
            tables[start:stop],
            bit_queries[start:stop],
            kind,
            codes,
            n_bytes,
            n_rows,
            first,
            last,
            masks,
            mask_of[start:stop],
            k,
            n_keys,
            distances[start:stop],
            rows[start:stop],
            counters,
        )


@kernel(
    *(read(float32, 3), read(uint8, 2), int64, read(uint8, 1), int64, int64, int64, int64),
    *(read(uint64, 2), read(int64, 1), int64, int64, write(float32, 2), write(int64, 2), write(int64, 1)),
)
def scan_group(  # type: ignore[no-untyped-def]
    tables,
    bit_queries,
    kind,
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    masks,
    mask_of,
    k,
    n_keys,
    distances,
    rows,
    counters,
):
    """``scan`` for queries few enough that what they need fits into the cache beside a tile of codes."""
    n_queries, n_tables = len(mask_of), tables.shape[1]
    width = SMALL_WIDTH[kind]
    small = np.empty((n_queries, n_bytes * width), np.uint8)
    bound = np.zeros((n_queries, 3))
    lowest = np.empty((n_queries, n_tables), np.float32)
    order = np.empty((n_queries, n_bytes), np.int64)
    keys = np.empty((n_queries, n_keys), np.uint64)
    size = np.zeros(n_queries, np.int64)
    limit = np.full(n_queries, NO_LIMIT)
    most = np.empty(n_queries, np.int64)
    wanted = np.empty(n_queries, np.int64)
    first_group, n_groups = 4 * first, min(4 * last, n_rows // GROUP_ROWS) - 4 * first
    n_sampled = max(1, min(SAMPLE_GROUPS, n_groups // SHARE)) * GROUP_ROWS
    for q in range(n_queries):
        words, is_masked = masks[max(mask_of[q], 0)], mask_of[q] >= 0
        if kind == BITS:
            small[q] = bit_queries[q]
        else:
            find_lowest(tables[q], lowest[q], bound[q])
        for byte in range(n_bytes):
            order[q, byte] = byte
        wanted[q] = count_rows(words, is_masked, n_rows, first, last, k + 1)
        if n_groups >= MIN_GROUPS and wanted[q] > k:
            # A mask thins the sample and the rows alike.
            rank = guess_rank(k * np.float64(n_sampled) / (n_groups * GROUP_ROWS), k)
            limit[q] = guess(
                codes,
                n_bytes,
                n_rows,
                first_group,
                n_groups,
                is_masked,
                words,
                kind,
                tables[q],
                lowest[q],
                bound[q],
                small[q],
                order[q],
                rank,
            )
        wanted[q] = min(wanted[q], k)
        most[q] = quantize(kind, tables[q], lowest[q], key_distance(limit[q]), bound[q], small[q])
        if kind != BITS:
            put_in_order(small[q], width, n_bytes, order[q])
    ahead = AHEAD if n_queries == 1 else 0
    tile = max(1, TILE_BYTES // (BLOCK_ROWS * n_bytes))
    # The first stage takes one byte more than half of them. Where it does not pay it rests for 8, 16, ... 64 tiles.
    shallow = n_bytes // 2 + 1 if n_bytes > 2 else n_bytes
    resting = np.zeros(n_queries, np.int64)
    rest = np.full(n_queries, 8)
    for tile_first in range(first, last, tile):
        tile_last = min(tile_first + tile, last)
        for q in range(n_queries):
            depth = shallow if resting[q] == 0 else n_bytes
            deep_before = counters[DEEP_BLOCKS]
            limit[q], most[q], size[q] = scan_blocks(
                codes,
                n_bytes,
                n_rows,
                tile_first,
                tile_last,
                mask_of[q] >= 0,
                masks[max(mask_of[q], 0)],
                kind,
                tables[q],
                lowest[q],
                bound[q],
                small[q],
                order[q],
                depth,
                k,
                limit[q],
                most[q],
                keys[q],
                size[q],
                ahead,
                counters,
            )
            if depth == n_bytes:
                resting[q] = max(resting[q] - 1, 0)
                continue
            deep = (counters[DEEP_BLOCKS] - deep_before) / (tile_last - tile_first)
            if depth + deep * (n_bytes - depth) + _STAGE_COST * n_bytes > n_bytes:
                resting[q] = rest[q]
                rest[q] = min(2 * rest[q], 64)
    for q in range(n_queries):
        rank = 0
        while size[q] < wanted[q]:
            # The guess was too low. A sample's k-th distance cannot be, so ranks up to k end this.
            counters[REPEATS] += 1
            rank = 4 * rank + 64
            limit[q] = NO_LIMIT
            words, is_masked = masks[max(mask_of[q], 0)], mask_of[q] >= 0
            if rank < k:
                limit[q] = guess(
                    codes,
                    n_bytes,
                    n_rows,
                    first_group,
                    n_groups,
                    is_masked,
                    words,
                    kind,
                    tables[q],
                    lowest[q],
                    bound[q],
                    small[q],
                    order[q],
                    rank,
                )
            most[q] = quantize(kind, tables[q], lowest[q], key_distance(limit[q]), bound[q], small[q])
            limit[q], most[q], size[q] = scan_blocks(
                codes,
                n_bytes,
                n_rows,
                first,
                last,
                is_masked,
                words,
                kind,
                tables[q],
                lowest[q],
                bound[q],
                small[q],
                order[q],
                n_bytes,
                k,
                limit[q],
                most[q],
                keys[q],
                np.int64(0),
                np.int64(AHEAD),
                counters,
            )
        write_nearest(keys[q], size[q], k, distances[q], rows[q])


@kernel(write(uint64, 1), int64, int64, write(float32, 1), write(int64, 1))
def write_nearest(keys, size, k, distances, rows):  # type: ignore[no-untyped-def]
    """The k smallest keys, sorted, as distances and rows; +inf and -1 where there are fewer."""
    if size > k:
        select(keys, size, k)
        size = k
    sort(keys, size)
    for i in range(size):
        distances[i], rows[i] = key_distance(keys[i]), key_row(keys[i])
    distances[size:] = np.inf
    rows[size:] = -1
