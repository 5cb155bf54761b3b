"""Products and distances of vectors and words: lookup tables and rotations.

Words arrive as columns (M, d, K), so that the inner loops run over neighbouring words while each word keeps its own
order of additions over the dimensions.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int64

from spdq_kernels.cpu.compiler import kernel, read, write


@kernel(read(float32, 1), read(float32, 2), write(float32, 1))
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


@kernel(read(float32, 1), read(float32, 2), write(float32, 1))
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


@kernel(read(float32, 2), read(float32, 2), write(float32, 2))
def project(vectors, matrix, results):  # type: ignore[no-untyped-def]
    """results (n, E) = vectors (n, D) times matrix (D, E)."""
    for i in range(vectors.shape[0]):
        multiply(vectors[i], matrix, results[i])


@kernel(read(float32, 2), read(float32, 3), int64, int64, write(float32, 3))
def tables(queries, columns, step, squared, results):  # type: ignore[no-untyped-def]
    """results (nq, M, columns): codebook m against the d query columns from ``step * m``, +inf behind column K."""
    n_codebooks, dim, n_words = columns.shape
    for m in range(n_codebooks):
        for i in range(queries.shape[0]):
            part = queries[i, step * m : step * m + dim]
            sums = results[i, m, :n_words]
            results[i, m, n_words:] = np.inf
            if squared:
                square_differences(part, columns[m], sums)
            else:
                multiply(part, columns[m], sums)
                for k in range(n_words):
                    sums[k] = -sums[k]
