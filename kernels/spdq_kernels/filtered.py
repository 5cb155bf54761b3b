"""Searches among some of the rows: by a mask in the scan, among gathered rows, or row by row, as cost says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq_kernels.contract import BLOCK_ROWS
from spdq_kernels.dispatch import compiled
from spdq_kernels.layout import empty_blocks
from spdq_kernels.row_filter import Allowed, CompactBlocks, RowFilter, row_filters
from spdq_kernels.scanning import BYTES_PER_THREAD, Found, Queries, scan_all
from spdq_kernels.threads import pieces, run, workers


def nearest(
    queries: Queries, blocks: NDArray[np.uint8], n_rows: int, k: int, allowed: Allowed, threads: int | None
) -> Found:
    """The nearest rows of each query, filtered by whatever costs least."""
    if allowed is None:
        return scan_all(queries, blocks, n_rows, min(k, n_rows), [], threads)
    filters = row_filters(allowed, len(queries.tables), n_rows)
    alone = len(filters) == 1
    if isinstance(allowed, RowFilter):
        way = way_to_filter(allowed, len(filters), blocks, queries.kind, alone)
        return _filtered(queries, blocks, n_rows, k, allowed, way, threads)
    counts = [n_rows if one is None else one.count for one in filters]
    k = min(k, max(counts, default=n_rows))
    distances = np.full((len(queries.tables), k), np.inf, np.float32)
    rows = np.full((len(queries.tables), k), -1, np.int64)
    scanned: list[int] = []
    for one, chosen in _by_filter(filters).items():
        way = "mask" if one is None else way_to_filter(one, len(chosen), blocks, queries.kind, alone)
        if one is None or way == "mask":
            scanned += chosen
            continue
        found = _filtered(queries.take(np.array(chosen)), blocks, n_rows, k, one, way, threads)
        distances[chosen, : found[0].shape[1]], rows[chosen, : found[0].shape[1]] = found
    if scanned:
        masks = [filters[query] for query in scanned]
        some = queries.take(np.array(scanned))
        distances[scanned], rows[scanned] = scan_all(some, blocks, n_rows, k, masks, threads)
    return distances, rows


def _filtered(
    queries: Queries,
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    one: RowFilter,
    way: str,
    threads: int | None,
) -> Found:
    """The nearest of a filter's rows for each query, at most as many as there are, found in some way."""
    k = min(k, one.count)
    if way == "mask":
        return scan_all(queries, blocks, n_rows, k, [one] * len(queries.tables), threads)
    if way == "evaluate":
        return _evaluate_rows(queries, blocks, one, k, threads)
    gathered, of_row = _gathered(one, blocks)
    distances, places = scan_all(queries, gathered, one.count, k, [], threads)
    return distances, of_row[places]


def _by_filter(filters: list[RowFilter | None]) -> dict[RowFilter | None, list[int]]:
    """The queries of each filter."""
    chosen: dict[RowFilter | None, list[int]] = {}
    for query, one in enumerate(filters):
        chosen.setdefault(one, []).append(query)
    return chosen


def way_to_filter(one: RowFilter, n_queries: int, blocks: NDArray[np.uint8], kind: int, alone: bool) -> str:
    """The way that costs least: "mask", "gather" or "evaluate". Costs are nanoseconds measured (docs/kernels.md).

    ``alone``: the call has one query, which shares its reading of the codes with no other.
    What a filter has cost already without gathering is taken off the cost of gathering: a filter that is used again
    and again gets its rows gathered, and one that is not has wasted at most as much as it would have saved.
    """
    from spdq_kernels.cpu.cost import EVALUATE, GATHER, GATHERED_QUERY, scan_cost

    n_bytes = blocks.shape[1]
    a_row = scan_cost(kind, alone) * n_bytes
    is_gathered = one.compact is not None and one.compact[0] is blocks
    gathering = 0.0 if is_gathered else (one.n_rows + 4 * one.count) * GATHER * n_bytes
    costs = {
        "mask": n_queries * one.n_blocks * BLOCK_ROWS * a_row,
        "gather": max(0.0, gathering - one.spent) + n_queries * (one.count * a_row + GATHERED_QUERY),
    }
    if one.rows is not None:
        costs["evaluate"] = n_queries * one.count * EVALUATE * n_bytes
    way = min(costs, key=lambda way: costs[way])
    if way != "gather":
        one.spent += costs[way]
    return way


def _gathered(one: RowFilter, blocks: NDArray[np.uint8]) -> CompactBlocks:
    """The blocks of the allowed rows, kept with the filter."""
    with one.lock:
        if one.compact is None or one.compact[0] is not blocks:
            shape = (-(-one.count // BLOCK_ROWS), blocks.shape[1])
            made = CompactBlocks(empty_blocks(*shape), np.empty(one.count, np.int64))
            made.blocks[-1:] = 0
            flat = blocks.reshape(-1)
            compiled("gather")(flat, blocks.shape[1], one.words, made.blocks.reshape(-1), made.rows)
            one.compact = blocks, made
        return one.compact[1]


def _evaluate_rows(
    queries: Queries, blocks: NDArray[np.uint8], one: RowFilter, k: int, threads: int | None
) -> Found:
    """The nearest of a filter's rows, one by one."""
    distances, rows = (
        np.empty((len(queries.tables), k), np.float32),
        np.empty((len(queries.tables), k), np.int64),
    )
    kernel, flat = compiled("evaluate_rows"), blocks.reshape(-1)

    def part(chosen: slice) -> None:
        some = queries.take(chosen)
        of_queries = (some.tables, some.bits, some.kind)
        kernel(*of_queries, flat, blocks.shape[1], one.rows, k, distances[chosen], rows[chosen])

    count = workers(threads, len(queries.tables) * one.count * blocks.shape[1], BYTES_PER_THREAD >> 6)
    run(part, pieces(len(queries.tables), count))
    return distances, rows
