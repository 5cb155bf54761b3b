"""The exact scan: queries share a tile of codes while it lies in the processor's cache, and keep their k nearest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float32, int64, uint8, uint64

from spdq_kernels.contract import BITS, BLOCK_ROWS, BYTES, CACHE_LINE, HALVES
from spdq_kernels.cpu.block_scan import (
    DEEP_BLOCKS,
    REPEATS,
    scan_blocks_bits,
    scan_blocks_bytes,
    scan_blocks_halves,
)
from spdq_kernels.cpu.blocks import ROWS, SMALL_WIDTH, Query, Rows, address
from spdq_kernels.cpu.bounds import find_lowest, quantize
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, key_distance, key_row, select, sort
from spdq_kernels.cpu.pilot import first_limit
from spdq_kernels.cpu.simd import count_bits, load_int

TILE_BYTES = 1 << 18
"""Codes that a group of queries scans in turn: a part of the second-level cache."""
GROUP_QUERIES = 64
"""Queries that scan a tile in turn at most, and ..."""
GROUP_MEMORY = 1 << 26
"""... the bytes of keys they may keep."""
_STAGE_COST = 0.12
"""What testing after the first stage costs, as a share of scanning a block."""


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
def scan_group(  # type: ignore[no-untyped-def]
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
    limits,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` for a few queries, which scan each tile in turn."""
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
    tile = max(1, TILE_BYTES // (BLOCK_ROWS * n_bytes))
    for tile_first in range(first, last, tile):
        tile_last = min(tile_first + tile, last)
        for q in range(n_queries):
            small = room[aligned + q * width : aligned + q * width + n_small]
            query = Query(tables[q], lowest[q], bound[q], small, order[q], np.float32(0))
            of_rows = Rows(codes, n_bytes, n_rows, masks[q])
            if tile_first == first:
                for byte in range(n_bytes):
                    order[q, byte] = byte
                if kind == BITS:
                    small[:] = bit_queries[q]
                else:
                    find_lowest(query)
                    quantize(np.int64(kind), query, np.float32(np.inf))
                limit[q] = limits[q]
                if limits[q] == NO_LIMIT:
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
        is_short[q] = limits[q] == NO_LIMIT and size[q] < k and size[q] < count_rows(of_rows, first, last, k)
        counters[REPEATS] += is_short[q]
        write_nearest(keys[q], size[q], k, distances[q], rows[q])


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
    limits,
    distances,
    rows,
    is_short,
    counters,
):
    """The k nearest rows of blocks first..last-1 for each query, sorted; +inf and -1 where there are fewer.

    tables (nq, M, K) float32, for kind BITS (nq, 0, 0) beside bit_queries (nq, bytes) uint8; codes flat blocks; masks
    (nq,) int64 the addresses of filters' words, 0 for none; limits (nq,) uint64 keys that all rows to be returned lie
    below, NO_LIMIT for none. is_short (nq,) says where the first limit was too low: the
    query wants another scan with a higher ``rank``, at first 0. Returns how many such queries there are.
    """
    group = max(1, min(GROUP_QUERIES, GROUP_MEMORY // (16 * k)))
    n_short = 0
    for start in range(0, len(masks), group):
        stop = min(start + group, len(masks))
        scan_group(
            kind,
            scan_blocks,
            tables[start:stop],
            bit_queries[start:stop],
            codes,
            n_bytes,
            n_rows,
            first,
            last,
            masks[start:stop],
            k,
            rank,
            limits[start:stop],
            distances[start:stop],
            rows[start:stop],
            is_short[start:stop],
            counters,
        )
        for q in range(start, stop):
            n_short += is_short[q]
    return n_short


_QUERIES: Any = (
    *(read(float32, 3), read(uint8, 2), read(uint8, 1), int64, int64, int64, int64),
    *(
        read(int64, 1),
        int64,
        int64,
        read(uint64, 1),
        write(float32, 2),
        write(int64, 2),
        write(boolean, 1),
        write(int64, 1),
    ),
)


@kernel(*_QUERIES, returns=int64)
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
    limits,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` of kind BYTES."""
    return scan_queries(
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
        limits,
        distances,
        rows,
        is_short,
        counters,
    )


@kernel(*_QUERIES, returns=int64)
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
    limits,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` of kind HALVES."""
    return scan_queries(
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
        limits,
        distances,
        rows,
        is_short,
        counters,
    )


@kernel(*_QUERIES, returns=int64)
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
    limits,
    distances,
    rows,
    is_short,
    counters,
):
    """``scan_queries`` of kind BITS."""
    return scan_queries(
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
        limits,
        distances,
        rows,
        is_short,
        counters,
    )
