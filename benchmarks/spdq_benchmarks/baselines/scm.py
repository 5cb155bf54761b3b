"""SCM: codes whose inner products are the similarities of label rows, all bits at once or one after the other."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from spdq_benchmarks.baselines.canonical import (
    Centred,
    Doubles,
    LinearMap,
    Whitening,
    canonical,
    leading_pair,
)
from spdq_benchmarks.baselines.cca import RIDGE
from spdq_benchmarks.baselines.contract import Floats, Labels
from spdq_benchmarks.baselines.hashing import HashingBaseline, cycled


class _SCM(HashingBaseline):
    """What both share: linear maps, learned by ``_directions``."""

    needs_labels: ClassVar[bool] = True

    def _fit(self) -> None:
        data = Centred.of(self.pairs)
        image, text = self._directions(data)
        self._image = LinearMap(data.image_mean, cycled(image, self.bits))
        self._text = LinearMap(data.text_mean, cycled(text, self.bits))
        self.settings = {"ridge": RIDGE, "directions": image.shape[1]}

    @abstractmethod
    def _directions(self, data: Centred) -> tuple[Doubles, Doubles]:
        """Directions (d, r) and (e, r), r at most the bits."""

    def embed_image(self, rows: Floats) -> Floats:
        return self._image(rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._text(rows)


class SCMOrthogonal(_SCM):
    """Semantic correlation maximization with orthogonal directions (Zhang, Li, AAAI 2014, section "Orthogonal").

    ``S = 2 L L' - 1 1'`` with label rows L of unit length; the directions are those of CCA with ``X'S Y`` in the place
    of ``X'Y``. As inputs are centred, ``1 1'`` drops out of it.

    Deviations: the ridge of ``cca`` instead of 1e-6; the database is centred like the training rows, which public
    code forgets; there are no more directions than labels, so they repeat.
    """

    name: ClassVar[str] = "scm-orth"

    def _directions(self, data: Centred) -> tuple[Doubles, Doubles]:
        found = canonical(data, RIDGE, self.bits, semantic_cross(data, self.labels))
        return found.image, found.text


class SCMSequential(_SCM):
    """Semantic correlation maximization bit by bit (Zhang, Li, AAAI 2014, algorithm 1).

    The residue starts as ``c S``, c bits, with the S of ``SCMOrthogonal``. Each bit takes the leading direction of
    CCA with ``X' residue Y`` in the place of ``X'Y``, and ``sign(X a) sign(Y b)'`` off the residue, which is never
    formed.

    Deviations: those of ``SCMOrthogonal``; public code stops when the leading eigenvalue rises and falls back on
    orthogonal directions, here every bit is learned as the algorithm says.
    """

    name: ClassVar[str] = "scm-seq"

    def _directions(self, data: Centred) -> tuple[Doubles, Doubles]:
        white = Whitening(data, RIDGE)
        image, text = white.image_rows(data.image), white.text_rows(data.text)
        n = len(image)
        residue = self.bits * white.cross(semantic_cross(data, self.labels))
        lefts, rights = [], []
        for _ in range(self.bits):
            left, right, _ = leading_pair(residue)
            lefts.append(left)
            rights.append(right)
            residue -= np.outer(image.T @ _signs(image @ left), text.T @ _signs(text @ right) / n)
        return white.image_directions(np.stack(lefts, axis=1)), white.text_directions(
            np.stack(rights, axis=1)
        )


def semantic_cross(data: Centred, labels: Labels) -> Doubles:
    """``X'S Y / n`` (d, e) of centred inputs; a label row of zeros is as unlike all others as can be."""
    lengths = np.sqrt(labels.sum(axis=1, dtype=np.float64, keepdims=True))
    unit = labels / np.maximum(lengths, 1.0)
    crossed: Doubles = (data.image.T @ unit) @ (data.text.T @ unit).T
    return 2 / len(unit) * crossed


def _signs(projections: Doubles) -> Doubles:
    return np.where(projections >= 0, 1.0, -1.0)
