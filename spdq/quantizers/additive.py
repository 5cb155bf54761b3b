"""Additive quantization: a vector is the sum of one word from each of M codebooks, all of full width.

Symbols of the paper: D the words, B the codes as stacked 1-of-K vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve
from scipy.sparse import csr_array

from spdq.errors import DataError, UsageError
from spdq.quantizers.clusters import cluster
from spdq.quantizers.codebooks import MAX_ADDITIVE_WORDS, MAX_ALONG, Codebooks, Floats, checked_vectors
from spdq.quantizers.estimator import Quantizer, check_range, checked_weights, squared_errors

LLOYD_ITERATIONS = 10


class AdditiveQuantizer(Quantizer):
    """Additive quantizer (Babenko and Lempitsky 2014) as SPDQ's equations 7 and 21 to 23 use it.

    Residual k-means gives the first words, so that no codebook collapses; then all words together and the
    codes are improved by turns.

    Parameters
    ----------
    n_codebooks : M, bytes of a code
    n_words : K, words in each codebook, at most 256
    n_iterations : turns; 0 leaves the residual quantizer
    ridge : how strongly a word is held to its previous place: one that ``ridge`` vectors use goes half of the
        way. Below 10 the words fit the training vectors but not new ones, unless there are many.
    along : how many times the error along a vector counts when it is encoded, see Codebooks; the words are learned
        with all directions alike, since turns that are not mend coarse codebooks far more slowly
    random_state : None, int or numpy RandomState

    Attributes
    ----------
    codebooks_ : Codebooks, words (n_codebooks, n_words, D) float32
    """

    def __init__(
        self,
        n_codebooks: int = 8,
        n_words: int = 256,
        n_iterations: int = 4,
        ridge: float = 30.0,
        along: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.n_codebooks = n_codebooks
        self.n_words = n_words
        self.n_iterations = n_iterations
        self.ridge = ridge
        self.along = along
        self.random_state = random_state

    def _learn(
        self, vectors: Floats, weights: NDArray[np.float64], random: np.random.RandomState
    ) -> Codebooks:
        check_range("n_iterations", self.n_iterations, 0, 1000)
        _check_ridge(self.ridge)
        if not 1 <= self.along <= MAX_ALONG:
            raise UsageError(f"along must be from 1 to {MAX_ALONG:g}, not {self.along!r}")
        if self.n_codebooks * self.n_words > MAX_ADDITIVE_WORDS:
            raise UsageError(
                f"additive codebooks have at most {MAX_ADDITIVE_WORDS} words in all, "
                f"not {self.n_codebooks} times {self.n_words}"
            )
        words, codes = residual_words(vectors, weights, self.n_codebooks, self.n_words, random)
        for iteration in range(self.n_iterations):
            if iteration:
                words = reseed_unused(words, codes, vectors, weights)
                codes = self._encoded(Codebooks(words, "additive"), vectors)
            words = update_words(codes, vectors, words, self.ridge, weights)
        return Codebooks(words, "additive", along=self.along)

    def _encoded(self, codebooks: Codebooks, vectors: Floats) -> NDArray[np.uint8]:
        """Codes (n, M) of vectors (n, D), each of its own: most of the work, which may be done in parts."""
        return codebooks.encode(vectors)


def residual_words(
    vectors: Floats,
    weights: NDArray[np.float64],
    n_codebooks: int,
    n_words: int,
    random: np.random.RandomState,
) -> tuple[Floats, NDArray[np.uint8]]:
    """Return words (M, K, D) and codes (n, M) of a residual quantizer: k-means of what is left, M times."""
    words = np.empty((n_codebooks, n_words, vectors.shape[1]), np.float32)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    residuals = vectors.copy()
    for m in range(n_codebooks):
        words[m], codes[:, m] = cluster(residuals, n_words, weights, random, LLOYD_ITERATIONS)
        residuals -= words[m, codes[:, m]]
    return words, codes


def update_words(
    codes: NDArray[np.uint8],
    targets: ArrayLike,
    words: Floats,
    ridge: float,
    sample_weight: ArrayLike | None = None,
) -> Floats:
    """Return the words (M, K, D) float32 that fit best to targets (n, D) float with codes (n, M) uint8.

    SPDQ equations 21 and 22, ``D = T B' (B B')^-1`` for targets T, with ``ridge`` times the squared distance
    to the previous words (M, K, D) float32 added, because B B' is always singular: each block of B sums to
    one. Solved in float64 by way of words or of vectors, whichever are fewer. Words that no code names stay
    where they are.

    Raises
    ------
    DataError
        Codes and targets have different lengths, or another width than the words.
    UsageError
        ``ridge`` is not above 0.
    """
    _check_ridge(ridge)
    vectors = checked_vectors(targets, "targets")
    if len(codes) != len(vectors):
        raise DataError(f"{len(codes)} codes for {len(vectors)} targets")
    n_codebooks, n_words, dim = words.shape
    if vectors.shape[1] != dim:
        raise DataError(f"targets have {vectors.shape[1]} columns, the words {dim}")
    scale = np.sqrt(checked_weights(sample_weight, len(vectors)))
    missing = scale[:, None] * (vectors - Codebooks(words, "additive").decode(codes)).astype(np.float64)
    columns = codes + n_words * np.arange(n_codebooks)
    used, columns = np.unique(columns, return_inverse=True)
    entries = np.repeat(scale, n_codebooks)
    starts = np.arange(0, columns.size + 1, n_codebooks)
    members = csr_array((entries, columns.ravel(), starts), shape=(len(vectors), len(used)))
    if len(used) <= len(vectors):
        moves = _solve(members.T @ members, ridge, members.T @ missing)
    else:
        moves = members.T @ _solve(members @ members.T, ridge, missing)
    updated = words.reshape(-1, dim).copy()
    updated[used] += moves.astype(np.float32)
    return updated.reshape(words.shape)


def _check_ridge(ridge: float) -> None:
    if not ridge > 0:
        raise UsageError(f"ridge must be above 0, not {ridge!r}")


def _solve(gram: csr_array, ridge: float, right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``(gram + ridge I) x = right``."""
    matrix = gram.toarray()
    matrix[np.diag_indices_from(matrix)] += ridge
    solution: NDArray[np.float64] = solve(matrix, right, assume_a="pos", overwrite_a=True, check_finite=False)
    return solution


def reseed_unused(
    words: Floats, codes: NDArray[np.uint8], vectors: Floats, weights: NDArray[np.float64]
) -> Floats:
    """Move words that no code names to where they would repair the worst coded vectors, one vector each."""
    missing = vectors - Codebooks(words, "additive").decode(codes)
    errors = weights * squared_errors(missing, np.zeros_like(missing))
    worst = iter(np.argsort(-errors, kind="stable")[: np.count_nonzero(errors)])
    moved = words.copy()
    for m in range(len(words)):
        for word in np.setdiff1d(np.arange(words.shape[1]), codes[:, m]):
            row = next(worst, None)
            if row is None:
                return moved
            moved[m, word] = words[m, codes[row, m]] + missing[row]
    return moved
