"""What both quantizers share: the scikit-learn estimator around a ``Codebooks``."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from spdq.errors import DataError, UsageError
from spdq.quantizers.codebooks import MAX_CODEBOOKS, MAX_WORDS, Codebooks, Floats, checked_vectors
from spdq.quantizers.query_metric import QueryMetric


class Quantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):  # type: ignore[misc]
    """Base of the quantizers: ``fit`` makes ``codebooks_``, everything else asks them."""

    n_codebooks: int
    n_words: int
    random_state: Any
    codebooks_: Codebooks

    @abstractmethod
    def _learn(
        self, vectors: Floats, weights: NDArray[np.float64], random: np.random.RandomState
    ) -> Codebooks:
        """Return codebooks for vectors (n, D); weights (n,) are above 0."""

    def fit(
        self,
        X: ArrayLike,
        y: object = None,
        sample_weight: ArrayLike | None = None,
        queries: ArrayLike | None = None,
    ) -> Self:
        """Learn the codebooks.

        With no more distinct vectors than words every vector becomes a word and the rest repeat one.

        With queries the words are learned, and vectors encoded, for the smallest squared error of their inner products
        (``QueryMetric``) and not of the vectors themselves. Such codebooks are searched by inner product alone.

        Parameters
        ----------
        X : (n, D) float, n >= 1; finite, at most 1e6 in size
        y : ignored
        sample_weight : None or (n,) float, not negative: a row counts as if it stood there that often
        queries : None or (m, D) float, a sample of what will be searched with, of any modality; only their directions
            count. Some hundred are enough

        Raises
        ------
        DataError
            X, the weights or the queries are not usable.
        UsageError
            A parameter is out of range.
        """
        check_range("n_codebooks", self.n_codebooks, 1, MAX_CODEBOOKS)
        check_range("n_words", self.n_words, 1, MAX_WORDS)
        vectors = self._validated(X, reset=True)
        weights = checked_weights(sample_weight, len(vectors))
        kept = weights > 0
        vectors, weights = vectors[kept], weights[kept]
        metric = None if queries is None else QueryMetric.of(queries, vectors.shape[1])
        random = check_random_state(self.random_state)
        if metric is None:
            learned = self._learn(vectors, weights, random)
        else:
            learned = metric.codebooks(self._learn(metric.vectors(vectors), weights, random))
        total, count = learned.measured_error(vectors)
        self.codebooks_ = dataclasses.replace(learned, training_error=total / count)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.uint8]:
        """Return codes (n, n_codebooks) uint8 of X (n, D) float; the same as ``encode``."""
        check_is_fitted(self)
        return self.codebooks_.encode(self._validated(X, reset=False))

    def inverse_transform(self, X: ArrayLike) -> Floats:
        """Return the vectors (n, D) float32 that codes X (n, n_codebooks) uint8 stand for; ``decode``."""
        check_is_fitted(self)
        return self.codebooks_.decode(X)

    def score(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Return minus the (weighted) mean squared distance between X (n, D) float and its decoded codes."""
        check_is_fitted(self)
        vectors = self._validated(X, reset=False)
        weights = checked_weights(sample_weight, len(vectors))
        errors = squared_errors(vectors, self.codebooks_.decode(self.codebooks_.encode(vectors)))
        return -float(np.average(errors, weights=weights))

    def encode(self, vectors: ArrayLike) -> NDArray[np.uint8]:
        """See ``Codebooks.encode``."""
        check_is_fitted(self)
        return self.codebooks_.encode(vectors)

    def decode(self, codes: ArrayLike) -> Floats:
        """See ``Codebooks.decode``."""
        check_is_fitted(self)
        return self.codebooks_.decode(codes)

    def lookup_tables(self, queries: ArrayLike, metric: str = "ip") -> Floats:
        """See ``Codebooks.lookup_tables``."""
        check_is_fitted(self)
        return self.codebooks_.lookup_tables(queries, metric)

    @property
    def _n_features_out(self) -> int:
        return self.codebooks_.n_codebooks

    def _validated(self, X: ArrayLike, reset: bool) -> Floats:
        try:
            with np.errstate(over="ignore"):
                array = validate_data(self, X, dtype=np.float32, order="C", reset=reset)
        except ValueError as error:
            raise DataError(str(error)) from error
        return checked_vectors(array, "X")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are uint8 whatever the vectors were
        return tags


def squared_errors(vectors: Floats, approximations: Floats) -> NDArray[np.float64]:
    """Return the squared distance (n,) between the rows of two (n, D) float32 arrays."""
    differences = vectors - approximations
    errors: NDArray[np.float64] = np.einsum("ij,ij->i", differences, differences, dtype=np.float64)
    return errors


def check_range(name: str, value: Any, lowest: int, highest: int) -> None:
    """Raise UsageError unless value is a whole number from lowest to highest."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (whole and lowest <= value <= highest):
        raise UsageError(f"{name} must be a whole number from {lowest} to {highest}, not {value!r}")


def checked_weights(sample_weight: ArrayLike | None, n_rows: int) -> NDArray[np.float64]:
    """Return the weights (n_rows,) float64, ones for None; DataError if they cannot be weights."""
    weights = np.ones(n_rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if weights.shape != (n_rows,):
        raise DataError(f"sample_weight must have shape {(n_rows,)}, not {weights.shape}")
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
        raise DataError("sample_weight must be finite, not negative, and not zero everywhere")
    return weights
