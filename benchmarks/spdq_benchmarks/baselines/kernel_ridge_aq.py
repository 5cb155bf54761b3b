"""Kernel ridge regression from each modality to the labels, and additive codes of its predictions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from spdq.training.kernel_ridge import LANDMARKS, RIDGES, WIDTHS, KernelRidge, fit_kernel_ridge
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.mixing import ENOUGH_VECTORS, MIXES, MixingBaseline

Matrix = NDArray[np.float64]

EXACT_ROWS = 5000
"""Training pairs up to which the kernel is exact; with more it is that of random landmarks (Nystroem)."""


class KernelRidgeAQ(MixingBaseline):
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

    def _regress(self, rows: Floats, targets: Matrix) -> KernelRidge:
        return fit_kernel_ridge(rows, targets, self.seed, EXACT_ROWS)
