"""The definition of right for ``lists``, in plain NumPy, down to the order of every addition.

Same names and signatures as the public functions, without their checks; ``threads`` means nothing here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import reference
from spdq_kernels.contract import TABLE_WORDS
from spdq_kernels.lists.parts import LIST_ROWS, Centroids, CodeLists, ListTables
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import Allowed, RowFilter, row_filters

__all__ = ["assign", "nearest", "range_scan", "residual_tables", "scan"]

Found = tuple[Floats, NDArray[np.int64]]


def assign(vectors: Floats, centroids: Centroids, threads: int | None = None) -> NDArray[np.int64]:
    """Return the list of the nearest centroid of each vector, the lowest among equals."""
    return reference.assign(vectors, centroids.centres)


def nearest(
    queries: Floats, centroids: Centroids, n_probe: int, metric: str = "l2", threads: int | None = None
) -> Found:
    """Return the n_probe nearest lists of each query in the order (distance, list)."""
    centres = centroids.centres
    distances = reference.squared_distances(queries, centres)
    if metric == "ip":
        distances = np.float32(0) - reference.project(queries, centres.T)
    lists = np.argsort(distances, axis=1, kind="stable")[:, :n_probe]
    return np.take_along_axis(distances, lists, axis=1), lists


def residual_tables(
    queries: Floats, words: Floats, metric: str, threads: int | None = None, *, bits: int = 8
) -> Floats:
    """Return negated inner products of parts of queries and words, twice those for "l2"."""
    tables = reference.product_tables(queries, words, "ip", bits=bits)
    return tables * np.float32(2 if metric == "l2" else 1)


def unpack(
    lists: CodeLists, which: int, n_tables: int, n_words: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the codes (size, n_tables) and row numbers (size,) of a list."""
    first, last, size = lists.starts[which], lists.starts[which + 1], lists.sizes[which]
    codes = lists.blocks[first:last].transpose(0, 2, 1).reshape(-1, lists.n_bytes)[:size]
    if n_words < TABLE_WORDS:
        codes = np.stack([codes & 15, codes >> 4], axis=2).reshape(size, 2 * lists.n_bytes)[:, :n_tables]
    return codes, lists.rows[first * LIST_ROWS :][:size].astype(np.int64)


def all_found(
    tables: Floats,
    lists: CodeLists,
    probes: NDArray[np.int64],
    list_tables: ListTables | None,
    offsets: Floats | None,
    allowed: Allowed,
) -> list[Found]:
    """Return for each query all allowed rows of its lists with their distances, in the order (distance, row)."""
    filters = row_filters(allowed, len(tables), lists.n_rows)
    _, n_tables, n_words = tables.shape
    results = []
    for query, one in enumerate(filters):
        found, rows = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
        for place, which in enumerate(probes[query]):
            codes, numbers = unpack(lists, which, n_tables, n_words)
            sums = np.zeros(len(codes), np.float32)
            if offsets is not None:
                sums += offsets[query, place]
            for m in range(n_tables):
                entries = tables[query, m, codes[:, m]]
                sums += (
                    entries if list_tables is None else entries + list_tables.values[which, m, codes[:, m]]
                )
            kept = np.ones(len(codes), np.bool_) if one is None else one.mask()[numbers]
            found.append(sums[kept])
            rows.append(numbers[kept])
        distances, numbers = np.concatenate(found), np.concatenate(rows)
        order = np.lexsort((numbers, distances))
        results.append((distances[order], numbers[order]))
    return results


def scan(
    tables: Floats,
    lists: CodeLists,
    probes: NDArray[np.int64],
    k: int,
    threads: int | None = None,
    *,
    list_tables: ListTables | None = None,
    offsets: Floats | None = None,
    allowed: Allowed = None,
) -> Found:
    """Return the k nearest allowed rows of each query's lists; +inf and -1 where there are fewer."""
    one_for_all = allowed.count if isinstance(allowed, RowFilter) else lists.n_rows
    filters = row_filters(allowed, len(tables), lists.n_rows)
    counts = [lists.n_rows if one is None else one.count for one in filters]
    k = min(k, one_for_all, max(counts, default=one_for_all))
    distances = np.full((len(tables), k), np.inf, np.float32)
    rows = np.full((len(tables), k), -1, np.int64)
    for i, (found, numbers) in enumerate(all_found(tables, lists, probes, list_tables, offsets, allowed)):
        some = min(k, len(found))
        distances[i, :some], rows[i, :some] = found[:some], numbers[:some]
    return distances, rows


def range_scan(
    tables: Floats,
    lists: CodeLists,
    probes: NDArray[np.int64],
    radius: float,
    threads: int | None = None,
    *,
    list_tables: ListTables | None = None,
    offsets: Floats | None = None,
    allowed: Allowed = None,
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return all allowed rows of each query's lists nearer than the radius."""
    results = all_found(tables, lists, probes, list_tables, offsets, allowed)
    inside = [found.astype(np.float64) < radius for found, _ in results]
    limits = np.cumsum([0, *(int(one.sum()) for one in inside)]).astype(np.int64)
    distances = [found[one] for (found, _), one in zip(results, inside, strict=True)]
    rows = [numbers[one] for (_, numbers), one in zip(results, inside, strict=True)]
    return (
        limits,
        np.concatenate([np.empty(0, np.float32), *distances]),
        np.concatenate([np.empty(0, np.int64), *rows]),
    )
