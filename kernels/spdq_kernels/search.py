"""Searches: check the arguments, choose how filters are applied, split the work, run the kernels, merge.

Every result is the same for any number of threads, any batch size and either way to filter.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import BLOCK_ROWS, NIBBLE_WORDS, NO_BIT_DISTANCE
from spdq_kernels.dispatch import compiled, read_only
from spdq_kernels.layout import empty_blocks
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import Allowed, CompactBlocks, RowFilter, row_filters
from spdq_kernels.threads import pieces, run, workers

Rows = NDArray[np.int64]
Found = tuple[Floats, Rows]

BYTES_PER_THREAD = 1 << 24
"""Fewest bytes of code, times queries, worth a thread of their own: half a millisecond of scanning."""

FIRST_RANK = 64
"""Rank in the sample of the limit that a query tries after its first was too low; then four times that."""

RANGE_KEYS = 1 << 14
"""Hits a range search has room for at first."""


GROUP_QUERIES = 64
"""Queries that scan a tile of codes in turn while it lies in the processor's cache, and ..."""
GROUP_MEMORY = 1 << 26
"""... the bytes of keys they may keep."""

KINDS = ("bytes", "halves", "bits")
"""What codes are made of: words of 8 bits, words of 4, or plain bits."""


class Queries(NamedTuple):
    """What all kinds of search ask: one entry a query in each array."""

    tables: Floats
    """(nq, M, K) float32, (nq, 0, 0) where codes are bits."""
    bits: NDArray[np.uint8]
    """(nq, bytes) uint8, (nq, 0) where they are not."""
    kind: int
    """Place in KINDS."""

    def take(self, chosen: slice | Rows) -> Queries:
        """The queries of some places."""
        return Queries(self.tables[chosen], self.bits[chosen], self.kind)

    def __len__(self) -> int:
        return len(self.tables)


def scan(
    tables: Floats,
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> Found:
    """Return distances (nq, k') float32 and rows (nq, k') int64 of the k' nearest rows of each query.

    A distance is the float32 sum, from +0 on, of a row's entries of tables (nq, M, 256) float32 in the order of the
    codebooks, for 4-bit codes of tables (nq, M, 16). blocks is ``pack_codes`` of the codes. The order is
    (distance, row): the same for any number of threads, and a smaller k gives the beginning of the same list.

    k' = min(k, rows that may be returned). ``allowed`` says which may: one filter for all queries or one each; where
    a query has fewer such rows than another, +inf and -1 fill up.
    """
    contract.blocks(blocks, n_rows)
    contract.tables(tables, blocks.shape[1])
    contract.integer(k, "k", 1)
    return _nearest(_table_queries(tables), blocks, int(n_rows), int(k), allowed, threads)


def hamming_scan(
    queries: NDArray[np.uint8],
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> tuple[NDArray[np.int32], Rows]:
    """Return the number of differing bits (nq, k') int32 and rows (nq, k') int64 of the k' nearest rows.

    queries (nq, bytes) uint8 are packed bits, blocks ``pack_codes`` of such rows. Order, k' and ``allowed`` are those
    of ``scan``; where a query has fewer rows, 2**31 - 1 and -1 fill up.
    """
    contract.blocks(blocks, n_rows)
    contract.bit_queries(queries, blocks.shape[1])
    contract.integer(k, "k", 1)
    distances, rows = _nearest(_bit_queries(queries), blocks, int(n_rows), int(k), allowed, threads)
    whole = np.where(rows < 0, np.float64(NO_BIT_DISTANCE), distances)
    return whole.astype(np.int32), rows


def range_scan(
    tables: Floats,
    blocks: NDArray[np.uint8],
    n_rows: int,
    radius: float,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> tuple[Rows, Floats, Rows]:
    """Return all rows nearer than a radius: limits (nq + 1,) int64, distances (n,) float32, rows (n,) int64.

    Those of query q are at limits[q] to limits[q + 1], in the order (distance, row). tables, blocks and ``allowed``
    are those of ``scan``; a distance equal to the radius is outside.
    """
    contract.blocks(blocks, n_rows)
    contract.tables(tables, blocks.shape[1])
    contract.radius(radius)
    filters = row_filters(allowed, len(tables), int(n_rows))
    queries = _table_queries(tables)
    limit = _radius_key(float(radius))

    def part(query: int, block_range: slice) -> NDArray[np.uint64]:
        return _range_keys(queries, query, blocks, int(n_rows), block_range, filters[query], limit)

    n_queries, n_blocks = len(tables), len(blocks)
    count = workers(threads, n_queries * blocks.size, BYTES_PER_THREAD)
    if n_queries >= count:

        def some(chosen: slice) -> list[NDArray[np.uint64]]:
            return [part(query, slice(0, n_blocks)) for query in range(chosen.start, chosen.stop)]

        keys = [found for parts in run(some, pieces(n_queries, count)) for found in parts]
    else:
        keys = [
            np.concatenate([_NO_KEYS, *run(partial(part, query), pieces(n_blocks, count))])
            for query in range(n_queries)
        ]
    sizes = np.array([0, *map(len, keys)], np.int64)
    distances, rows = _decode(np.concatenate([np.sort(found) for found in keys] or [_NO_KEYS]))
    return np.cumsum(sizes), distances, rows


_NO_KEYS: NDArray[np.uint64] = np.empty(0, np.uint64)


def _table_queries(tables: Floats) -> Queries:
    kind = 0
    if tables.shape[2] == NIBBLE_WORDS:
        kind = 1
        if tables.shape[1] % 2:
            # The last byte has an empty half; 0 is the code there, and adds 0.
            tables = np.concatenate([tables, np.zeros_like(tables[:, :1])], axis=1)
    return Queries(read_only(tables), read_only(np.empty((len(tables), 0), np.uint8)), kind)


def _bit_queries(queries: NDArray[np.uint8]) -> Queries:
    return Queries(read_only(np.empty((len(queries), 0, 0), np.float32)), read_only(queries), 2)


def _nearest(
    queries: Queries, blocks: NDArray[np.uint8], n_rows: int, k: int, allowed: Allowed, threads: int | None
) -> Found:
    """The nearest rows of each query, filtered by whatever costs least."""
    if allowed is None:
        return _scan(queries, blocks, n_rows, min(k, n_rows), [], threads)
    filters = row_filters(allowed, len(queries), n_rows)
    if isinstance(allowed, RowFilter):
        return _filtered(queries, blocks, n_rows, k, allowed, threads)
    counts = [n_rows if one is None else one.count for one in filters]
    k = min(k, max(counts, default=n_rows))
    distances = np.full((len(queries), k), np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    scanned: list[int] = []
    for one, chosen in _by_filter(filters).items():
        if one is None or _way_to_filter(one, len(chosen), blocks, queries.kind) == "mask":
            scanned += chosen
            continue
        found = _filtered(queries.take(np.array(chosen)), blocks, n_rows, k, one, threads)
        distances[chosen, : found[0].shape[1]], rows[chosen, : found[0].shape[1]] = found
    if scanned:
        masks = [filters[query] for query in scanned]
        some = queries.take(np.array(scanned))
        distances[scanned], rows[scanned] = _scan(some, blocks, n_rows, k, masks, threads)
    return distances, rows


def _filtered(
    queries: Queries, blocks: NDArray[np.uint8], n_rows: int, k: int, one: RowFilter, threads: int | None
) -> Found:
    """The nearest of a filter's rows for each query, at most as many as there are."""
    k = min(k, one.count)
    way = _way_to_filter(one, len(queries), blocks, queries.kind)
    if way == "mask":
        return _scan(queries, blocks, n_rows, k, [one] * len(queries), threads)
    if way == "evaluate":
        return _evaluate_rows(queries, blocks, one, k, threads)
    gathered, of_row = _gathered(one, blocks)
    distances, places = _scan(queries, gathered, one.count, k, [], threads)
    return distances, of_row[places]


def _by_filter(filters: list[RowFilter | None]) -> dict[RowFilter | None, list[int]]:
    """The queries of each filter."""
    chosen: dict[RowFilter | None, list[int]] = {}
    for query, one in enumerate(filters):
        chosen.setdefault(one, []).append(query)
    return chosen


def _way_to_filter(one: RowFilter, n_queries: int, blocks: NDArray[np.uint8], kind: int) -> str:
    """The way that costs least: "mask", "gather" or "evaluate". Costs are nanoseconds measured (docs/kernels.md)."""
    from spdq_kernels.cpu.cost import EVALUATE, GATHER, GATHERED_QUERY, scan_cost

    n_bytes = blocks.shape[1]
    a_row = scan_cost(kind) * n_bytes
    is_gathered = one.compact is not None and one.compact[0] is blocks
    costs = {
        "mask": n_queries * one.n_blocks * BLOCK_ROWS * a_row,
        "gather": (0 if is_gathered else (one.n_rows + 4 * one.count) * GATHER * n_bytes)
        + n_queries * (one.count * a_row + GATHERED_QUERY),
        "evaluate": n_queries * (one.count * EVALUATE * n_bytes + len(one.words)),
    }
    return min(costs, key=lambda way: costs[way])


def _gathered(one: RowFilter, blocks: NDArray[np.uint8]) -> CompactBlocks:
    """The blocks of the allowed rows, kept with the filter."""
    with one.lock:
        if one.compact is None or one.compact[0] is not blocks:
            shape = (-(-one.count // BLOCK_ROWS), blocks.shape[1])
            made = CompactBlocks(empty_blocks(*shape), np.empty(one.count, np.int64))
            made.blocks[-1:] = 0
            flat = read_only(blocks.reshape(-1))
            compiled("gather")(flat, blocks.shape[1], one.words, made.blocks.reshape(-1), made.rows)
            one.compact = blocks, made
        return one.compact[1]


def _evaluate_rows(
    queries: Queries, blocks: NDArray[np.uint8], one: RowFilter, k: int, threads: int | None
) -> Found:
    """The nearest of a filter's rows, one by one."""
    distances, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    kernel, flat = compiled("evaluate_rows"), read_only(blocks.reshape(-1))

    def part(chosen: slice) -> None:
        some = queries.take(chosen)
        kernel(*some, flat, blocks.shape[1], one.words, k, distances[chosen], rows[chosen])

    count = workers(threads, len(queries) * one.count * blocks.shape[1], BYTES_PER_THREAD >> 6)
    run(part, pieces(len(queries), count))
    return distances, rows


def _scan(
    queries: Queries,
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    filters: list[RowFilter | None],
    threads: int | None,
    counters: NDArray[np.int64] | None = None,
) -> Found:
    """The k nearest rows of each query by one scan of all blocks, each under its mask if there are filters."""
    n_queries, (n_blocks, n_bytes, _) = len(queries), blocks.shape
    if n_queries == 0 or k == 0:
        return np.empty((n_queries, k), np.float32), np.empty((n_queries, k), np.int64)
    task = _Task(
        compiled(f"scan_{KINDS[queries.kind]}"),
        queries,
        read_only(blocks.reshape(-1)),
        n_bytes,
        n_rows,
        k,
        _masks(filters, n_queries),
        np.zeros(3, np.int64) if counters is None else counters,
    )
    count = workers(threads, n_queries * blocks.size, BYTES_PER_THREAD)
    if count == 1:
        return task.run(slice(0, n_queries), slice(0, n_blocks))
    if n_queries >= count:
        everything = slice(0, n_blocks)
        parts = run(lambda chosen: task.run(chosen, everything), pieces(n_queries, count))
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    all_queries = slice(0, n_queries)
    parts = run(lambda block_range: task.run(all_queries, block_range), pieces(n_blocks, count))
    distances = np.concatenate([part[0] for part in parts], axis=1)
    rows = np.concatenate([part[1] for part in parts], axis=1)
    order = np.lexsort((rows, rows < 0, distances))[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


class _Task(NamedTuple):
    """A scan to be run in parts."""

    kernel: Any
    queries: Queries
    codes: NDArray[np.uint8]
    n_bytes: int
    n_rows: int
    k: int
    masks: Rows
    counters: NDArray[np.int64]

    def run(self, chosen: slice, blocks: slice) -> Found:
        """The k nearest rows of some blocks for some queries, group by group."""
        shape = chosen.stop - chosen.start, self.k
        distances, rows = np.empty(shape, np.float32), np.empty(shape, np.int64)
        is_short = np.empty(shape[0], np.bool_)
        group = max(1, min(GROUP_QUERIES, GROUP_MEMORY // (16 * self.k)))
        for start in range(chosen.start, chosen.stop, group):
            stop = min(start + group, chosen.stop)
            here = slice(start - chosen.start, stop - chosen.start)
            self._run_group(slice(start, stop), blocks, 0, distances[here], rows[here], is_short[here])
        for place in is_short.nonzero()[0]:
            # No row of a sample below rank k can be missed, so the rank rises until the scan needs no luck.
            rank = FIRST_RANK
            query = slice(chosen.start + int(place), chosen.start + int(place) + 1)
            here = slice(int(place), int(place) + 1)
            while is_short[place]:
                self._run_group(query, blocks, rank, distances[here], rows[here], is_short[here])
                rank *= 4
        return distances, rows

    def _run_group(
        self,
        chosen: slice,
        blocks: slice,
        rank: int,
        distances: Floats,
        rows: Rows,
        is_short: NDArray[np.bool_],
    ) -> None:
        self.kernel(
            self.queries.tables[chosen],
            self.queries.bits[chosen],
            self.codes,
            self.n_bytes,
            self.n_rows,
            blocks.start,
            blocks.stop,
            self.masks[chosen],
            self.k,
            rank,
            distances,
            rows,
            is_short,
            self.counters,
        )


def _masks(filters: list[RowFilter | None], n_queries: int) -> Rows:
    """(n_queries,) int64: where the words of each query's filter lie, 0 for none."""
    masks = np.zeros(n_queries, np.int64)
    if filters:
        masks[:] = [0 if one is None else one.address for one in filters]
    masks.setflags(write=False)
    return masks


def _radius_key(radius: float) -> np.uint64:
    """The key below which lie the rows nearer than a radius: that of row 0 at the least float32 not below it."""
    with np.errstate(over="ignore"):
        nearest = np.float32(radius) + np.float32(0)
    if float(nearest) < radius:
        nearest = np.nextafter(nearest, np.float32(np.inf))
    bits = int(nearest.view(np.uint32))
    ordered = bits ^ 0xFFFFFFFF if bits >> 31 else bits | 1 << 31
    return np.uint64(ordered << 32)


def _decode(keys: NDArray[np.uint64]) -> Found:
    """Distances (n,) float32 and rows (n,) int64 of keys."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> 31 == 1, ordered ^ np.uint32(1 << 31), ~ordered)
    return bits.view(np.float32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _range_keys(
    queries: Queries,
    query: int,
    blocks: NDArray[np.uint8],
    n_rows: int,
    block_range: slice,
    one: RowFilter | None,
    limit: np.uint64,
) -> NDArray[np.uint64]:
    """The keys below the limit of the rows of some blocks, in no order; room is doubled when it runs out."""
    kernel, flat = compiled(f"range_{KINDS[queries.kind]}"), read_only(blocks.reshape(-1))
    mask = 0 if one is None else one.address
    keys, size, block = np.empty(RANGE_KEYS, np.uint64), 0, block_range.start
    while block < block_range.stop:
        block, size = kernel(
            queries.tables[query],
            flat,
            blocks.shape[1],
            n_rows,
            block,
            block_range.stop,
            mask,
            limit,
            keys,
            size,
        )
        if block < block_range.stop:
            keys = np.concatenate([keys, np.empty_like(keys)])
    return keys[:size]
