"""IMH: one spectral embedding of all training pairs, and a linear map into it from each modality."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy import linalg
from sklearn.neighbors import kneighbors_graph

from spdq_benchmarks.baselines.canonical import Centred, Doubles, LinearMap
from spdq_benchmarks.baselines.contract import Floats, sampled_rows
from spdq_benchmarks.baselines.hashing import HashingBaseline, cycled

MAX_ITEMS = 4000
"""Items in the eigenproblem, drawn from more: it takes their number squared of memory and cubed of time."""
NEIGHBOURS = 1
BETA = 1.0
LAPLACIAN = 1.0
"""lambda."""


class IMH(HashingBaseline):
    """Inter-media hashing (Song, Yang, Yang, Huang, Shen, SIGMOD 2013), with the numbers of its public code.

    For each modality X (n, d), centred: the graph Laplacian L of its nearest neighbours, and what linear regression
    cannot explain, ``B = I - X (X'X + beta I)^-1 X'``. The embedding F (n, bits) are the eigenvectors of
    ``B_image + B_text + lambda (L_image + L_text)`` with the smallest eigenvalues, ``W = (X'X + beta I)^-1 X'F``, and
    bits are signs of ``X W`` less its median.

    Deviations: that sum is the limit of the paper's coupled problem (F_text = E F_image) for an infinite weight of
    pairs; the public code's weight of 1e10 reaches it but for rounding. Medians are those of the training rows: the
    public code takes each query set's own. No more than ``MAX_ITEMS`` items.
    """

    name: ClassVar[str] = "imh"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        data = Centred.of(self.pairs)
        chosen = sampled_rows(len(self.pairs), MAX_ITEMS, self.seed)
        image, text = data.image[chosen], data.text[chosen]
        regressions = [regression(rows) for rows in (image, text)]
        penalty = sum(
            np.eye(len(rows)) - rows @ found + LAPLACIAN * laplacian(rows, NEIGHBOURS)
            for rows, found in zip((image, text), regressions, strict=True)
        )
        count = min(self.bits, len(chosen))
        _, embedding = linalg.eigh(penalty, subset_by_index=[0, count - 1])
        self._maps = [
            _thresholded(mean, rows, cycled(found @ embedding, self.bits))
            for mean, rows, found in zip(
                (data.image_mean, data.text_mean), (image, text), regressions, strict=True
            )
        ]
        self.settings = {
            "items": len(chosen),
            "neighbours": NEIGHBOURS,
            "beta": BETA,
            "lambda": LAPLACIAN,
        }

    def embed_image(self, rows: Floats) -> Floats:
        return self._maps[0](rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._maps[1](rows)


def regression(rows: Doubles) -> Doubles:
    """``(X'X + beta I)^-1 X'`` (d, n) of rows X (n, d)."""
    gram = rows.T @ rows
    gram.flat[:: len(gram) + 1] += BETA
    return np.asarray(linalg.solve(gram, rows.T, assume_a="pos"), np.float64)


def laplacian(rows: Doubles, neighbours: int) -> Doubles:
    """``D - A`` (n, n) of the graph that joins rows (n, d) of which one is among the other's nearest."""
    directed = kneighbors_graph(rows, min(neighbours, len(rows) - 1), mode="connectivity").toarray()
    joined = np.maximum(directed, directed.T)
    return np.asarray(np.diag(joined.sum(axis=1)) - joined, np.float64)


def _thresholded(mean: Doubles, rows: Doubles, weights: Doubles) -> LinearMap:
    """The map by which half of one modality's centred training rows (n, d) fall on each side of 0."""
    return LinearMap(mean, weights, -np.median(rows @ weights, axis=0))
