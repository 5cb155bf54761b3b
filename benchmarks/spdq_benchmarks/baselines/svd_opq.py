"""Latent semantics of the texts + OPQ: images are regressed to them, without labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from sklearn.utils.extmath import randomized_svd

from spdq_benchmarks.baselines.canonical import LinearMap
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import OPQBaseline, unit_rows
from spdq_benchmarks.baselines.ridge import Ridge

DIM = 128


class SVDOPQ(OPQBaseline):
    """Latent semantic analysis (Deerwester et al., JASIS 1990) as the common space, by cosine, OPQ (Ge et al. 2013).

    A text's vector is its centred input on the leading singular vectors of the training texts; an image's is what
    ridge regression predicts of its text's vector. Both get unit length. A unit's is the mean of its parts.
    """

    name: ClassVar[str] = "svd-opq"
    needs_labels: ClassVar[bool] = False

    def _learn(self) -> None:
        text = self.pairs.text.astype(np.float64)
        mean = text.mean(axis=0)
        dim = min(DIM, *text.shape)
        _, _, axes = randomized_svd(text - mean, dim, random_state=self.seed % (1 << 32))
        self._text = LinearMap(mean, axes.T)
        self._image = Ridge(self.pairs.image, self._text(self.pairs.text))
        self.settings = {"dim": dim, "image_penalty": self._image.penalty}

    def _image_vectors(self, rows: Floats) -> Floats:
        return unit_rows(self._image(rows))

    def _text_vectors(self, rows: Floats) -> Floats:
        return unit_rows(self._text(rows))
