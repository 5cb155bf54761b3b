"""CCA + OPQ: canonical variates of unit length in product codes, without labels."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from spdq_benchmarks.baselines.canonical import Centred, LinearMap, canonical
from spdq_benchmarks.baselines.cca import RIDGE
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import OPQBaseline, unit_rows

DIRECTIONS = 64


class CCAOPQ(OPQBaseline):
    """Canonical correlation analysis (Rasiwasia et al., ACM MM 2010, section 4.1) by cosine, OPQ (Ge et al. 2013).

    The variates of both modalities are multiplied by the root of their correlations, so that the inner product of an
    image and a text is ``sum_k rho_k u_k v_k``, u_k times what v_k lets expect of it; then they get unit length.
    Before quantization they give the literature's map@all on Wikipedia (query and database = the 693 test items).
    """

    name: ClassVar[str] = "cca-opq"
    needs_labels: ClassVar[bool] = False

    def _learn(self) -> None:
        data = Centred.of(self.pairs)
        found = canonical(data, RIDGE, DIRECTIONS)
        weights = np.sqrt(found.correlations)
        self._image = LinearMap(data.image_mean, found.image * weights)
        self._text = LinearMap(data.text_mean, found.text * weights)
        self.settings = {"ridge": RIDGE, "directions": len(weights)}

    def _image_vectors(self, rows: Floats) -> Floats:
        return unit_rows(self._image(rows))

    def _text_vectors(self, rows: Floats) -> Floats:
        return unit_rows(self._text(rows))
