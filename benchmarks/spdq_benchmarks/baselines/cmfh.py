"""Collective matrix factorisation hashing: both views of an item have one latent vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve

from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.hashing import HashingBaseline

Matrix = NDArray[np.float64]

WEIGHT = 0.5
"""Of each view (alpha)."""
MAPPING = 100.0
"""How strongly the latent vectors are held to linear maps of the views (mu)."""
RIDGE = 20.0
"""Gamma."""
ITERATIONS = 25


class CMFH(HashingBaseline):
    """CMFH: Ding, Guo and Zhou, "Collective Matrix Factorization Hashing for Multimodal Data", CVPR 2014.

    The paper's unsupervised objective, its closed-form steps in turn, with the weights and the number of iterations of
    the authors' public code. Codes are the signs of the linear maps of inputs that are centred by the training mean.

    Deviations. The latent matrix starts as a random projection of both views, not as random numbers: where a view has
    more dimensions than there are items its map reproduces any latent matrix, and random numbers stay. For the same
    reason gamma is 20, not 0.01 (our inputs are of length 16).
    """

    name: ClassVar[str] = "cmfh"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        self.settings = {
            "weight": WEIGHT,
            "mapping": MAPPING,
            "ridge": RIDGE,
            "iterations": ITERATIONS,
        }
        views = [rows.astype(np.float64) for rows in (self.pairs.image, self.pairs.text)]
        self._means = [view.mean(axis=0) for view in views]
        centred = [view - mean for view, mean in zip(views, self._means, strict=True)]
        _, _, self._maps = factorise(centred, self.bits, np.random.default_rng([self.seed, 1]), ITERATIONS)

    def embed_image(self, rows: Floats) -> Floats:
        return self._embed(rows, 0)

    def embed_text(self, rows: Floats) -> Floats:
        return self._embed(rows, 1)

    def _embed(self, rows: Floats, view: int) -> Floats:
        mapped: Floats = ((rows - self._means[view]) @ self._maps[view]).astype(np.float32)
        return mapped


def factorise(
    views: Sequence[Matrix], bits: int, random: np.random.Generator, iterations: int
) -> tuple[Matrix, list[Matrix], list[Matrix]]:
    """Factorise centred views X_v (n, d_v) float64 by one latent matrix.

    Minimises ``sum_v a (|X_v - V U_v|^2 + mu |V - X_v W_v|^2 + gamma (|U_v|^2 + |W_v|^2 + |V|^2))``, each step exactly.

    Returns
    -------
    V (n, bits), bases U_v (bits, d_v) and maps W_v (d_v, bits), float64
    """
    maps = [random.standard_normal((view.shape[1], bits)) for view in views]
    latent = np.mean([view @ mapped for view, mapped in zip(views, maps, strict=True)], axis=0)
    bases: list[Matrix] = []
    identity = np.eye(bits)
    for _ in range(iterations):
        gram = latent.T @ latent + RIDGE * identity
        bases = [solve(gram, latent.T @ view, assume_a="pos") for view in views]
        left = sum(WEIGHT * base @ base.T + WEIGHT * (MAPPING + RIDGE) * identity for base in bases)
        right = sum(
            WEIGHT * view @ (base.T + MAPPING * mapped)
            for view, base, mapped in zip(views, bases, maps, strict=True)
        )
        latent = solve(left, np.asarray(right).T, assume_a="pos").T
        maps = [_mapped(view, latent) for view in views]
    return latent, bases, maps


def _mapped(view: Matrix, latent: Matrix) -> Matrix:
    """Ridge regression W (d, bits) of the latent matrix on a view."""
    gram = MAPPING * view.T @ view + RIDGE * np.eye(view.shape[1])
    mapped: Matrix = solve(gram, MAPPING * view.T @ latent, assume_a="pos")
    return mapped
