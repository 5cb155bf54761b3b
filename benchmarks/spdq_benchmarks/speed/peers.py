"""The other libraries, each as a function (queries, k) -> (distances, rows) on one thread over codes or vectors.

None of them is needed to install SPDQ: Faiss comes with the extra ``faiss``, ScaNN and usearch are used where they
are found.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spdq_benchmarks.speed.data import DIM, CodeKind, Codes, Floats

Search = Callable[[Any, int], tuple[NDArray[Any], NDArray[np.int64]]]

PEERS = ("faiss", "scann", "usearch")
CELLS = 1024
"""Lists of the coarse index."""
PROBES = 64
"""Lists it looks into."""
CELL_TRAINING_ROWS = 64 * CELLS
FLAT_ROWS = 1 << 16
"""Vectors that NumPy's brute force compares at a time."""


def absent_peers() -> list[str]:
    """The libraries that are not installed."""
    return [name for name in PEERS if find_spec(name) is None]


def faiss() -> Any:
    """The module, on one thread."""
    module = import_module("faiss")
    module.omp_set_num_threads(1)
    return module


def index_pq(words: Floats, codes: Codes, kind: CodeKind) -> Any:
    """Faiss's flat product-quantized index of words (M, K, 64 / M) float32 and codes (n, M) uint8."""
    library = faiss()
    index = library.IndexPQ(DIM, kind.n_codebooks, kind.bits)
    library.copy_array_to_vector(np.ascontiguousarray(words).ravel(), index.pq.centroids)
    index.is_trained = True
    index.add_sa_codes(codes if kind.bits == 8 else codes[:, ::2] | codes[:, 1::2] << 4)
    return index


def fast_scan(index: Any) -> Any:
    """Faiss's 4-bit FastScan index of the codes of an ``index_pq``."""
    return faiss().IndexPQFastScan(index)


def cells_fast_scan(words: Floats, kind: CodeKind, vectors: Floats) -> Any:
    """Faiss's FastScan behind a coarse index that looks into 64 of 1,024 lists, its words ours."""
    library = faiss()
    cells = min(CELLS, len(vectors) // 64)
    coarse = library.IndexFlatL2(DIM)
    index = library.IndexIVFPQ(coarse, DIM, cells, kind.n_codebooks, kind.bits)
    index.by_residual = False
    training = library.Kmeans(DIM, cells, niter=8, seed=1)
    training.train(vectors[:CELL_TRAINING_ROWS])
    coarse.add(training.centroids)
    library.copy_array_to_vector(np.ascontiguousarray(words).ravel(), index.pq.centroids)
    index.is_trained = True
    index.add(vectors)
    fast = library.IndexIVFPQFastScan(index)
    fast.nprobe = PROBES
    return fast


def binary_flat(bits: Codes) -> Search:
    """Faiss's scan of packed bits (n, bytes) uint8 by Hamming distance."""
    index = faiss().IndexBinaryFlat(8 * bits.shape[1])
    index.add(bits)
    return search_of(index)


def search_of(index: Any) -> Search:
    """A Faiss index as a function that keeps it alive."""

    def search(queries: Any, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        distances, rows = index.search(queries, k)
        return distances, rows

    return search


def numpy_flat(vectors: Floats) -> Search:
    """Squared distances to all vectors (n, 64) float32 by a matrix product, one BLAS thread; no codes."""
    squares = np.einsum("nd,nd->n", vectors, vectors)

    def search(queries: Any, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        best, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        with threadpool_limits(1):
            for start in range(0, len(vectors), FLAT_ROWS):
                some = slice(start, start + FLAT_ROWS)
                found = squares[some] - 2 * (queries @ vectors[some].T)
                near = np.argpartition(found, min(k, found.shape[1]) - 1, axis=1)[:, :k]
                best = np.concatenate([best, np.take_along_axis(found, near, axis=1)], axis=1)
                rows = np.concatenate([rows, near + start], axis=1)
                order = np.argsort(best, axis=1)[:, :k]
                best = np.take_along_axis(best, order, axis=1)
                rows = np.take_along_axis(rows, order, axis=1)
        return best + np.einsum("nd,nd->n", queries, queries)[:, None], rows

    return search


def scann_hashing(kind: CodeKind, vectors: Floats, k: int) -> Search:
    """ScaNN's brute force over codes of ``kind`` that it trains itself; no partitions, no reordering."""
    builder = import_module("scann").scann_ops_pybind.builder(vectors, k, "squared_l2")
    searcher = builder.set_n_training_threads(1).score_ah(DIM // kind.n_codebooks).build()

    def search(queries: Any, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        rows, distances = searcher.search_batched(queries, final_num_neighbors=k)
        return distances, rows.astype(np.int64)

    return search


def usearch_bits(bits: Codes) -> Search:
    """The exact search of usearch over packed bits (n, bytes) uint8."""
    module = import_module("usearch.index")

    def search(queries: Any, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        found = module.search(bits, queries, k, module.MetricKind.Hamming, exact=True, threads=1)
        shape = (len(queries), k)
        return np.reshape(found.distances, shape), np.reshape(found.keys, shape).astype(np.int64)

    return search
