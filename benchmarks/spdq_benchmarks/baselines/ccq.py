"""Composite correlation quantization: both views of an item share one additive code, learned with their rotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve, svd

from spdq.quantizers import Codebooks, update_words
from spdq.quantizers.additive import residual_words
from spdq_benchmarks.baselines.contract import Baseline, Codes, Floats
from spdq_benchmarks.baselines.quantizing import table_distances
from spdq_kernels import assign

Matrix = NDArray[np.float64]

DIM = 10
"""Dimensions of the common space."""
N_WORDS = 256
ITERATIONS = 30
WORD_RIDGE = 10.0
"""How strongly words are held to where they were."""
MAP_RIDGE = 1e-3
"""Of the out-of-sample maps."""


class CCQ(Baseline):
    """CCQ: Long, Cao, Wang and Yu, "Composite Correlation Quantization for Efficient Multimodal Retrieval", SIGIR 2016.

    Minimises ``|X - C B R_x'|^2 + |Y - C B R_y'|^2`` over rotations R into a common space, words C and codes B that
    the two views of an item share: rotations by SVD, words by least squares, codes by greedy encoding of what is left
    codebook after codebook. New items are mapped by ridge regression to the training items' decoded codes. Items are
    ranked by the Euclidean distance to the decoded code (AQD), ``|C b|^2 - 2 q' C b``.

    The length ``|C b|`` follows from the code, so it takes none of its bits: it is computed from the codes when they
    are ranked. (An index would store a byte more or spend M^2 look-ups.)

    Deviations. The space has ``DIM`` dimensions whatever the bits (the public demonstration takes as many as bits and
    names 10 beside it). Views are centred and scaled to the same mean length, not standardised column by column, and
    the rotations start as singular vectors of the cross-covariance, not as unit matrices. Words are held to their last
    place instead of to 0, and an item keeps its last code where greedy encoding finds none better, so that the
    objective never rises. The out-of-sample maps are scaled to give vectors as long as the decoded codes: regression
    makes those of the harder modality short, and Euclidean distances then favour them whatever the query. New items are
    encoded by beam search.
    """

    name: ClassVar[str] = "ccq"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        self.settings = {
            "dim": DIM,
            "iterations": ITERATIONS,
            "word_ridge": WORD_RIDGE,
            "map_ridge": MAP_RIDGE,
        }
        views = [rows.astype(np.float64) for rows in (self.pairs.image, self.pairs.text)]
        self._means = [view.mean(axis=0) for view in views]
        views = [view - mean for view, mean in zip(views, self._means, strict=True)]
        scales = [np.sqrt(len(view)) / (np.linalg.norm(view) or 1.0) for view in views]
        views = [view * scale for view, scale in zip(views, scales, strict=True)]
        random = np.random.RandomState(self.seed % (1 << 32))
        self.codebooks, codes, _ = learn_code(views, self.bits // 8, random, ITERATIONS)
        decoded = self.codebooks.decode(codes).astype(np.float64)
        self._maps = [scale * _map_to(decoded, view) for view, scale in zip(views, scales, strict=True)]

    def embed_image(self, rows: Floats) -> Floats:
        return self._embed(rows, 0)

    def embed_text(self, rows: Floats) -> Floats:
        return self._embed(rows, 1)

    def encode(self, vectors: Floats) -> Codes:
        return self.codebooks.encode(vectors)

    def distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        """Squared Euclidean distances to the decoded codes, less the squared length of the query; float32."""
        products = table_distances(self.codebooks.lookup_tables(queries, "ip"), codes)
        decoded = self.codebooks.decode(codes)
        distances: NDArray[np.float32] = 2 * products + np.einsum("ij,ij->i", decoded, decoded)
        return distances

    def _embed(self, rows: Floats, view: int) -> Floats:
        mapped: Floats = ((rows - self._means[view]) @ self._maps[view]).astype(np.float32)
        return mapped


def learn_code(
    views: Sequence[Matrix], n_codebooks: int, random: np.random.RandomState, iterations: int
) -> tuple[Codebooks, Codes, list[Matrix]]:
    """Learn codebooks, codes (n, M) uint8 and rotations (d_v, DIM or fewer) for centred views (n, d_v) float64."""
    dim = min(DIM, *(view.shape[1] for view in views))
    left, _, right = svd(views[0].T @ views[1], full_matrices=False)
    rotations = [left[:, :dim], right[:dim].T]
    targets = _common(views, rotations)
    words, codes = residual_words(targets, np.ones(len(targets)), n_codebooks, N_WORDS, random)
    weights = np.full(len(targets), float(len(views)))
    for _ in range(iterations):
        decoded = Codebooks(words, "additive").decode(codes).astype(np.float64)
        rotations = [_rotation(view.T @ decoded) for view in views]
        targets = _common(views, rotations)
        words = update_words(codes, targets, words, WORD_RIDGE, weights)
        codes = _better(Codebooks(words, "additive"), targets, codes)
    return Codebooks(words, "additive"), codes, rotations


def _common(views: Sequence[Matrix], rotations: Sequence[Matrix]) -> Floats:
    """What the shared code of each item has to stand for: with rotations given, only the mean of its views matters."""
    turned = [view @ rotation for view, rotation in zip(views, rotations, strict=True)]
    common: Floats = np.mean(turned, axis=0).astype(np.float32)
    return common


def _rotation(product: Matrix) -> Matrix:
    """The R (d, dim) with orthonormal columns nearest to a product (orthogonal Procrustes)."""
    left, _, right = svd(product, full_matrices=False)
    rotation: Matrix = left @ right
    return rotation


def _better(codebooks: Codebooks, targets: Floats, codes: Codes) -> Codes:
    """Greedy codes (n, M) of targets (n, dim), or the given ones where those are as near."""
    found, rest = np.empty_like(codes), targets.copy()
    for m, words in enumerate(codebooks.words):
        nearest = assign(rest, np.ascontiguousarray(words))
        found[:, m] = nearest
        rest -= words[nearest]
    errors = [np.square(targets - codebooks.decode(some)).sum(axis=1) for some in (found, codes)]
    return np.where((errors[0] < errors[1])[:, None], found, codes)


def _map_to(decoded: Matrix, view: Matrix) -> Matrix:
    """Ridge map (d, dim) of a view (n, d), scaled so that the mapped rows are as long as the decoded ones (n, dim)."""
    gram = view.T @ view + MAP_RIDGE * np.eye(view.shape[1])
    mapped = solve(gram, view.T @ decoded, assume_a="pos")
    scaled: Matrix = mapped * (np.linalg.norm(decoded) / (np.linalg.norm(view @ mapped) or 1.0))
    return scaled
