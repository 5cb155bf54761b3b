"""k-means for codebooks: scikit-learn's, made deterministic and content with fewer vectors than words."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spdq.quantizers.codebooks import Floats
from spdq_kernels import project


def cluster(
    vectors: Floats,
    n_words: int,
    weights: NDArray[np.float64],
    random: np.random.RandomState,
    max_iter: int,
    start: Floats | None = None,
) -> tuple[Floats, NDArray[np.int64]]:
    """Return words (n_words, d) float32 and the word (n,) int64 of each of vectors (n, d) float32.

    Lloyd's algorithm from k-means++ seeds, or from ``start`` (n_words, d). With no more distinct vectors than
    words the words are those vectors, the rest repeat the first one.
    """
    few = _few_distinct(vectors, n_words)
    if few is not None:
        return few
    # Sums over several OpenMP threads are added in the order in which the threads happen to finish.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if start is None:
            start = seeds(vectors, n_words, weights, random)
        model = KMeans(n_words, init=start, n_init=1, max_iter=max_iter, random_state=random)
        model.fit(vectors, sample_weight=weights)
    return model.cluster_centers_.astype(np.float32, copy=False), model.labels_.astype(np.int64)


def seeds(
    vectors: Floats, n_words: int, weights: NDArray[np.float64], random: np.random.RandomState
) -> Floats:
    """Return n_words of vectors (n, d) float32 chosen by k-means++ (Arthur and Vassilvitskii 2007).

    scikit-learn's own tries several candidates a seed in float64: five times the cost of all of Lloyd's
    iterations, for no gain after them.
    """
    centred = vectors - np.average(vectors, axis=0, weights=weights).astype(np.float32)
    norms = np.einsum("ij,ij->i", centred, centred)
    closest = np.full(len(vectors), np.inf, np.float32)
    chance = weights
    rows = []
    for _ in range(n_words):
        row = int(np.searchsorted(np.cumsum(chance), random.uniform() * chance.sum(), side="right"))
        rows.append(min(row, len(vectors) - 1))
        distances = norms - 2 * (centred @ centred[rows[-1]]) + norms[rows[-1]]
        closest = np.minimum(closest, np.maximum(distances, 0))
        closest[rows[-1]] = 0
        chance = weights * closest if closest.any() else weights
    return vectors[rows]


def _few_distinct(vectors: Floats, n_words: int) -> tuple[Floats, NDArray[np.int64]] | None:
    """The answer where every distinct vector can have a word of its own, else None."""
    if len(vectors) > n_words and len(np.unique(project(vectors, _mixture(vectors.shape[1])))) > n_words:
        return None
    distinct, labels = np.unique(vectors, axis=0, return_inverse=True)
    if len(distinct) > n_words:
        return None
    words = np.repeat(distinct[:1], n_words, axis=0)
    words[: len(distinct)] = distinct
    return words, labels.reshape(-1).astype(np.int64)


def _mixture(dim: int) -> Floats:
    """Weights (dim, 1) of a sum that tells most vectors apart, cheaper than comparing whole vectors."""
    return np.random.default_rng(0).standard_normal((dim, 1)).astype(np.float32)
