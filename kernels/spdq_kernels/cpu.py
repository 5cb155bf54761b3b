"""The Numba kernels: no checks, no threads, no policy. ``dispatch`` has those, ``reference`` the definitions.

All kernels live in this one file, because a change elsewhere would not make Numba drop what it has cached.
Each has one explicit signature, because two signatures of one cached function compiled at once can be mixed
up. Importing this module compiles nothing: ``compiled`` does, one kernel at a time, so a search never waits
for the encoders.

Inputs are read-only C-contiguous arrays, results come last. Words arrive as columns (M, d, K), so that the
inner loops run over neighbouring words while each word keeps its own order of additions over the dimensions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import float32, float64, int64, njit, types, uint8, void

from spdq_kernels import cache

BLOCK_ROWS = 256
GROUP_VECTORS = 16  # vectors that meet one codebook in turn while it stays in the processor's cache

_signatures: dict[str, Any] = {}
_lock = threading.Lock()
_directory = cache.private_directory()


def _in(dtype: Any, ndim: int) -> Any:
    return types.Array(dtype, ndim, "C", readonly=True)


def _out(dtype: Any, ndim: int) -> Any:
    return types.Array(dtype, ndim, "C")


def _kernel(*arguments: Any, returns: Any = void) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        _signatures[function.__name__] = returns(*arguments)
        with cache.numba_cache(_directory):
            cached = _directory is not None
            return njit(nogil=True, cache=cached, fastmath=False, error_model="numpy")(function)

    return decorate


def compiled(name: str) -> Any:
    """Return the kernel of that name, compiled or loaded from the cache."""
    kernel = globals()[name]
    if cache.numba_settings.DISABLE_JIT or kernel.signatures:
        return kernel
    with _lock:
        # A torn cache file raises whatever its bytes happen to mean: start afresh, at last without a cache.
        for repair in (cache.discard, _stop_caching):
            try:
                return _compile(kernel, name)
            except Exception:
                repair()
        return _compile(kernel, name)


def _compile(kernel: Any, name: str) -> Any:
    if not kernel.signatures:
        kernel.compile(_signatures[name])
        kernel.disable_compile()
    return kernel


def _stop_caching() -> None:
    for name in _signatures:
        globals()[name]._cache.disable()


@_kernel(_in(float32, 1), _in(float32, 2), _out(float32, 1))
def multiply(vector, columns, sums):  # type: ignore[no-untyped-def]
    """sums (K,) = vector (d,) times columns (d, K)."""
    dim, n_words = columns.shape
    sums[:] = 0
    for d in range(0, dim - 3, 4):
        x0, x1, x2, x3 = vector[d], vector[d + 1], vector[d + 2], vector[d + 3]
        for k in range(n_words):
            total = sums[k] + x0 * columns[d, k]
            total = total + x1 * columns[d + 1, k]
            total = total + x2 * columns[d + 2, k]
            sums[k] = total + x3 * columns[d + 3, k]
    for d in range(dim - dim % 4, dim):
        for k in range(n_words):
            sums[k] += vector[d] * columns[d, k]


@_kernel(_in(float32, 1), _in(float32, 2), _out(float32, 1))
def square_differences(vector, columns, sums):  # type: ignore[no-untyped-def]
    """sums (K,) = squared distances of vector (d,) to columns (d, K)."""
    dim, n_words = columns.shape
    sums[:] = 0
    for d in range(0, dim - 3, 4):
        x0, x1, x2, x3 = vector[d], vector[d + 1], vector[d + 2], vector[d + 3]
        for k in range(n_words):
            total = sums[k] + (x0 - columns[d, k]) * (x0 - columns[d, k])
            total = total + (x1 - columns[d + 1, k]) * (x1 - columns[d + 1, k])
            total = total + (x2 - columns[d + 2, k]) * (x2 - columns[d + 2, k])
            sums[k] = total + (x3 - columns[d + 3, k]) * (x3 - columns[d + 3, k])
    for d in range(dim - dim % 4, dim):
        for k in range(n_words):
            sums[k] += (vector[d] - columns[d, k]) * (vector[d] - columns[d, k])


@_kernel(_in(float32, 2), _in(float32, 2), _out(float32, 2))
def project(vectors, matrix, results):  # type: ignore[no-untyped-def]
    """results (n, E) = vectors (n, D) times matrix (D, E)."""
    for i in range(vectors.shape[0]):
        multiply(vectors[i], matrix, results[i])


@_kernel(_in(float32, 2), _in(float32, 3), int64, int64, _out(float32, 3))
def tables(queries, columns, step, squared, results):  # type: ignore[no-untyped-def]
    """results (nq, M, 256), +inf beforehand: codebook m against the d query columns from ``step * m``."""
    n_codebooks, dim, n_words = columns.shape
    for m in range(n_codebooks):
        for i in range(queries.shape[0]):
            part = queries[i, step * m : step * m + dim]
            sums = results[i, m, :n_words]
            if squared:
                square_differences(part, columns[m], sums)
            else:
                multiply(part, columns[m], sums)
                for k in range(n_words):
                    sums[k] = -sums[k]


@_kernel(float32, int64, float32, int64, returns=types.boolean)
def comes_after(distance, row, other_distance, other_row):  # type: ignore[no-untyped-def]
    """Whether (distance, row) comes after (other_distance, other_row)."""
    return distance > other_distance or (distance == other_distance and row > other_row)


@_kernel(_out(float32, 1), _out(int64, 1), int64, float32, int64)
def sink(distances, rows, size, distance, row):  # type: ignore[no-untyped-def]
    """Replace the root of the heap (last pair on top) of that size by (distance, row)."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and comes_after(distances[right], rows[right], distances[child], rows[child]):
            child = right
        if not comes_after(distances[child], rows[child], distance, row):
            break
        distances[at], rows[at] = distances[child], rows[child]
        at = child
    distances[at], rows[at] = distance, row


@_kernel(_out(float32, 1), _out(int64, 1), int64, float32, int64)
def rise(distances, rows, size, distance, row):  # type: ignore[no-untyped-def]
    """Add (distance, row) to the heap of that size."""
    at = size
    while at > 0:
        parent = (at - 1) // 2
        if not comes_after(distance, row, distances[parent], rows[parent]):
            break
        distances[at], rows[at] = distances[parent], rows[parent]
        at = parent
    distances[at], rows[at] = distance, row


@_kernel(_in(float32, 3), _in(uint8, 3), int64, int64, int64, _out(float32, 2), _out(int64, 2))
def scan(tables, blocks, n_rows, first_block, last_block, distances, rows):  # type: ignore[no-untyped-def]
    """The k nearest rows of a range of blocks, sorted, per query; the range holds k rows at least."""
    n_codebooks = blocks.shape[1]
    k = distances.shape[1]
    sums = np.empty(BLOCK_ROWS, np.float32)
    for query in range(tables.shape[0]):
        table, heap, heap_rows = tables[query], distances[query], rows[query]
        kept = np.int64(0)
        for block in range(first_block, last_block):
            for j in range(BLOCK_ROWS):
                sums[j] = table[0, blocks[block, 0, j]]
            for m in range(1, n_codebooks):
                for j in range(BLOCK_ROWS):
                    sums[j] += table[m, blocks[block, m, j]]
            if kept == k:
                closer = 0
                for j in range(BLOCK_ROWS):
                    closer += sums[j] < heap[0]
                if closer == 0:
                    continue
            start = block * BLOCK_ROWS
            for j in range(min(BLOCK_ROWS, n_rows - start)):
                # Rows come in ascending order, so a tie with the last one kept has lost already.
                if kept < k:
                    rise(heap, heap_rows, kept, sums[j], start + j)
                    kept += 1
                elif sums[j] < heap[0]:
                    sink(heap, heap_rows, k, sums[j], start + j)
        for size in range(k - 1, 0, -1):
            last, last_row = heap[size], heap_rows[size]
            heap[size], heap_rows[size] = heap[0], heap_rows[0]
            sink(heap, heap_rows, size, last, last_row)


@_kernel(_in(float32, 2), _in(float32, 2), _out(int64, 1))
def assign(vectors, columns, nearest):  # type: ignore[no-untyped-def]
    """nearest (n,) = the first of the columns (d, K) at the smallest squared distance."""
    sums = np.empty(columns.shape[1], np.float32)
    for i in range(vectors.shape[0]):
        square_differences(vectors[i], columns, sums)
        best = 0
        for k in range(1, columns.shape[1]):
            if sums[k] < sums[best]:
                best = k
        nearest[i] = best


@_kernel(_in(float32, 1), _in(float32, 2), _in(float64, 1), _out(float64, 1))
def half_errors(vector, columns, half_norms, costs):  # type: ignore[no-untyped-def]
    """costs (K,) = half squared norms of the columns (D, K) less their inner products with vector (D,)."""
    dim, n_words = columns.shape
    costs[:] = 0
    for d in range(0, dim - 3, 4):
        x0, x1 = np.float64(vector[d]), np.float64(vector[d + 1])
        x2, x3 = np.float64(vector[d + 2]), np.float64(vector[d + 3])
        for k in range(n_words):
            total = costs[k] + x0 * columns[d, k]
            total = total + x1 * columns[d + 1, k]
            total = total + x2 * columns[d + 2, k]
            costs[k] = total + x3 * columns[d + 3, k]
    for d in range(dim - dim % 4, dim):
        for k in range(n_words):
            costs[k] += np.float64(vector[d]) * columns[d, k]
    for k in range(n_words):
        costs[k] = half_norms[k] - costs[k]


@_kernel(_out(float64, 2), _in(float32, 2), int64, _out(int64, 1), int64, _out(float64, 1))
def add_costs(unary, products, m, path, stop, costs):  # type: ignore[no-untyped-def]
    """costs (K,) of codebook m's words beside the words in path (M,) of the others before ``stop``."""
    n_words = costs.size
    for k in range(n_words):
        costs[k] = unary[m, k]
    for other in range(stop):
        if other != m:
            row = products[other * n_words + path[other]]
            for k in range(n_words):
                costs[k] += row[m * n_words + k]


@_kernel(
    _out(float64, 2), _in(float32, 2), _out(int64, 2), _out(int64, 2), _out(float64, 2), _out(float64, 1)
)
def search_paths(unary, products, paths, next_paths, errors, costs):  # type: ignore[no-untyped-def]
    """Leave the best path found in paths[0]; paths (beam, M), errors (2, beam) and costs (K,) are scratch."""
    n_codebooks, n_words = unary.shape
    beam = paths.shape[0]
    parents, words = next_paths[:, n_codebooks], next_paths[:, n_codebooks + 1]
    width = 1
    errors[0, 0] = 0
    for m in range(n_codebooks):
        found = 0
        for path in range(width):
            add_costs(unary, products, m, paths[path], m, costs)
            for k in range(n_words):
                error = errors[0, path] + costs[k]
                if found == beam and not error < errors[1, beam - 1]:
                    continue
                at = found if found < beam else beam - 1
                while at > 0 and error < errors[1, at - 1]:
                    errors[1, at], parents[at], words[at] = errors[1, at - 1], parents[at - 1], words[at - 1]
                    at -= 1
                errors[1, at], parents[at], words[at] = error, path, k
                found = min(found + 1, beam)
        for path in range(found):
            next_paths[path, :m] = paths[parents[path], :m]
            next_paths[path, m] = words[path]
        for path in range(found):
            paths[path, : m + 1] = next_paths[path, : m + 1]
            errors[0, path] = errors[1, path]
        width = found


@_kernel(_out(float64, 2), _in(float32, 2), _out(int64, 1), int64, _out(float64, 1))
def improve_path(unary, products, path, sweeps, costs):  # type: ignore[no-untyped-def]
    """ICM: give each codebook in turn its best word beside the others', until a sweep changes nothing."""
    n_codebooks, n_words = unary.shape
    for _ in range(sweeps):
        changed = False
        for m in range(n_codebooks):
            add_costs(unary, products, m, path, n_codebooks, costs)
            best = 0
            for k in range(1, n_words):
                if costs[k] < costs[best]:
                    best = k
            changed = changed or best != path[m]
            path[m] = best
        if not changed:
            break


@_kernel(_in(float32, 2), _in(float32, 3), _in(float64, 2), _in(float32, 2), int64, int64, _out(uint8, 2))
def encode_additive(vectors, columns, half_norms, products, beam, sweeps, codes):  # type: ignore[no-untyped-def]
    """codes (n, M): beam search over columns (M, D, K), then ICM; products (M * K, M * K)."""
    n_vectors = vectors.shape[0]
    n_codebooks, _, n_words = columns.shape
    unary = np.empty((GROUP_VECTORS, n_codebooks, n_words))
    costs = np.empty(n_words)
    paths = np.empty((beam, n_codebooks), np.int64)
    next_paths = np.empty((beam, n_codebooks + 2), np.int64)
    errors = np.empty((2, beam))
    for start in range(0, n_vectors, GROUP_VECTORS):
        stop = min(start + GROUP_VECTORS, n_vectors)
        for m in range(n_codebooks):
            for i in range(start, stop):
                half_errors(vectors[i], columns[m], half_norms[m], unary[i - start, m])
        for i in range(start, stop):
            search_paths(unary[i - start], products, paths, next_paths, errors, costs)
            improve_path(unary[i - start], products, paths[0], sweeps, costs)
            for m in range(n_codebooks):
                codes[i, m] = paths[0, m]
