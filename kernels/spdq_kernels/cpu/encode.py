"""Additive encoding: beam search over the codebooks, then ICM (SPDQ, equation 23).

The error may count more along the vector than across it (Guo et al., ICML 2020, equation 4). With x the vector, d a
word of each codebook and e = (along - 1) / |x|^2, half of the error is, less a constant,
``sum |d|^2 / 2 - x.d + e (x.d) (x.d / 2 - |x|^2)  +  sum over pairs  d.d' + e (x.d) (x.d')``.

Words arrive as columns (M, d, K), so that the inner loops run over neighbouring words while each word keeps its own
order of additions over the dimensions.
"""

from __future__ import annotations

import numpy as np
from numba import float32, float64, int64, uint8

from spdq_kernels.cpu.compiler import kernel, read, write

GROUP_VECTORS = 16  # vectors that meet one codebook in turn while it stays in the processor's cache


@kernel(read(float32, 1), read(float32, 2), write(float64, 1))
def inner_products(vector, columns, inner):  # type: ignore[no-untyped-def]
    """inner (K,) = inner products of the columns (D, K) with vector (D,)."""
    dim, n_words = columns.shape
    inner[:] = 0
    for d in range(0, dim - 3, 4):
        x0, x1 = np.float64(vector[d]), np.float64(vector[d + 1])
        x2, x3 = np.float64(vector[d + 2]), np.float64(vector[d + 3])
        for k in range(n_words):
            total = inner[k] + x0 * columns[d, k]
            total = total + x1 * columns[d + 1, k]
            total = total + x2 * columns[d + 2, k]
            inner[k] = total + x3 * columns[d + 3, k]
    for d in range(dim - dim % 4, dim):
        for k in range(n_words):
            inner[k] += np.float64(vector[d]) * columns[d, k]


@kernel(read(float32, 1), write(float64, 2), read(float64, 2), float64, write(float64, 2), returns=float64)
def word_costs(vector, inner, half_norms, along, unary):  # type: ignore[no-untyped-def]
    """unary (M, K) = what words cost by themselves, from their inner products with vector (D,) and half squared norms.

    Returns e, by which the inner products of two words are multiplied beside their own product.
    """
    squared = 0.0
    for d in range(vector.size):
        squared += np.float64(vector[d]) * np.float64(vector[d])
    pull = 0.0 if along == 1 or squared == 0 else (along - 1) / squared
    n_codebooks, n_words = unary.shape
    for m in range(n_codebooks):
        for k in range(n_words):
            unary[m, k] = half_norms[m, k] - inner[m, k]
        if pull > 0:
            for k in range(n_words):
                unary[m, k] += pull * (inner[m, k] * (inner[m, k] / 2 - squared))
    return pull


@kernel(
    write(float64, 2),
    write(float64, 2),
    float64,
    read(float32, 2),
    int64,
    write(int64, 1),
    int64,
    write(float64, 1),
)
def add_costs(unary, inner, pull, products, m, path, stop, costs):  # type: ignore[no-untyped-def]
    """costs (K,) of codebook m's words beside the words in path (M,) of the others before ``stop``."""
    n_words = costs.size
    for k in range(n_words):
        costs[k] = unary[m, k]
    reached = 0.0
    for other in range(stop):
        if other != m:
            row = products[other * n_words + path[other]]
            for k in range(n_words):
                costs[k] += row[m * n_words + k]
            reached += inner[other, path[other]]
    if pull > 0:
        reached *= pull
        for k in range(n_words):
            costs[k] += reached * inner[m, k]


@kernel(
    write(float64, 2),
    write(float64, 2),
    float64,
    read(float32, 2),
    write(int64, 2),
    write(int64, 2),
    write(float64, 2),
    write(float64, 1),
)
def search_paths(unary, inner, pull, products, paths, next_paths, errors, costs):  # type: ignore[no-untyped-def]
    """Leave the best path found in paths[0]; paths (beam, M), errors (2, beam) and costs (K,) are scratch."""
    n_codebooks, n_words = unary.shape
    beam = paths.shape[0]
    parents, words = next_paths[:, n_codebooks], next_paths[:, n_codebooks + 1]
    width = 1
    errors[0, 0] = 0
    for m in range(n_codebooks):
        found = 0
        for path in range(width):
            add_costs(unary, inner, pull, products, m, paths[path], m, costs)
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


@kernel(
    write(float64, 2), write(float64, 2), float64, read(float32, 2), write(int64, 1), int64, write(float64, 1)
)
def improve_path(unary, inner, pull, products, path, sweeps, costs):  # type: ignore[no-untyped-def]
    """ICM: give each codebook in turn its best word beside the others', until a sweep changes nothing."""
    n_codebooks, n_words = unary.shape
    for _ in range(sweeps):
        changed = False
        for m in range(n_codebooks):
            add_costs(unary, inner, pull, products, m, path, n_codebooks, costs)
            best = 0
            for k in range(1, n_words):
                if costs[k] < costs[best]:
                    best = k
            changed = changed or best != path[m]
            path[m] = best
        if not changed:
            break


@kernel(
    read(float32, 2),
    read(float32, 3),
    read(float64, 2),
    read(float32, 2),
    int64,
    int64,
    float64,
    write(uint8, 2),
)
def encode_additive(vectors, columns, half_norms, products, beam, sweeps, along, codes):  # type: ignore[no-untyped-def]
    """codes (n, M): beam search over columns (M, D, K), then ICM; products (M * K, M * K)."""
    n_vectors = vectors.shape[0]
    n_codebooks, _, n_words = columns.shape
    inner = np.empty((GROUP_VECTORS, n_codebooks, n_words))
    unary = np.empty((n_codebooks, n_words))
    costs = np.empty(n_words)
    paths = np.empty((beam, n_codebooks), np.int64)
    next_paths = np.empty((beam, n_codebooks + 2), np.int64)
    errors = np.empty((2, beam))
    for start in range(0, n_vectors, GROUP_VECTORS):
        stop = min(start + GROUP_VECTORS, n_vectors)
        for m in range(n_codebooks):
            for i in range(start, stop):
                inner_products(vectors[i], columns[m], inner[i - start, m])
        for i in range(start, stop):
            vector_products = inner[i - start]
            pull = word_costs(vectors[i], vector_products, half_norms, along, unary)
            search_paths(unary, vector_products, pull, products, paths, next_paths, errors, costs)
            improve_path(unary, vector_products, pull, products, paths[0], sweeps, costs)
            for m in range(n_codebooks):
                codes[i, m] = paths[0, m]
