"""Ridge regression to the labels + OPQ: the strong and simple method that no paper compares with."""

from __future__ import annotations

from typing import ClassVar

from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import OPQBaseline, unit_rows
from spdq_benchmarks.baselines.ridge import Ridge


class RidgeOPQ(OPQBaseline):
    """Ridge regression of each modality to the label rows, by cosine, in product codes (Ge et al., CVPR 2013).

    A vector is the predicted label row less the mean row of the training pairs, of unit length.
    """

    name: ClassVar[str] = "ridge-opq"
    needs_labels: ClassVar[bool] = True

    def _learn(self) -> None:
        targets = self.labels - self.labels.mean(axis=0)
        self._image, self._text = Ridge(self.pairs.image, targets), Ridge(self.pairs.text, targets)
        self.settings = {"image_penalty": self._image.penalty, "text_penalty": self._text.penalty}

    def _image_vectors(self, rows: Floats) -> Floats:
        return unit_rows(self._image(rows))

    def _text_vectors(self, rows: Floats) -> Floats:
        return unit_rows(self._text(rows))
