"""The search among some of the lists: the queries that want a list scan it in turn while it lies in the cache.

Where codes mean the same in all lists a query keeps its small tables, and starts from a sample as ``pilot`` has it.
Where they do not, being residuals, its tables are made anew for each list; it starts with the lists that are asked for
first (the nearest) until it has k rows, and its limit is the distance of one that it has seen, or is known to be
there: never too low.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float32, int64, uint8, uint32

from spdq_kernels.contract import BYTES, CACHE_LINE, HALVES
from spdq_kernels.cpu.block_scan import REPEATS
from spdq_kernels.cpu.blocks import SMALL_WIDTH, Query, address
from spdq_kernels.cpu.bounds import EVERYTHING, add_parts, find_lowest, quantize, reach
from spdq_kernels.cpu.compiler import inlined, kernel, read, write
from spdq_kernels.cpu.keys import NO_LIMIT, key_distance, make_key, select
from spdq_kernels.cpu.list_bound import bound_of_bytes, bound_of_halves
from spdq_kernels.cpu.list_probes import by_list, choose_blocks, count_slots
from spdq_kernels.cpu.list_scan import (
    QUAD_ROWS,
    Lists,
    scan_run_bytes,
    scan_run_halves,
    scan_some_bytes,
    scan_some_halves,
)
from spdq_kernels.cpu.pilot import SAMPLE_BLOCKS, rank_of, sample_of
from spdq_kernels.cpu.scan import write_nearest

GROUP_QUERIES = 256
"""Queries that scan a list in turn at most, and ..."""
GROUP_MEMORY = 1 << 26
"""... the bytes of keys they may keep."""
_ROW_BITS = np.uint64((1 << 32) - 1)


@inlined
def first_limit(  # type: ignore[no-untyped-def]
    scan_some, lists, mask, query, wanted, k, rank, limit, most, keys, chosen, counters
):
    """A limit from a sample of the wanted lists' blocks, as ``pilot.first_limit`` has it, or the one there is."""
    n_blocks = np.int64(0)
    for which in wanted:
        n_blocks += lists.starts[which + 1] - lists.starts[which]
    count, start, stride, _ = sample_of(n_blocks)
    if count == 0 or rank > k:
        return limit
    if rank == 0:
        rank = rank_of(k * count / n_blocks, k)
    count = choose_blocks(lists.starts, wanted, start, stride, chosen[:count])
    _, _, size = scan_some(
        lists,
        mask,
        query,
        chosen,
        count,
        rank,
        rank + rank // 2 + 8,
        limit,
        most,
        keys,
        np.int64(0),
        counters,
    )
    if size < rank:
        return limit
    select(keys, size, rank)
    return keys[rank - 1] | _ROW_BITS


class Asked(NamedTuple):
    """What queries ask for."""

    tables: Any
    """(nq, M, K) float32."""
    list_tables: Any
    """(n_lists, M, K) float32: what each list adds to the tables; (0, 0, 0) for nothing."""
    offsets: Any
    """(nq, n_probe) float32: what sums of rows of each list begin with; (nq, 0) for nothing."""
    summed: Any
    """(M, K) float32: room for a query's tables for one list."""
    probes: Any
    """(nq, n_probe) int64: the lists to search."""


@inlined
def query_for_list(asked, q, place, lowest, bound, small, order):  # type: ignore[no-untyped-def]
    """A query whose tables and bound are made for one of its lists."""
    has_parts = len(asked.list_tables) > 0
    # + 0: never -0
    offset = np.float32(0) + (asked.offsets[q, place] if asked.offsets.shape[1] else np.float32(0))
    query = Query(asked.summed if has_parts else asked.tables[q], lowest, bound, small, order, offset)
    if has_parts:
        part = asked.list_tables[asked.probes[q, place]]
        add_parts(query, address(asked.tables[q]), address(part))
    else:
        find_lowest(query)
    return query


@inlined
def scan_group(  # type: ignore[no-untyped-def]
    kind, scan_run, scan_some, bound_of, asked, lists, masks, k, rank, distances, rows, is_short, counters
):
    """``search_lists`` for a few queries, which scan each list in turn."""
    tables, probes, starts = asked.tables, asked.probes, lists.starts
    n_queries, n_probe = probes.shape
    is_anew = len(asked.list_tables) > 0 or asked.offsets.shape[1] > 0
    n_kept = 1 if is_anew else n_queries
    n_small = lists.n_bytes * SMALL_WIDTH[kind]
    # Vectors of tables that lie across two cache lines would take twice as long to load.
    width = -(-n_small // CACHE_LINE) * CACHE_LINE
    room = np.empty(n_kept * width + CACHE_LINE, np.uint8)
    aligned = -address(room) % CACHE_LINE
    bound = np.zeros((n_kept, 3))
    lowest = np.empty((n_kept, tables.shape[1]), np.float32)
    order = np.arange(lists.n_bytes)
    full = k + k // 2 + 8
    keys = np.empty((n_queries, full + QUAD_ROWS), np.uint64)
    size = np.zeros(n_queries, np.int64)
    limit = np.full(n_queries, NO_LIMIT)
    most = np.full(n_queries, EVERYTHING)
    n_begun = np.zeros(n_queries, np.int64)
    chosen = np.empty(SAMPLE_BLOCKS, np.int64)
    for q in range(n_queries):
        kept = 0 if is_anew else q
        small = room[aligned + kept * width : aligned + kept * width + n_small]
        if is_anew:
            while n_begun[q] < n_probe and size[q] < k:
                which = probes[q, n_begun[q]]
                query = query_for_list(asked, q, n_begun[q], lowest[kept], bound[kept], small, order)
                n_begun[q] += 1
                first, last = starts[which], starts[which + 1]
                if n_begun[q] == 1:
                    # Also above the key of the last row at that distance.
                    within = bound_of(lists, masks[q], query, which, k)
                    limit[q] = make_key(within, 0) | _ROW_BITS
                no_sum = quantize(np.int64(kind), query, key_distance(limit[q]))
                limit[q], _, size[q] = scan_run(
                    lists,
                    masks[q],
                    query,
                    first,
                    last,
                    first,
                    k,
                    full,
                    limit[q],
                    no_sum,
                    keys[q],
                    size[q],
                    counters,
                )
            if size[q] >= k:
                select(keys[q], size[q], k)
                size[q], limit[q] = k, keys[q, k - 1]
            continue
        query = Query(tables[q], lowest[kept], bound[kept], small, order, np.float32(0))
        find_lowest(query)
        within = bound_of(lists, masks[q], query, probes[q, 0], k)
        limit[q] = make_key(within, 0) | _ROW_BITS
        most[q] = quantize(np.int64(kind), query, within)
        limit[q] = first_limit(
            scan_some,
            lists,
            masks[q],
            query,
            probes[q],
            k,
            rank,
            limit[q],
            most[q],
            keys[q],
            chosen,
            counters,
        )
        most[q] = quantize(np.int64(kind), query, key_distance(limit[q]))
    pairs = np.empty(n_queries * n_probe, np.int64)
    n_pairs = by_list(probes, n_begun, len(starts) - 1, pairs)
    for i in range(n_pairs):
        q, place = pairs[i] // n_probe, pairs[i] % n_probe
        next_pair = pairs[min(i + 1, n_pairs - 1)]
        which, next_list = probes[q, place], probes[next_pair // n_probe, next_pair % n_probe]
        kept = 0 if is_anew else q
        small = room[aligned + kept * width : aligned + kept * width + n_small]
        if is_anew:
            query = query_for_list(asked, q, place, lowest[kept], bound[kept], small, order)
            if reach(query, key_distance(limit[q])) < 0:
                continue
            most[q] = quantize(np.int64(kind), query, key_distance(limit[q]))
        else:
            query = Query(tables[q], lowest[kept], bound[kept], small, order, np.float32(0))
        limit[q], most[q], size[q] = scan_run(
            lists,
            masks[q],
            query,
            starts[which],
            starts[which + 1],
            starts[next_list],
            k,
            full,
            limit[q],
            most[q],
            keys[q],
            size[q],
            counters,
        )
    for q in range(n_queries):
        is_short[q] = size[q] < k and size[q] < count_slots(starts, probes[q], masks[q], k)
        counters[REPEATS] += is_short[q]
        write_nearest(keys[q], size[q], k, distances[q], rows[q])


@inlined
def search_lists(  # type: ignore[no-untyped-def]
    kind,
    scan_run,
    scan_some,
    bound_of,
    tables,
    list_tables,
    offsets,
    summed,
    probes,
    codes,
    n_bytes,
    numbers,
    starts,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """The k nearest rows of the lists each query asks for, sorted; +inf and -1 where there are fewer.

    Arguments are those of ``Asked`` and ``Lists``; masks (nq,) int64 are addresses of a word a block. is_short (nq,)
    says where the first limit was too low: the query wants another search with a higher ``rank``, at first 0. Returns
    how many such queries there are.
    """
    group = max(1, min(GROUP_QUERIES, GROUP_MEMORY // (16 * k)))
    lists = Lists(codes, n_bytes, numbers, starts)
    n_short = 0
    for start in range(0, len(probes), group):
        stop = min(start + group, len(probes))
        asked = Asked(tables[start:stop], list_tables, offsets[start:stop], summed, probes[start:stop])
        scan_group(
            kind,
            scan_run,
            scan_some,
            bound_of,
            asked,
            lists,
            masks[start:stop],
            k,
            rank,
            distances[start:stop],
            rows[start:stop],
            is_short[start:stop],
            counters,
        )
        for q in range(start, stop):
            n_short += is_short[q]
    return n_short


_SEARCH: Any = (
    *(read(float32, 3), read(float32, 3), read(float32, 2), read(float32, 2), read(int64, 2)),
    *(read(uint8, 1), int64, read(uint32, 1), read(int64, 1), read(int64, 1), int64, int64),
    *(write(float32, 2), write(int64, 2), write(boolean, 1), write(int64, 1)),
)


@kernel(*_SEARCH, returns=int64)
def lists_bytes(  # type: ignore[no-untyped-def]
    tables,
    list_tables,
    offsets,
    summed,
    probes,
    codes,
    n_bytes,
    numbers,
    starts,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """``search_lists`` of kind BYTES."""
    return search_lists(
        BYTES,
        scan_run_bytes,
        scan_some_bytes,
        bound_of_bytes,
        tables,
        list_tables,
        offsets,
        summed,
        probes,
        codes,
        n_bytes,
        numbers,
        starts,
        masks,
        k,
        rank,
        distances,
        rows,
        is_short,
        counters,
    )


@kernel(*_SEARCH, returns=int64)
def lists_halves(  # type: ignore[no-untyped-def]
    tables,
    list_tables,
    offsets,
    summed,
    probes,
    codes,
    n_bytes,
    numbers,
    starts,
    masks,
    k,
    rank,
    distances,
    rows,
    is_short,
    counters,
):
    """``search_lists`` of kind HALVES."""
    return search_lists(
        HALVES,
        scan_run_halves,
        scan_some_halves,
        bound_of_halves,
        tables,
        list_tables,
        offsets,
        summed,
        probes,
        codes,
        n_bytes,
        numbers,
        starts,
        masks,
        k,
        rank,
        distances,
        rows,
        is_short,
        counters,
    )
