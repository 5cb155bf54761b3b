"""From features to what a tower is fed: each map is fitted once on training rows and stored with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from spdq.errors import DataError

Floats = NDArray[np.float32]
Features: TypeAlias = "NDArray[Any] | sparse.csr_matrix"

NARROW = 256
"""Dense features up to this width are standardised column by column; wider ones are projected."""
MAX_COLUMNS = 4096
"""Sparse features up to this width are fed column by column; wider ones are projected."""
LENGTH = 16.0
"""Mean length of a tower's input: about 1 a column of the projections, what initial weights are made for."""
MANY_ROWS = 64
"""Terms of a kernel basis in more training rows than this get their coefficients summed up beforehand."""
_LOG_FLOOR = 1e-4
_SMALLEST_EIGENVALUE = 1e-3


class InputMap(Protocol):
    """A fitted map from features (n, d) to tower inputs (n, ``out_width``) float32."""

    kind: ClassVar[str]

    @property
    def in_width(self) -> int:
        """Width of the features."""

    @property
    def out_width(self) -> int:
        """Width of the tower's input."""

    def __call__(self, features: Features) -> Floats:
        """Map (n, in_width) features, dense or CSR."""

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Everything needed to rebuild the map."""


@dataclass(frozen=True, eq=False)
class Standardise:
    """Columns with mean 0 and deviation 1; of a logarithm where ``log`` is 1 (non-negative topic weights)."""

    kind: ClassVar[str] = "standardise"
    mean: Floats
    scale: Floats
    log: NDArray[np.uint8]

    @classmethod
    def fit(cls, features: Floats, log: bool) -> Standardise:
        """Fit on (n, d) training rows; a constant column stays 0."""
        rows = np.log(features + _LOG_FLOOR) if log else features
        deviation = rows.std(axis=0)
        scale = np.where(deviation > 1e-6, deviation, 1.0)
        return cls(rows.mean(axis=0), scale.astype(np.float32), np.array([log], np.uint8))

    def __post_init__(self) -> None:
        _require(self, self.mean.ndim == 1 and self.scale.shape == self.mean.shape and self.log.shape == (1,))

    @property
    def in_width(self) -> int:
        return len(self.mean)

    @property
    def out_width(self) -> int:
        return len(self.mean)

    def __call__(self, features: Features) -> Floats:
        rows = _dense(features)
        if self.log[0]:
            rows = np.log(np.maximum(rows, 0) + _LOG_FLOOR)
        return np.asarray((rows - self.mean) / self.scale, np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return _fields(self)


@dataclass(frozen=True, eq=False)
class Principal:
    """Centred rows on their leading principal axes, with one common scale."""

    kind: ClassVar[str] = "principal"
    mean: Floats
    axes: Floats

    @classmethod
    def fit(cls, features: Floats, width: int) -> Principal:
        """Fit on (n, d) training rows; at most ``width`` axes, the scale is part of them."""
        mean = features.mean(axis=0)
        _, _, axes = linalg.svd(features - mean, full_matrices=False, lapack_driver="gesdd")
        axes = axes[:width].T
        length = np.linalg.norm((features - mean) @ axes, axis=1).mean()
        return cls(mean, np.ascontiguousarray(axes * (LENGTH / max(length, 1e-6)), np.float32))

    def __post_init__(self) -> None:
        _require(self, self.axes.ndim == 2 and self.mean.shape == self.axes.shape[:1])

    @property
    def in_width(self) -> int:
        return len(self.mean)

    @property
    def out_width(self) -> int:
        return int(self.axes.shape[1])

    def __call__(self, features: Features) -> Floats:
        return np.asarray((_dense(features) - self.mean) @ self.axes, np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return _fields(self)


@dataclass(frozen=True, eq=False)
class Columns:
    """Sparse rows column by column, each with its weight, then of one length. An empty row stays all zero.

    Where the columns are few they are better left as they are: on principal axes the optimizer, which scales every
    weight's step alike, learns the noise of the weak axes too (measured on MIRFlickr tags).
    """

    kind: ClassVar[str] = "columns"
    weights: Floats

    def __post_init__(self) -> None:
        _require(self, self.weights.ndim == 1)

    @property
    def in_width(self) -> int:
        return len(self.weights)

    @property
    def out_width(self) -> int:
        return len(self.weights)

    def __call__(self, features: Features) -> Floats:
        return LENGTH * np.asarray(_weighted(features, self.weights).toarray(), np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return _fields(self)


@dataclass(frozen=True, eq=False)
class KernelBasis:
    """Sparse rows in the span of the training rows (kernel PCA with the linear kernel), then of one length.

    Terms that never occur together with training terms map to nothing, so they cannot leak noise into every
    class, as a random projection of them does. A text without a known term stays all zero.
    """

    kind: ClassVar[str] = "kernel-basis"
    weights: Floats
    data: Floats
    indices: NDArray[np.int32]
    indptr: NDArray[np.int64]
    coefficients: Floats

    @classmethod
    def fit(cls, rows: sparse.csr_matrix, width: int, weights: Floats) -> KernelBasis:
        """Fit on (n, d) CSR training rows, columns weighted by ``weights`` (d,); at most ``width`` directions."""
        basis = _weighted(rows, weights)
        gram = (basis @ basis.T).toarray().astype(np.float64)
        n = len(gram)
        values, vectors = linalg.eigh(gram, subset_by_index=[max(0, n - width), n - 1])
        coefficients = vectors / np.sqrt(np.maximum(values, _SMALLEST_EIGENVALUE))
        return cls(
            weights.astype(np.float32),
            basis.data.astype(np.float32),
            basis.indices.astype(np.int32),
            basis.indptr.astype(np.int64),
            coefficients[:, ::-1].astype(np.float32),
        )

    def __post_init__(self) -> None:
        _require(self, self.weights.ndim == self.indptr.ndim == 1 and self.coefficients.ndim == 2)
        n, d = len(self.indptr) - 1, len(self.weights)
        _require(self, n == len(self.coefficients))
        try:
            rows = sparse.csr_matrix((self.data, self.indices, self.indptr), shape=(n, d))
            # Compiled code follows these indices without looking.
            rows.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"input map {self.kind!r}: {error}") from error

    @property
    def in_width(self) -> int:
        return len(self.weights)

    @property
    def out_width(self) -> int:
        return int(self.coefficients.shape[1])

    def __call__(self, features: Features) -> Floats:
        rows = _weighted(features, self.weights)
        if rows.shape[0] == 1:
            return LENGTH * _unit(self._one(rows))
        return LENGTH * _unit((rows @ self._transposed).toarray() @ self.coefficients)

    def _one(self, row: sparse.csr_matrix) -> Floats:
        """The product of one row, a query, term by term: its few terms need a small part of the coefficients.

        A term of many training rows has its sum of coefficients at hand.
        """
        places, sums = self._frequent
        place = places[row.indices]
        frequent = place >= 0
        rare = sparse.csr_matrix(
            (row.data[~frequent], row.indices[~frequent], [0, (~frequent).sum()]), row.shape
        )
        rest = (rare @ self._transposed) @ self.coefficients
        return np.asarray(row.data[frequent] @ sums[place[frequent]] + rest, np.float32)

    @cached_property
    def _transposed(self) -> sparse.csr_matrix:
        """Training rows by term, (d, n) CSR."""
        shape = len(self.indptr) - 1, len(self.weights)
        return sparse.csr_matrix((self.data, self.indices, self.indptr), shape=shape).T.tocsr()

    @cached_property
    def _frequent(self) -> tuple[NDArray[np.int64], Floats]:
        """Of the terms of many training rows, their places (d,), -1 for the others, and sums of coefficients."""
        terms = np.flatnonzero(np.diff(self._transposed.indptr) > MANY_ROWS)
        places = np.full(len(self.weights), -1)
        places[terms] = np.arange(len(terms))
        return places, self._transposed[terms] @ self.coefficients

    def tensors(self) -> dict[str, NDArray[Any]]:
        return _fields(self)


_KINDS: dict[str, type[Standardise] | type[Principal] | type[Columns] | type[KernelBasis]] = {
    kind.kind: kind for kind in (Standardise, Principal, Columns, KernelBasis)
}


def input_map(kind: str, tensors: Mapping[str, NDArray[Any]]) -> InputMap:
    """Rebuild a map from its ``kind`` and ``tensors()``.

    Raises
    ------
    DataError
        Unknown kind, or tensors that are missing, superfluous or do not fit together.
    """
    if kind not in _KINDS:
        raise DataError(f"unknown input map {kind!r}: expected one of {', '.join(sorted(_KINDS))}")
    names = {field.name for field in fields(_KINDS[kind])}
    if set(tensors) != names:
        raise DataError(f"input map {kind!r}: expected tensors {sorted(names)}, got {sorted(tensors)}")
    return _KINDS[kind](**tensors)


def by_region(apply: Callable[[Floats], Floats], features: Features, regions: int) -> Floats:
    """What a map makes of each of the ``regions`` equally long parts of rows (n, d), one after the other again."""
    rows = _dense(features)
    parts = apply(rows.reshape(len(rows) * regions, rows.shape[1] // regions))
    return parts.reshape(len(rows), regions * parts.shape[1])


def fit_image_input(features: Features, width: int, regions: int = 1) -> InputMap:
    """Fit the image tower's input on training rows (n, d), or on each of the equally long parts that make a row."""
    rows = _dense(features)
    rows = rows.reshape(len(rows) * regions, rows.shape[1] // regions)
    return Standardise.fit(rows, log=False) if rows.shape[1] <= NARROW else Principal.fit(rows, width)


def fit_text_input(features: Features, width: int, weighted: bool) -> InputMap:
    """Fit the text tower's input on training rows (n, d), dense or CSR.

    Wide sparse rows get a kernel basis; unless they are ``weighted`` already, each column is weighted by its inverse
    document frequency. Narrow dense rows are standardised, after a logarithm where no value is negative.
    """
    if sparse.issparse(features):
        documents = np.asarray((features != 0).sum(axis=0)).ravel()
        columns = (
            np.ones(len(documents)) if weighted else np.log((1 + features.shape[0]) / (1 + documents)) + 1
        )
        weights: Floats = columns.astype(np.float32)
        if features.shape[1] <= MAX_COLUMNS:
            return Columns(weights)
        return KernelBasis.fit(sparse.csr_matrix(features, dtype=np.float32), width, weights)
    rows = _dense(features)
    if rows.shape[1] <= NARROW:
        return Standardise.fit(rows, log=bool((rows >= 0).all()))
    return Principal.fit(rows, width)


def _dense(features: Features) -> Floats:
    return np.asarray(features.toarray() if isinstance(features, sparse.csr_matrix) else features, np.float32)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)


def _weighted(features: Features, weights: Floats) -> sparse.csr_matrix:
    """Rows with their columns weighted, then of length 1; an empty row stays.

    Arrays, not sparse products: for one row, a query, these take longer than all else.
    """
    rows = sparse.csr_matrix(features, dtype=np.float32, copy=True)
    rows.data *= weights[rows.indices]
    sizes = np.diff(rows.indptr)
    filled = sizes > 0
    if filled.any():
        lengths = np.sqrt(np.add.reduceat(rows.data**2, rows.indptr[:-1][filled]))
        rows.data *= np.repeat(1 / np.maximum(lengths, 1e-12), sizes[filled])
    return rows


def _require(made: Standardise | Principal | Columns | KernelBasis, fits: bool) -> None:
    if not fits:
        shapes = ", ".join(f"{name} {tensor.shape}" for name, tensor in _fields(made).items())
        raise DataError(f"input map {made.kind!r}: tensors do not fit together ({shapes})")


def _fields(instance: Standardise | Principal | Columns | KernelBasis) -> dict[str, NDArray[Any]]:
    return {field.name: getattr(instance, field.name) for field in fields(instance)}
