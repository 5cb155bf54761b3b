"""Canonical correlation analysis as a hash: signs of the directions in which both modalities agree most."""

from __future__ import annotations

from typing import ClassVar

from spdq_benchmarks.baselines.canonical import Centred, LinearMap, canonical
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.hashing import HashingBaseline, cycled

RIDGE = 1.0
"""Added to each variance, as a share of the mean one. With it ``cca-opq`` has the literature's figures of CCA on
Wikipedia, and inputs wider than there are pairs do not correlate by chance alone."""


class CCA(HashingBaseline):
    """Signs of canonical variates (Hotelling, Biometrika 1936; for retrieval Rasiwasia et al., ACM MM 2010).

    ``Cxy Cyy^-1 Cyx a = rho^2 Cxx a``, ``b = Cyy^-1 Cyx a / rho``; bit k is the sign of ``(x - mean) a_k``. Labels
    play no part. Rasiwasia et al. compare the variates themselves, as ``cca-opq`` does; their signs are the CCA of
    tables of hashing methods. Deviation: a ridge on the scale of the data; fewer directions than bits repeat.
    """

    name: ClassVar[str] = "cca"
    needs_labels: ClassVar[bool] = False
    ridge: ClassVar[float] = RIDGE

    def _fit(self) -> None:
        data = Centred.of(self.pairs)
        found = canonical(data, self.ridge, self.bits)
        self._image = LinearMap(data.image_mean, cycled(found.image, self.bits))
        self._text = LinearMap(data.text_mean, cycled(found.text, self.bits))
        self.settings = {"ridge": self.ridge, "directions": len(found.correlations)}

    def embed_image(self, rows: Floats) -> Floats:
        return self._image(rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._text(rows)
