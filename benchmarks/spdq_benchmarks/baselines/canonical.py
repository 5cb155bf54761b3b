"""The generalized eigenproblem of canonical correlation, which half of the linear methods solve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from spdq_benchmarks.baselines.contract import Floats, Pairs

Doubles = NDArray[np.float64]

FLOOR = 1e-10
"""Least ridge, as a share of the mean variance, with which a covariance can still be factored."""


@dataclass(frozen=True, eq=False)
class Centred:
    """Training inputs (n, d) and (n, e) float64 less their means (d,) and (e,)."""

    image: Doubles
    text: Doubles
    image_mean: Doubles
    text_mean: Doubles

    @classmethod
    def of(cls, pairs: Pairs) -> Centred:
        image, text = pairs.image.astype(np.float64), pairs.text.astype(np.float64)
        image_mean, text_mean = image.mean(axis=0), text.mean(axis=0)
        return cls(image - image_mean, text - text_mean, image_mean, text_mean)


@dataclass(frozen=True, eq=False)
class LinearMap:
    """``(rows - mean) @ weights + offset``, float32 rows in (n, d) and out (n, r).

    ``mean`` is (d,), ``weights`` (d, r), ``offset`` (r,) or one for all.
    """

    mean: Doubles
    weights: Doubles
    offset: Doubles | float = 0.0

    def __call__(self, rows: Floats) -> Floats:
        return ((rows - self.mean) @ self.weights + self.offset).astype(np.float32)


class Whitening:
    """Where both covariances are the identity: ``A'Cxx A`` and ``B'Cyy B`` = I is ``U'U`` and ``V'V`` = I.

    Parameters
    ----------
    data
        Centred inputs; Cxx = X'X / n and Cyy likewise.
    ridge
        Added to each covariance's diagonal, as a share of the mean variance: the same number means the same
        on any scale and width. A column that never varies gets the ridge alone.
    """

    def __init__(self, data: Centred, ridge: float) -> None:
        self._image = _factor(data.image, ridge)
        self._text = _factor(data.text, ridge)

    def cross(self, cross: Doubles) -> Doubles:
        """A cross-covariance (d, e) in white coordinates; its singular vectors solve the eigenproblem."""
        return self.text_rows(self.image_rows(cross.T).T)

    def image_rows(self, rows: Doubles) -> Doubles:
        """Centred images (n, d) in white coordinates."""
        return np.asarray(linalg.solve_triangular(self._image, rows.T, lower=True).T, np.float64)

    def text_rows(self, rows: Doubles) -> Doubles:
        """Centred texts (n, e) in white coordinates."""
        return np.asarray(linalg.solve_triangular(self._text, rows.T, lower=True).T, np.float64)

    def image_directions(self, white: Doubles) -> Doubles:
        """Directions (d, r) in the input space of white ones (d, r)."""
        return np.asarray(linalg.solve_triangular(self._image, white, lower=True, trans="T"), np.float64)

    def text_directions(self, white: Doubles) -> Doubles:
        """Directions (e, r) in the input space of white ones (e, r)."""
        return np.asarray(linalg.solve_triangular(self._text, white, lower=True, trans="T"), np.float64)


@dataclass(frozen=True, eq=False)
class Canonical:
    """Directions (d, r) and (e, r) that agree most, and how much (r,), descending."""

    image: Doubles
    text: Doubles
    correlations: Doubles


def canonical(data: Centred, ridge: float, count: int, cross: Doubles | None = None) -> Canonical:
    """Solve ``Cxy Cyy^-1 Cyx a = rho^2 Cxx a`` for the ``count`` largest rho, or as many as there are.

    ``cross`` (d, e) stands in for Cxy = X'Y / n. Directions have variance 1 (with the ridge); those with rho = 0
    are left out, but for the first.
    """
    white = Whitening(data, ridge)
    crossed = data.image.T @ data.text / len(data.image) if cross is None else cross
    left, values, right = linalg.svd(white.cross(crossed), full_matrices=False)
    kept = max(1, min(count, int((values > values[0] * 1e-9).sum())))
    return Canonical(
        white.image_directions(left[:, :kept]), white.text_directions(right[:kept].T), values[:kept]
    )


def leading_pair(matrix: Doubles) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Singular vectors (d,), (e,) and value of the largest singular value of (d, e): the rest is not worked out.

    The left vector's largest coordinate is positive.
    """
    transposed = len(matrix) > matrix.shape[1]
    wide = matrix.T if transposed else matrix
    size = len(wide)
    values, vectors = linalg.eigh(wide @ wide.T, subset_by_index=[size - 1, size - 1])
    short = vectors[:, 0]
    value = float(np.sqrt(max(values[0], 0.0)))
    long = short @ wide
    long = long / max(float(np.linalg.norm(long)), np.finfo(float).tiny)
    left, right = (long, short) if transposed else (short, long)
    sign = 1.0 if left[np.abs(left).argmax()] >= 0 else -1.0
    return sign * left, sign * right, value


def _factor(rows: Doubles, ridge: float) -> Doubles:
    """Lower Cholesky factor of the covariance of centred rows (n, d) with the ridge."""
    covariance = rows.T @ rows / len(rows)
    mean_variance = float(np.trace(covariance)) / len(covariance)
    covariance.flat[:: len(covariance) + 1] += max(ridge, FLOOR) * (mean_variance or 1.0)
    return np.asarray(linalg.cholesky(covariance, lower=True), np.float64)
