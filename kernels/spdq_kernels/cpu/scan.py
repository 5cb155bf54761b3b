"""The exact scan: filter all rows by sums of bytes, evaluate those that pass, keep the k nearest.

Queries come in groups that share a tile of codes while it lies in the processor's cache. Every row that passes
the filter is evaluated in float32; so bytes, guesses, tiles and stages decide how fast the answer comes, never what
it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float32, int64, types, uint8, uint64

from spdq_kernels.contract import BLOCK_ROWS, CACHE_LINE
from spdq_kernels.cpu.blocks import (
    BITS,
    BYTES,
    GROUP_ROWS,
    HALVES,
    QUERY,
    ROWS,
    SMALL_WIDTH,
    Query,
    Rows,
    add_bytes,
    address,
    distance,
)
from spdq_kernels.cpu.bounds import EVERYTHING, find_lowest, quantize, tighten
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, key_distance, key_row, make_key, select, sort
from spdq_kernels.cpu.pilot import rank_of, sample_of
from spdq_kernels.cpu.simd import (
    at_most,
    count_bits,
    load_int,
    lowest_bit,
    prefetch,
    repeat,
    store_word,
    zeros,
)

TILE_BYTES = 1 << 18
"""Codes that a group of queries scans in turn: a part of the second-level cache."""
MASK_AHEAD = 2048
"""Bytes of a mask that are asked for in advance: queries come back to theirs after a tile."""
AHEAD = 8192
"""Bytes that a single query asks for in advance."""
REPEATS, EVALUATED, DEEP_BLOCKS = 0, 1, 2
"""Places in the counters: queries scanned twice, rows evaluated, blocks that needed their second stage."""
_ONE = np.uint64(1)
_NONE = np.uint64(0)
_ALL = np.uint64((1 << 64) - 1)
_ROW_BITS = np.uint64((1 << 32) - 1)
_STAGE_COST = 0.12
"""What testing after the first stage costs, as a share of scanning a block."""


@inlined
def first_rows(count):  # type: ignore[no-untyped-def]
    """A mask of the first ``count`` of 64 rows."""
    if count >= GROUP_ROWS:
        return _ALL
    return (_ONE << np.uint64(max(count, 0))) - _ONE


@kernel(int64, int64, int64, uint64, int64, int64, int64, uint64, int64, int64, returns=int64)
def collect(code, n_bytes, row, mask, kind, tables, small, limit, keys, size):  # type: ignore[no-untyped-def]
    """Append the keys of masked rows that lie below the limit; returns the new number of keys.

    ``code`` is the address of the first byte of the group's first row, ``tables``, ``small`` and ``keys`` addresses.
    """
    while mask != _NONE:
        place = lowest_bit(mask)
        mask &= mask - _ONE
        key = make_key(distance(code + place, n_bytes, kind, tables, small), row + place)
        store_word(keys, size, key)
        size += 1 if key < limit else 0
    return size


@inlined
def scan_blocks(  # type: ignore[no-untyped-def]
    kind, rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
):
    """Append the keys below the limit of blocks first..last-1; with more than ``full`` of them the limit falls.

    Returns the limit, the largest sum of bytes that goes with it, and the number of keys. With ``depth`` below the
    number of bytes a block whose sums over that many bytes are too large already is left.
    """
    n_bytes, n_rows, mask = rows.n_bytes, rows.n_rows, rows.mask
    block_bytes = BLOCK_ROWS * n_bytes
    codes_at, keys_at = address(rows.codes), address(keys)
    tables_at, small_at, order_at = address(query.tables), address(query.small), address(query.order)
    any_kind = np.int64(kind)  # as a constant it would make kernels of its own
    empty = zeros()
    largest = repeat(np.uint8(most))
    word0 = word1 = word2 = word3 = _ALL
    n_deep, n_evaluated = 0, 0
    for block in range(first, last):
        if mask:
            prefetch(mask + 32 * block + MASK_AHEAD)
            word0 = np.uint64(load_int(mask, 4 * block))
            word1 = np.uint64(load_int(mask, 4 * block + 1))
            word2 = np.uint64(load_int(mask, 4 * block + 2))
            word3 = np.uint64(load_int(mask, 4 * block + 3))
            if (word0 | word1 | word2 | word3) == _NONE:
                continue
        start = codes_at + block * block_bytes
        if ahead:
            for line in range(start + ahead, start + ahead + block_bytes, 64):
                prefetch(line)
        at = (start, start + 64, start + 128, start + 192)
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
            n_deep += 1
            sums = add_bytes(small_at, kind, order_at, depth, n_bytes, at, sums)
        mask0, mask1 = at_most(sums[0], largest) & word0, at_most(sums[1], largest) & word1
        mask2, mask3 = at_most(sums[2], largest) & word2, at_most(sums[3], largest) & word3
        if (mask0 | mask1 | mask2 | mask3) == _NONE:
            continue
        row = block * BLOCK_ROWS
        if row + BLOCK_ROWS > n_rows:
            mask0, mask1 = mask0 & first_rows(n_rows - row), mask1 & first_rows(n_rows - row - 64)
            mask2, mask3 = mask2 & first_rows(n_rows - row - 128), mask3 & first_rows(n_rows - row - 192)
        n_evaluated += count_bits(mask0) + count_bits(mask1) + count_bits(mask2) + count_bits(mask3)
        if mask0:
            size = collect(start, n_bytes, row, mask0, any_kind, tables_at, small_at, limit, keys_at, size)
        if mask1:
            size = collect(
                at[1], n_bytes, row + 64, mask1, any_kind, tables_at, small_at, limit, keys_at, size
            )
        if mask2:
            size = collect(
                at[2], n_bytes, row + 128, mask2, any_kind, tables_at, small_at, limit, keys_at, size
            )
        if mask3:
            size = collect(
                at[3], n_bytes, row + 192, mask3, any_kind, tables_at, small_at, limit, keys_at, size
            )
        if size > full:
            select(keys, size, k)
            size = k
            limit = keys[k - 1]
            most = tighten(any_kind, query, key_distance(limit))
            largest = repeat(np.uint8(most))
    counters[DEEP_BLOCKS] += n_deep
    counters[EVALUATED] += n_evaluated
    return limit, most, size


_ARGUMENTS: Any = (
    *(ROWS, QUERY, int64, int64, int64, int64, int64, uint64, int64, write(uint64, 1), int64, int64),
    write(int64, 1),
)
_SCANNED: Any = types.Tuple((uint64, int64, int64))


@kernel(*_ARGUMENTS, returns=_SCANNED)
def scan_blocks_bytes(  # type: ignore[no-untyped-def]
    rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
):
    """``scan_blocks`` of kind BYTES."""
    return scan_blocks(
        BYTES, rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
    )


@kernel(*_ARGUMENTS, returns=_SCANNED)
def scan_blocks_halves(  # type: ignore[no-untyped-def]
    rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
):
    """``scan_blocks`` of kind HALVES."""
    return scan_blocks(
        HALVES, rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
    )


@kernel(*_ARGUMENTS, returns=_SCANNED)
def scan_blocks_bits(  # type: ignore[no-untyped-def]
    rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
):
    """``scan_blocks`` of kind BITS."""
    return scan_blocks(
        BITS, rows, query, first, last, depth, k, full, limit, most, keys, size, ahead, counters
    )


@kernel(write(uint8, 1), write(int64, 1))
def put_in_order(small, order):  # type: ignore[no-untyped-def]
    """Order the bytes of a code by how much they add on average, most first: what a first stage should look at."""
    n_bytes = len(order)
    width = len(small) // n_bytes
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


@kernel(ROWS, int64, int64, int64, returns=int64)
def count_rows(rows, first, last, enough):  # type: ignore[no-untyped-def]
    """Rows of blocks first..last-1 that may be returned, ``enough`` if there are more."""
    if rows.mask == 0:
        return min(min(last * BLOCK_ROWS, rows.n_rows) - first * BLOCK_ROWS, enough)
    count = 0
    for word in range(4 * first, 4 * last):
        count += count_bits(np.uint64(load_int(rows.mask, word)))
        if count >= enough:
            return enough
    return count


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
            np.int64(0),
            counters,
        )
    if size < rank:
        return NO_LIMIT
    select(keys, size, rank)
    return keys[rank - 1] | _ROW_BITS


@inlined
def scan_queries(  # type: ignore[no-untyped-def]
    kind,
    scan_blocks,
    tables,
    bit_queries,
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """The k nearest rows of blocks first..last-1 for each of a few queries, sorted; +inf and -1 where there are fewer.

    tables (nq, M, K) float32, for kind BITS (nq, 0, 0) beside bit_queries (nq, bytes) uint8; codes flat blocks; masks
    (nq,) int64 the addresses of filters' words, 0 for none. is_short (nq,) says where the first limit was too low: the
    query wants another scan with a higher ``rank``, at first 0.
    """
    n_queries = len(masks)
    n_small = n_bytes * SMALL_WIDTH[kind]
    # Vectors of tables that lie across two cache lines would take twice as long to load.
    width = -(-n_small // CACHE_LINE) * CACHE_LINE
    room = np.empty(n_queries * width + CACHE_LINE, np.uint8)
    aligned = -address(room) % CACHE_LINE
    bound = np.zeros((n_queries, 3))
    lowest = np.empty((n_queries, tables.shape[1]), np.float32)
    order = np.empty((n_queries, n_bytes), np.int64)
    full = k + k // 2 + 8
    keys = np.empty((n_queries, full + BLOCK_ROWS), np.uint64)
    size = np.zeros(n_queries, np.int64)
    limit = np.empty(n_queries, np.uint64)
    most = np.empty(n_queries, np.int64)
    # The first stage takes one byte more than half of them. Where it does not pay it rests for 8, 16, ... 64 tiles.
    shallow = n_bytes // 2 + 1 if n_bytes > 2 else n_bytes
    resting = np.zeros(n_queries, np.int64)
    rest = np.full(n_queries, 8)
    ahead = AHEAD if n_queries == 1 else 0
    tile = max(1, TILE_BYTES // (BLOCK_ROWS * n_bytes))
    for tile_first in range(first, last, tile):
        tile_last = min(tile_first + tile, last)
        for q in range(n_queries):
            small = room[aligned + q * width : aligned + q * width + n_small]
            query = Query(tables[q], lowest[q], bound[q], small, order[q])
            of_rows = Rows(codes, n_bytes, n_rows, masks[q])
            if tile_first == first:
                for byte in range(n_bytes):
                    order[q, byte] = byte
                if kind == BITS:
                    small[:] = bit_queries[q]
                else:
                    find_lowest(query)
                    quantize(np.int64(kind), query, np.float32(np.inf))
                limit[q] = first_limit(
                    kind, scan_blocks, of_rows, query, first, last, k, rank, keys[q], counters
                )
                most[q] = quantize(np.int64(kind), query, key_distance(limit[q]))
                if kind != BITS:
                    put_in_order(small, order[q])
            depth = shallow if resting[q] == 0 else n_bytes
            deep_before = counters[DEEP_BLOCKS]
            limit[q], most[q], size[q] = scan_blocks(
                of_rows,
                query,
                tile_first,
                tile_last,
                depth,
                k,
                full,
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
        of_rows = Rows(codes, n_bytes, n_rows, masks[q])
        is_short[q] = size[q] < k and size[q] < count_rows(of_rows, first, last, k)
        counters[REPEATS] += is_short[q]
        write_nearest(keys[q], size[q], k, distances[q], rows[q])


_QUERIES: Any = (
    *(read(float32, 3), read(uint8, 2), read(uint8, 1), int64, int64, int64, int64),
    *(read(int64, 1), int64, int64, write(float32, 2), write(int64, 2), write(boolean, 1), write(int64, 1)),
)


@kernel(*_QUERIES)
def scan_bytes(  # type: ignore[no-untyped-def]
    tables,
    bit_queries,
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` of kind BYTES."""
    scan_queries(
        BYTES,
        scan_blocks_bytes,
        tables,
        bit_queries,
        codes,
        n_bytes,
        n_rows,
        first,
        last,
        masks,
        k,
        rank,
        distances,
        rows,
        is_short,
        counters,
    )


@kernel(*_QUERIES)
def scan_halves(  # type: ignore[no-untyped-def]
    tables,
    bit_queries,
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` of kind HALVES."""
    scan_queries(
        HALVES,
        scan_blocks_halves,
        tables,
        bit_queries,
        codes,
        n_bytes,
        n_rows,
        first,
        last,
        masks,
        k,
        rank,
        distances,
        rows,
        is_short,
        counters,
    )


@kernel(*_QUERIES)
def scan_bits(  # type: ignore[no-untyped-def]
    tables,
    bit_queries,
    codes,
    n_bytes,
    n_rows,
    first,
    last,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` of kind BITS."""
    scan_queries(
        BITS,
        scan_blocks_bits,
        tables,
        bit_queries,
        codes,
        n_bytes,
        n_rows,
        first,
        last,
        masks,
        k,
        rank,
        distances,
        rows,
        is_short,
        counters,
    )
