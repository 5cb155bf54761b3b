"""Semantic topic multimodal hashing: half of the topics of a text are on, and an image's factors are mapped to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from sklearn.metrics.pairwise import euclidean_distances

from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.hashing import HashingBaseline

Matrix = NDArray[np.float64]

IMAGE_WEIGHT, TEXT_WEIGHT = 0.5, 0.5
"""r_1 and r_2."""
LINK = 0.5
"""Lambda."""
RIDGE = 1e-4
"""Gamma."""
ITERATIONS = 10
SMALLEST = 1e-8
"""Added to a squared error before its root is taken."""


@dataclass(frozen=True, eq=False)
class Topics:
    """State of the alternation.

    ``topics`` G2 (n, c) of 0 and 1 and their ``centroids`` F2 (c, d_text); ``factors`` G1 (n, c) of images and their
    ``basis`` F1 (c, d_image); ``link`` R (c, c) from factors to topics. All float64.
    """

    topics: Matrix
    centroids: Matrix
    factors: Matrix
    basis: Matrix
    link: Matrix


class STMH(HashingBaseline):
    """STMH: Wang, Gao, Wang and He, "Semantic Topic Multimodal Hashing for Cross-Media Retrieval", IJCAI 2015.

    A text's code says which c/2 of c topics are nearest to it; images are factorised robustly (sum of the errors'
    lengths, by iterated reweighting) and their factors regressed to the topics of their texts. Settings of the public
    code. Out of sample an image's bits are those above the median of its own c values.

    Deviations. The public code's centroid step solves for ``X = F G'`` where its objective and its assignment have the
    distances to centroids: here the centroids are what the objective asks for, the (ridge) means of the texts that
    have the topic. It also weights the image term by r_1 twice: here once. Inputs are centred.
    """

    name: ClassVar[str] = "stmh"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        self.settings = {
            "image_weight": IMAGE_WEIGHT,
            "text_weight": TEXT_WEIGHT,
            "link": LINK,
            "ridge": RIDGE,
            "iterations": ITERATIONS,
        }
        image, text = (rows.astype(np.float64) for rows in (self.pairs.image, self.pairs.text))
        self._image_mean, self._text_mean = image.mean(axis=0), text.mean(axis=0)
        random = np.random.default_rng([self.seed, 1])
        found = learn_topics(image - self._image_mean, text - self._text_mean, self.bits, random, ITERATIONS)
        self._centroids = found.centroids
        gram = found.basis @ found.basis.T + RIDGE / IMAGE_WEIGHT * np.eye(self.bits)
        self._image_map = solve(gram, found.basis, assume_a="pos").T @ found.link

    def embed_image(self, rows: Floats) -> Floats:
        """How far above its median each of the c values of an image is, (n, c) float32."""
        values = (rows - self._image_mean) @ self._image_map
        above: Floats = (values - np.median(values, axis=1, keepdims=True)).astype(np.float32)
        return above

    def embed_text(self, rows: Floats) -> Floats:
        """How much nearer each topic is than one half way between the nearer and the farther half, (n, c) float32."""
        distances = euclidean_distances(rows - self._text_mean, self._centroids, squared=True)
        nearer: Floats = (np.median(distances, axis=1, keepdims=True) - distances).astype(np.float32)
        return nearer


def learn_topics(
    image: Matrix, text: Matrix, bits: int, random: np.random.Generator, iterations: int
) -> Topics:
    """Learn from centred inputs (n, d_image) and (n, d_text) float64.

    Minimises ``r_1 sum_i |x_i - g1_i F1| + r_2 sum_ij G2_ij |t_i - f2_j|^2 + lambda |G2 - G1 R|^2
    + gamma (|F1|^2 + |F2|^2 + |G1|^2 + |R|^2)`` over c/2 topics an item, block by block; no step makes it larger.
    """
    n = len(image)
    factors = random.standard_normal((n, bits))
    topics = lowest_half(random.random((n, bits)))
    weights = np.ones(n)
    basis = centroids = link = np.empty(0)
    identity = np.eye(bits)
    for _ in range(iterations):
        weighted = factors * weights[:, None]
        gram = weighted.T @ factors + RIDGE / IMAGE_WEIGHT * identity
        basis = solve(gram, weighted.T @ image, assume_a="pos")
        members = topics.sum(axis=0) + RIDGE / TEXT_WEIGHT
        centroids = (topics.T @ text) / members[:, None]
        link = solve(factors.T @ factors + RIDGE / LINK * identity, factors.T @ topics, assume_a="pos")
        factors = _factors(image, topics, basis, link, weights)
        distances = euclidean_distances(text, centroids, squared=True)
        topics = lowest_half(TEXT_WEIGHT * distances - 2 * LINK * factors @ link)
        errors = np.square(image - factors @ basis).sum(axis=1)
        weights = 0.5 / np.sqrt(errors + SMALLEST)
    return Topics(topics, centroids, factors, basis, link)


def _factors(image: Matrix, topics: Matrix, basis: Matrix, link: Matrix, weights: Matrix) -> Matrix:
    """Factors g (n, c): each solves ``(r_1 w_i F F' + lambda R R' + gamma I) g = r_1 w_i F x_i + lambda R t_i``.

    Both matrices are diagonal in the generalised eigenvectors, so one decomposition serves all items.
    """
    penalty = LINK * link @ link.T + RIDGE * np.eye(len(link))
    values, vectors = eigh(basis @ basis.T, penalty)
    scales = IMAGE_WEIGHT * weights[:, None]
    right = scales * (image @ basis.T) + LINK * topics @ link.T
    solved: Matrix = ((right @ vectors) / (scales * values + 1)) @ vectors.T
    return solved


def lowest_half(costs: Matrix) -> Matrix:
    """1.0 where a cost (n, c) is among the lower half of its row, earlier columns first, else 0.0."""
    order = np.argsort(costs, axis=1, kind="stable")
    chosen = np.zeros_like(costs)
    np.put_along_axis(chosen, order[:, : costs.shape[1] // 2], 1.0, axis=1)
    return chosen
