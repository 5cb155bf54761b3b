"""CCA-ITQ: canonical variates, turned so that their signs lose least."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from spdq_benchmarks.baselines.canonical import Centred, Doubles, LinearMap, canonical
from spdq_benchmarks.baselines.cca import RIDGE
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.hashing import HashingBaseline

ITERATIONS = 50


class CCAITQ(HashingBaseline):
    """Iterative quantization of canonical variates (Gong, Lazebnik, CVPR 2011; TPAMI 2013, sections 2.2 and 3.3).

    The variates V, each scaled by its correlation, are those of images and texts together; by turns
    ``B = sign(V R)`` and R from the singular vectors of ``V'B``, which minimise ``|B - V R|^2`` (equation 2).

    Deviations: the papers pair images with labels or tags and code images alone, here both modalities share R; where
    there are fewer variates (r) than bits, R is (r, bits) with orthonormal rows instead of square; the ridge is that
    of ``cca``.
    """

    name: ClassVar[str] = "cca-itq"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        data = Centred.of(self.pairs)
        found = canonical(data, RIDGE, self.bits)
        image, text = found.image * found.correlations, found.text * found.correlations
        vectors = np.concatenate([data.image @ image, data.text @ text])
        rotation = itq(vectors, self.bits, ITERATIONS, np.random.default_rng([self.seed, 1]))
        self._image = LinearMap(data.image_mean, image @ rotation)
        self._text = LinearMap(data.text_mean, text @ rotation)
        self.settings = {"ridge": RIDGE, "directions": len(found.correlations), "iterations": ITERATIONS}

    def embed_image(self, rows: Floats) -> Floats:
        return self._image(rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._text(rows)


def itq(vectors: Doubles, bits: int, iterations: int, random: np.random.Generator) -> Doubles:
    """R (r, bits) with orthonormal rows for vectors (n, r), r <= bits, from a random start.

    ``|sign(V R) - V R|^2`` never rises from one iteration to the next.
    """
    start, _ = np.linalg.qr(random.standard_normal((bits, vectors.shape[1])))
    rotation: Doubles = start.T
    for _ in range(iterations):
        signs = np.where(vectors @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(vectors.T @ signs, full_matrices=False)
        rotation = left @ right
    return rotation
