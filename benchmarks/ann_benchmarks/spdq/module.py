"""SPDQ for ann-benchmarks: the exact scan of product codes, with or without re-ranking by the vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq import Index, ProductQuantizer

from ..base.module import BaseANN  # type: ignore[import-not-found, misc]

METRICS = {"euclidean": "l2", "angular": "l2"}
MAX_TRAINING_ROWS = 100_000
SEED = 0


class SPDQ(BaseANN):  # type: ignore[misc]
    """A flat index of product codes.

    Parameters
    ----------
    metric : "euclidean", or "angular", for which vectors are normalised
    method_param : code_bytes, the most bytes a code may have: with width = ceil(D / code_bytes) it has
        ceil(D / width), and zeros fill up the last part; rotation, "none" or "opq"; keep_vectors, whether
        the float vectors stay in memory, which re-ranking needs

    Raises ValueError for another metric.
    """

    _index: Index
    _vectors: NDArray[np.float32]
    _results: list[NDArray[np.int64]]

    def __init__(self, metric: str, method_param: dict[str, Any]) -> None:
        if metric not in METRICS:
            raise ValueError(f"metric must be {' or '.join(METRICS)}, not {metric!r}")
        self._metric = metric
        self._code_bytes: int = method_param["code_bytes"]
        self._rotation: str = method_param["rotation"]
        self._keep_vectors: bool = method_param["keep_vectors"]
        self._rerank = 0
        self._bytes = 0

    def fit(self, X: NDArray[Any]) -> None:
        """Train on at most 100,000 rows of X (n, D), drawn with a fixed seed, and add all; ids are rows."""
        vectors = self._prepared(X)
        sample = vectors
        if len(vectors) > MAX_TRAINING_ROWS:
            rows = np.random.default_rng(SEED).choice(len(vectors), MAX_TRAINING_ROWS, replace=False)
            sample = vectors[np.sort(rows)]
        n_codebooks = vectors.shape[1] // self._width(X.shape[1])
        quantizer = ProductQuantizer(n_codebooks, rotation=self._rotation, random_state=SEED).fit(sample)
        self._index = Index(quantizer, METRICS[self._metric])
        self._index.add(vectors)
        self._bytes = self._index.stats()["bytes"]
        if self._keep_vectors:
            self._vectors = vectors
            self._bytes += vectors.nbytes
        self._index.search(vectors[:1], threads=1)  # What is compiled at first use is no query's time.

    def set_query_arguments(self, rerank: int) -> None:
        """Order the ``rerank`` nearest codes (at least the n asked for) anew by their vectors; 0: none.

        Raises ValueError below 0, and above 0 where the vectors are not kept.
        """
        if rerank < 0 or (rerank > 0 and not self._keep_vectors):
            raise ValueError(f"rerank must be 0, or with keep_vectors at least 0, not {rerank}")
        self._rerank = rerank

    def query(self, v: NDArray[Any], n: int) -> NDArray[np.int64]:
        """Return the ids (n',) of the nearest rows to v (D,), n' = min(n, number of rows), on one thread."""
        return self._nearest(v[np.newaxis], n, threads=1)[0]

    def batch_query(self, X: NDArray[Any], n: int) -> None:
        """Find the ids of the nearest rows to each of X (nq, D) by one search on all cores."""
        self._results = self._nearest(X, n, threads=None)

    def get_batch_results(self) -> list[NDArray[np.int64]]:
        """Return the ids (n',) of each query of the last batch."""
        return self._results

    def get_additional(self) -> dict[str, Any]:
        """Return what is stored beside the results: the bytes that a code has."""
        return {"code_bytes": self._index.codebooks.code_bytes}

    def get_memory_usage(self) -> float:
        """Return the kB of codes, ids and codebooks, and of the vectors where they are kept; 0 before fit."""
        return self._bytes / 1024

    def __str__(self) -> str:
        kept = ", vectors" if self._keep_vectors else ""
        return f"SPDQ(code_bytes={self._code_bytes}, rotation={self._rotation}{kept}, rerank={self._rerank})"

    def _width(self, dim: int) -> int:
        """The dimensions of one codebook's part."""
        return -(-dim // self._code_bytes)

    def _prepared(self, X: NDArray[Any]) -> NDArray[np.float32]:
        """X (n, D) as float32, normalised if angular (zeros stay), with zeros up to a whole number of parts."""
        vectors = np.asarray(X, np.float32)
        if self._metric == "angular":
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            norms[norms == 0] = 1
            vectors = (vectors / norms).astype(np.float32)
        missing = -vectors.shape[1] % self._width(vectors.shape[1])
        return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors

    def _nearest(self, X: NDArray[Any], n: int, threads: int | None) -> list[NDArray[np.int64]]:
        queries = self._prepared(X)
        _, ids = self._index.search(queries, max(n, self._rerank), threads=threads)
        if self._rerank == 0:
            return list(ids)
        return [self._reranked(query, found)[:n] for query, found in zip(queries, ids, strict=True)]

    def _reranked(self, query: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids by true distance, equal ones by id."""
        candidates = self._vectors[ids]
        if self._metric == "angular":
            distances = -np.einsum("ij,j->i", candidates, query)
        else:
            differences = candidates - query
            distances = np.einsum("ij,ij->i", differences, differences)
        return ids[np.lexsort((ids, distances))]
