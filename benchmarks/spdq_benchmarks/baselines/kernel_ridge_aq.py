"""Kernel ridge regression from each modality to the labels, and additive codes of its predictions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spdq.quantizers import AdditiveQuantizer
from spdq.training.kernel_ridge import LANDMARKS, RIDGES, WIDTHS, KernelRidge, fit_kernel_ridge
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline

Matrix = NDArray[np.float64]

EXACT_ROWS = 5000
"""Training pairs up to which the kernel is exact; with more it is that of random landmarks (Nystroem)."""
ENOUGH_VECTORS = 4000
"""Fewer vectors than these leave most words of long codes without a vector: mixes are added."""
MIXES = 8000


class KernelRidgeAQ(QuantizingBaseline):
    """RBF kernel ridge to the labels + additive quantizer: a simple method that no paper compares with.

    Each modality is regressed to the centred label rows (0 and 1), width and ridge chosen by the closed-form
    leave-one-out error. Vectors are the predictions, clipped to 0..1: estimates of the probability of each label, whose
    inner product estimates how many labels two items share. The quantizer sees the predictions of the training images
    and texts and, where these are few, convex mixes of three.
    """

    name: ClassVar[str] = "kernel-ridge-aq"
    needs_labels: ClassVar[bool] = True

    def _learn(self) -> None:
        targets = self.labels.astype(np.float64)
        self._image = self._regress(self.pairs.image, targets)
        self._text = self._regress(self.pairs.text, targets)
        self.settings = {
            "widths": WIDTHS,
            "ridges": RIDGES,
            "exact_rows": EXACT_ROWS,
            "landmarks": LANDMARKS,
            "mixes": MIXES,
            "mixes_below": ENOUGH_VECTORS,
            "image_choice": [self._image.width, self._image.ridge],
            "text_choice": [self._text.width, self._text.ridge],
        }

    def embed_image(self, rows: Floats) -> Floats:
        return self._image(rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._text(rows)

    def _fit_code(self) -> None:
        vectors = np.concatenate([self.embed_image(self.pairs.image), self.embed_text(self.pairs.text)])
        if len(vectors) < ENOUGH_VECTORS:
            random = np.random.default_rng([self.seed, 1])
            vectors = np.concatenate([vectors, convex_mixes(vectors, MIXES, random)])
        self.codebooks = self._quantizer(vectors.shape[1]).fit(vectors).codebooks_

    def _quantizer(self, dim: int) -> AdditiveQuantizer:
        return AdditiveQuantizer(self.bits // 8, random_state=self.seed % (1 << 32))

    def _regress(self, rows: Floats, targets: Matrix) -> KernelRidge:
        return fit_kernel_ridge(rows, targets, self.seed, EXACT_ROWS)


def convex_mixes(vectors: Floats, count: int, random: np.random.Generator) -> Floats:
    """Convex combinations (count, D) float32 of three rows each of (n, D), shares uniform."""
    shares = random.dirichlet((1.0, 1.0, 1.0), size=count).astype(np.float32)
    chosen = vectors[random.integers(len(vectors), size=(count, 3))]
    mixed: Floats = np.einsum("nk,nkd->nd", shares, chosen)
    return mixed
