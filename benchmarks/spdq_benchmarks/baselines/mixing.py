"""Additive codes of label predictions, learned with mixes of them where they are few."""

from __future__ import annotations

import numpy as np

from spdq.quantizers import AdditiveQuantizer
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline

ENOUGH_VECTORS = 4000
"""Fewer vectors than these leave most words of long codes without a vector: mixes are added."""
MIXES = 8000


class MixingBaseline(QuantizingBaseline):
    """Vectors that may be mixed, as predictions of labels may: a mix of three is what an item between them would have.

    Additive codebooks are fitted on the vectors of training images and texts and, where these are few, on convex mixes
    of three of them: few vectors are coded exactly by the first codebooks, and the others learn nothing that helps new
    items.
    """

    def _fit_code(self) -> None:
        vectors = np.concatenate([self.embed_image(self.pairs.image), self.embed_text(self.pairs.text)])
        if len(vectors) < ENOUGH_VECTORS:
            random = np.random.default_rng([self.seed, 4])
            vectors = np.concatenate([vectors, convex_mixes(vectors, MIXES, random)])
        self.codebooks = self._quantizer(vectors.shape[1]).fit(vectors).codebooks_

    def _quantizer(self, dim: int) -> AdditiveQuantizer:
        return AdditiveQuantizer(self.bits // 8, random_state=self.seed % (1 << 32))


def convex_mixes(vectors: Floats, count: int, random: np.random.Generator) -> Floats:
    """Convex combinations (count, D) float32 of three rows each of (n, D), shares uniform."""
    shares = random.dirichlet((1.0, 1.0, 1.0), size=count).astype(np.float32)
    chosen = vectors[random.integers(len(vectors), size=(count, 3))]
    mixed: Floats = np.einsum("nk,nkd->nd", shares, chosen)
    return mixed
