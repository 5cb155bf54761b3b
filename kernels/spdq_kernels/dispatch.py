"""The public functions: check the arguments, split the work over threads, run the kernels, merge.

Every result is the same for any number of threads and any batch size.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import BLOCK_ROWS, TABLE_WORDS
from spdq_kernels.reference import Floats, WordProducts, word_products

Result = TypeVar("Result")

ROWS_PER_THREAD = 1 << 17
"""Fewest sums (rows times queries) worth a thread of their own: about half a millisecond of scanning."""

VECTORS_PER_THREAD = 64
"""Fewest vectors to encode that are worth a thread of their own."""


def product_tables(queries: Floats, words: Floats, metric: str, threads: int | None = None) -> Floats:
    """Return the lookup tables (nq, M, 256) float32 of queries (nq, D) float32 for words (M, K, D/M) float32.

    Smaller is closer: squared Euclidean distances for metric "l2", negated inner products for "ip", +inf in
    columns K and above. Words may have any memory layout; columns ``(M, D/M, K)`` transposed back are taken
    without a copy.
    """
    contract.words(words)
    contract.metric(metric)
    contract.vectors(queries, "queries", words.shape[0] * words.shape[2])
    return _tables(queries, words, words.shape[2], metric == "l2", threads)


def additive_tables(queries: Floats, words: Floats, metric: str, threads: int | None = None) -> Floats:
    """Return the lookup tables (nq, M, 256) float32 of queries (nq, D) float32 for words (M, K, D) float32.

    Negated inner products, +inf in columns K and above. Metric "l2" is refused: it needs the norms of the
    items.
    """
    contract.words(words)
    contract.additive_metric(metric)
    contract.vectors(queries, "queries", words.shape[2])
    return _tables(queries, words, 0, False, threads)


def scan(
    tables: Floats, blocks: NDArray[np.uint8], n_rows: int, k: int, threads: int | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Return distances (nq, k') float32 and rows (nq, k') int64 of the k' = min(k, n_rows) nearest rows.

    A distance is the float32 sum of a row's entries of tables (nq, M, 256) float32, added in the order of the
    codebooks. blocks is ``pack_codes`` of the codes. The order is (distance, row): equal for any number of
    threads, and a smaller k gives the beginning of the same list.
    """
    contract.blocks(blocks, n_rows)
    contract.tables(tables, blocks.shape[1])
    contract.integer(k, "k", 1)
    n_rows = int(n_rows)
    k = min(int(k), n_rows)
    n_queries, n_blocks = len(tables), len(blocks)
    if n_queries == 0 or k == 0:
        return np.empty((n_queries, k), np.float32), np.empty((n_queries, k), np.int64)
    workers = _workers(threads, n_queries * n_blocks * BLOCK_ROWS, ROWS_PER_THREAD)
    kernel = _kernel("scan")
    tables, blocks = _read_only(tables), _read_only(blocks)

    def part(queries: slice, block_range: slice) -> tuple[Floats, NDArray[np.int64]]:
        width = min(k, min(block_range.stop * BLOCK_ROWS, n_rows) - block_range.start * BLOCK_ROWS)
        count = queries.stop - queries.start
        distances, rows = np.empty((count, width), np.float32), np.empty((count, width), np.int64)
        kernel(tables[queries], blocks, n_rows, block_range.start, block_range.stop, distances, rows)
        return distances, rows

    if n_queries >= workers:
        parts = _run(lambda queries: part(queries, slice(0, n_blocks)), _pieces(n_queries, workers))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    parts = _run(lambda block_range: part(slice(0, n_queries), block_range), _pieces(n_blocks, workers))
    distances = np.concatenate([p[0] for p in parts], axis=1)
    rows = np.concatenate([p[1] for p in parts], axis=1)
    # The parts stand in row order, each sorted: a stable sort by distance sorts by (distance, row).
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(rows, order, axis=1)


def project(vectors: Floats, matrix: Floats, threads: int | None = None) -> Floats:
    """Return vectors (n, D) float32 times matrix (D, E) float32, (n, E) float32.

    Unlike a BLAS product the result of a row does not depend on the rows beside it.
    """
    contract.array(matrix, "matrix", np.float32, 2)
    contract.vectors(vectors, width=matrix.shape[0])
    result = np.empty((len(vectors), matrix.shape[1]), np.float32)
    _by_rows("project", vectors, (_read_only(matrix),), result, threads)
    return result


def assign(vectors: Floats, centres: Floats, threads: int | None = None) -> NDArray[np.int64]:
    """Return (n,) int64: which of centres (K, d) float32 is nearest to each of vectors (n, d) float32.

    Nearest in squared Euclidean distance, added in float32 in the order of the dimensions; ties go to the
    lowest centre.
    """
    contract.array(centres, "centres", np.float32, 2)
    if 0 in centres.shape:
        raise ValueError(f"centres must not be empty, not shape {centres.shape}")
    contract.vectors(vectors, width=centres.shape[1])
    result = np.empty(len(vectors), np.int64)
    _by_rows("assign", vectors, (_read_only(np.ascontiguousarray(centres.T)),), result, threads)
    return result


def encode_product(vectors: Floats, words: Floats, threads: int | None = None) -> NDArray[np.uint8]:
    """Return codes (n, M) uint8 of vectors (n, D) float32 for words (M, K, D/M) float32.

    Each part of a vector gets the nearest word of its codebook, the lowest among equals.
    """
    contract.words(words)
    n_codebooks, _, dim = words.shape
    contract.vectors(vectors, width=n_codebooks * dim)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    nearest = np.empty(len(vectors), np.int64)
    for m, columns in enumerate(_columns(words)):
        part = np.ascontiguousarray(vectors[:, m * dim : (m + 1) * dim])
        _by_rows("assign", part, (columns,), nearest, threads)
        codes[:, m] = nearest
    return codes


def encode_additive(
    vectors: Floats,
    words: Floats,
    beam: int = 8,
    sweeps: int = 3,
    *,
    products: WordProducts | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return codes (n, M) uint8 of vectors (n, D) float32 for words (M, K, D) float32.

    A code names one word of each codebook; their sum stands for the vector. A beam search over the
    codebooks in order, then at most ``sweeps`` sweeps of ICM (SPDQ equation 23: each codebook in turn takes
    its best word beside the others'). Ties go to the lowest word. ``products`` saves computing
    ``word_products(words)`` anew.
    """
    contract.additive_words(words)
    n_codebooks, n_words, dim = words.shape
    contract.vectors(vectors, width=dim)
    contract.integer(beam, "beam", 1)
    contract.integer(sweeps, "sweeps", 0)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    if len(vectors) == 0:
        return codes
    half_norms, pairs = word_products(words) if products is None else products
    contract.word_products(half_norms, pairs, n_codebooks, n_words)
    shared = (_columns(words), _read_only(half_norms), _read_only(pairs), int(beam), int(sweeps))
    _by_rows("encode_additive", vectors, shared, codes, threads)
    return codes


def warmup() -> None:
    """Compile every kernel, or load it from the cache."""
    for name in ("tables", "scan", "project", "assign", "encode_additive"):
        _kernel(name)


def _tables(queries: Floats, words: Floats, step: int, squared: bool, threads: int | None) -> Floats:
    result = np.full((len(queries), len(words), TABLE_WORDS), np.inf, np.float32)
    _by_rows("tables", queries, (_columns(words), step, int(squared)), result, threads)
    return result


def _by_rows(
    name: str, vectors: Floats, shared: tuple[Any, ...], result: NDArray[Any], threads: int | None
) -> None:
    """Run a kernel that treats each vector by itself, a run of rows in each thread."""
    workers = _workers(threads, len(vectors), VECTORS_PER_THREAD)
    kernel = _kernel(name)
    vectors = _read_only(vectors)
    _run(lambda piece: kernel(vectors[piece], *shared, result[piece]), _pieces(len(vectors), workers))


def _kernel(name: str) -> Any:
    from spdq_kernels import cpu

    return cpu.compiled(name)


def _columns(words: Floats) -> Floats:
    return _read_only(np.ascontiguousarray(words.transpose(0, 2, 1)))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view: kernels are compiled for this one type, be the array writable or a mapped file."""
    view = array.view()
    view.flags.writeable = False
    return view


def _workers(threads: int | None, work: int, least: int) -> int:
    """Threads to use: those asked for, else as many as the cores and the work allow."""
    count = contract.thread_count(threads)
    return count if threads is not None else max(1, min(count, work // least))


def _pieces(length: int, count: int) -> list[slice]:
    """Cut range(length) into at most ``count`` runs of nearly equal length, none of them empty."""
    bounds = [length * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds) if b > a]


def _run(function: Callable[[slice], Result], pieces: list[slice]) -> list[Result]:
    """Call the function on every piece, in threads if there are several; results in their order."""
    if len(pieces) <= 1:
        return [function(piece) for piece in pieces]
    with ThreadPoolExecutor(len(pieces)) as pool:
        return list(pool.map(function, pieces))
