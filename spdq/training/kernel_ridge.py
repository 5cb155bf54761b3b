"""Kernel ridge regression from inputs to labels; width of the kernel and ridge are chosen by leave-one-out error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

WIDTHS = (0.5, 1.0, 2.0, 4.0)
"""Gammas tried, as multiples of 1 / median squared distance."""
RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)
EXACT_ROWS = 3000
"""Training rows up to which the kernel is exact; with more it is that of random ``LANDMARKS`` of them (Nystroem)."""
LANDMARKS = 2000


@dataclass(frozen=True, eq=False)
class KernelRidge:
    """A fitted regression: ``clip(features(rows) @ weights + mean)``.

    ``width`` and ``ridge`` are the chosen entries of ``WIDTHS`` and ``RIDGES``, ``error`` the mean squared
    leave-one-out error of all entries of the targets.
    """

    features: Callable[[Floats], Matrix]
    weights: Matrix
    mean: Matrix
    width: float
    ridge: float
    error: float

    def __call__(self, rows: Floats) -> Floats:
        """Predictions (n, c) float32 in 0..1 for inputs (n, d)."""
        predicted = self.features(rows) @ self.weights + self.mean
        clipped: Floats = np.clip(predicted, 0, 1).astype(np.float32)
        return clipped


def fit_kernel_ridge(
    rows: Floats, targets: Matrix, seed: int, exact_rows: int = EXACT_ROWS, landmarks: int = LANDMARKS
) -> KernelRidge:
    """Regress targets (n, c) float64 on inputs (n, d) float32 with every width and ridge and keep the best.

    The kernel is exact up to ``exact_rows`` rows, else that of ``landmarks`` of them. One eigendecomposition a width
    serves all ridges. Of equal errors the first is kept.
    """
    chosen = None if len(rows) <= exact_rows else landmarks
    mean = targets.mean(axis=0)
    centred = targets - mean
    inputs = rows.astype(np.float64)
    scale = typical_distance(inputs, seed)
    candidates = []
    for width in WIDTHS:
        features = _features(inputs, width / scale, chosen, seed)
        basis, values, back = _decomposed(features(rows), chosen is None)
        for ridge in RIDGES:
            error = leave_one_out_error(basis, values, centred, ridge)
            weights = back @ ((basis.T @ centred) / (values + ridge)[:, None])
            candidates.append(KernelRidge(features, weights, mean, width, ridge, error))
    return min(candidates, key=lambda candidate: candidate.error)


def _features(inputs: Matrix, gamma: float, landmarks: int | None, seed: int) -> Callable[[Floats], Matrix]:
    """What rows are compared by: their kernel with all inputs (n, d), or approximate coordinates in its space."""
    if landmarks is None:
        return lambda rows: rbf_kernel(rows.astype(np.float64), inputs, gamma=gamma)
    approximation = Nystroem(gamma=gamma, n_components=landmarks, random_state=seed % (1 << 32)).fit(inputs)
    return lambda rows: approximation.transform(rows.astype(np.float64))


def _decomposed(features: Matrix, is_kernel: bool) -> tuple[Matrix, Matrix, Matrix]:
    """Eigenvectors ``basis`` (n, r) and eigenvalues (r,) of the training items' kernel matrix, and the matrix ``back``.

    With targets y the weights of the features are ``back @ (basis' y / (values + ridge))``.
    """
    values, vectors = eigh(features if is_kernel else features.T @ features, driver="evd", check_finite=False)
    if is_kernel:
        return vectors, np.maximum(values, 0), vectors
    kept = values > values[-1] * 1e-12
    roots, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return features @ (vectors / roots), values[kept], vectors * roots


def leave_one_out_error(basis: Matrix, values: Matrix, targets: Matrix, ridge: float) -> float:
    """Mean squared error of targets (n, c), each predicted by the ridge regression without it.

    ``basis`` (n, r) and ``values`` (r,) are the eigenvectors and eigenvalues of the kernel matrix: the hat matrix is
    ``H = basis diag(values / (values + ridge)) basis'``, and the error of row i without i is
    ``(y - H y)_i / (1 - H_ii)``.
    """
    shrunk = values / (values + ridge)
    residuals = targets - (basis * shrunk) @ (basis.T @ targets)
    own = np.einsum("ij,ij,j->i", basis, basis, shrunk)
    return float(np.mean(np.square(residuals / (1 - own)[:, None])))


def typical_distance(inputs: Matrix, seed: int) -> float:
    """Median squared distance of at most 2,000 rows (n, d) to one another; 1 where most rows are equal."""
    random = np.random.default_rng([seed, 2])
    some = inputs if len(inputs) <= 2000 else inputs[random.choice(len(inputs), 2000, replace=False)]
    if len(some) < 2:
        return 1.0
    distances = euclidean_distances(some, squared=True)
    return float(np.median(distances[np.triu_indices(len(some), 1)])) or 1.0
