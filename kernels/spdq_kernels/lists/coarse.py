"""Which lists: of vectors to keep, of queries to search; and the part of tables that queries have in residual codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.dispatch import VECTORS_PER_THREAD, compiled, product_tables
from spdq_kernels.lists.parts import Centroids
from spdq_kernels.reference import Floats
from spdq_kernels.threads import pieces, run, workers

Probes = tuple[Floats, NDArray[np.int64]]
"""Distances and lists, (nq, n_probe) each."""


def assign(vectors: Floats, centroids: Centroids, threads: int | None = None) -> NDArray[np.int64]:
    """Return (n,) int64: the list each of vectors (n, d) float32 belongs to.

    That is the one whose centroid is nearest in squared Euclidean distance, added in float32 in the order of the
    dimensions; the lowest list among equals.
    """
    _finite(vectors, "vectors", centroids)
    result = np.empty(len(vectors), np.int64)
    kernel = compiled("assign")

    def part(chosen: slice) -> None:
        kernel(vectors[chosen], centroids.columns, result[chosen])

    run(part, pieces(len(vectors), workers(threads, len(vectors), VECTORS_PER_THREAD)))
    return result


def nearest(
    queries: Floats, centroids: Centroids, n_probe: int, metric: str = "l2", threads: int | None = None
) -> Probes:
    """Return distances (nq, n_probe) float32 and lists (nq, n_probe) int64 of the lists nearest to queries (nq, d).

    Distances are those of ``assign``, for metric "ip" negated inner products, added in the same order; the order of
    lists is (distance, list). The distances are the offsets of residual codes. Above n_lists, n_probe is n_lists.
    """
    _finite(queries, "queries", centroids)
    contract.metric(metric)
    contract.integer(n_probe, "n_probe", 1)
    n_probe = min(int(n_probe), centroids.n_lists)
    distances = np.empty((len(queries), n_probe), np.float32)
    lists = np.empty((len(queries), n_probe), np.int64)
    kernel, squared = compiled("nearest_lists"), int(metric == "l2")

    def part(chosen: slice) -> None:
        kernel(queries[chosen], centroids.columns, squared, distances[chosen], lists[chosen])

    run(part, pieces(len(queries), workers(threads, len(queries), VECTORS_PER_THREAD)))
    return distances, lists


def residual_tables(
    queries: Floats, words: Floats, metric: str, threads: int | None = None, *, bits: int = 8
) -> Floats:
    """Return the tables (nq, M, 2**bits) float32 of queries (nq, D) float32 that do not depend on the list.

    Negated inner products with words (M, K, D/M) float32 of product codebooks, twice those for metric "l2"; columns K
    and above are +inf.
    """
    tables = product_tables(queries, words, "ip", threads, bits=bits)
    contract.metric(metric)
    return tables * np.float32(2) if metric == "l2" else tables


def _finite(vectors: Any, name: str, centroids: Centroids) -> None:
    if not isinstance(centroids, Centroids):
        raise TypeError(f"centroids must be Centroids, not {type(centroids).__name__}")
    contract.array(vectors, name, np.float32, 2)
    if vectors.shape[1] != centroids.dim:
        raise ValueError(
            f"{name} must have {centroids.dim} columns to match the centroids, not {vectors.shape[1]}"
        )
    if vectors.size and not (np.isfinite(vectors.min()) and np.isfinite(vectors.max())):
        raise ValueError(f"{name} must be finite: they contain NaN or infinity")
