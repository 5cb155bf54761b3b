"""Semantics-preserving hashing: Hamming distances that follow the labels, and a kernel logistic regression a bit."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel

from spdq.errors import DataError
from spdq.quantizers.clusters import cluster
from spdq_benchmarks.baselines.contract import Floats, Labels
from spdq_benchmarks.baselines.hashing import HashingBaseline

Matrix = NDArray[np.float64]

BINARY = 0.01
"""Weight alpha of the pull towards -1 and 1."""
RATE, MOMENTUM, SMALLEST_GAIN = 500.0, 0.5, 0.01
START = 1e-4
STEPS = 100
CENTRES = 500
CLUSTER_ITERATIONS = 20
RIDGE = 0.01
"""Of the logistic regressions."""
LOGISTIC_ITERATIONS = 100
MAX_ROWS = 5000
"""Pairs that get a code of their own at most, drawn at random: all distances between them are needed at every step."""


class SePH(HashingBaseline):
    """SePH: Lin, Ding, Hu and Wang, "Semantics-Preserving Hashing for Cross-View Retrieval", CVPR 2015.

    Codes H of the training items minimise the Kullback-Leibler divergence from their label affinities (cosine of label
    rows) to the affinities of the codes, by the gradient descent of t-SNE; then each bit of each modality is learned
    by kernel logistic regression over ``CENTRES`` centres. Settings of the authors' public code, whose demonstration
    swaps the names of the modalities: not here.

    Deviations. All bits of a modality are regressed together (one L-BFGS run) and at most ``LOGISTIC_ITERATIONS``
    iterations. The paper gives database items one code from both modalities; here each item is coded from one. With no
    more items than centres every item is a centre, and the two ways to choose them are one.
    """

    needs_labels: ClassVar[bool] = True

    def _fit(self) -> None:
        self.settings = {
            "binary": BINARY,
            "rate": RATE,
            "momentum": MOMENTUM,
            "steps": STEPS,
            "centres": CENTRES,
            "ridge": RIDGE,
            "logistic_iterations": LOGISTIC_ITERATIONS,
            "max_rows": MAX_ROWS,
        }
        random = np.random.default_rng([self.seed, 1])
        rows = np.arange(len(self.pairs))
        if len(rows) > MAX_ROWS:
            rows = np.sort(random.choice(rows, MAX_ROWS, replace=False))
        codes = learn_codes(label_affinities(self.labels[rows]), self.bits, random, STEPS)
        self._image, self._text = (
            self._regress(inputs[rows].astype(np.float64), codes >= 0, random)
            for inputs in (self.pairs.image, self.pairs.text)
        )

    def embed_image(self, rows: Floats) -> Floats:
        return self._image(rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._text(rows)

    def _regress(self, inputs: Matrix, bits: NDArray[np.bool_], random: np.random.Generator) -> KernelLogits:
        centres = self._centres(inputs, min(CENTRES, len(inputs)), random)
        gamma = 0.5 / (euclidean_distances(inputs, squared=True).mean() or 1.0)
        weights = kernel_logistic(
            rbf_kernel(inputs, centres, gamma=gamma), rbf_kernel(centres, gamma=gamma), bits
        )
        return KernelLogits(centres, float(gamma), weights)

    @abstractmethod
    def _centres(self, inputs: Matrix, count: int, random: np.random.Generator) -> Matrix:
        """``count`` points (count, d) for kernels, from inputs (n, d)."""


class SePHKMeans(SePH):
    """SePH with k-means centres for its kernels (SePH_km)."""

    name: ClassVar[str] = "seph-km"

    def _centres(self, inputs: Matrix, count: int, random: np.random.Generator) -> Matrix:
        state = np.random.RandomState(random.integers(1 << 32))
        rows = inputs.astype(np.float32)
        centres, _ = cluster(rows, count, np.ones(len(rows)), state, CLUSTER_ITERATIONS)
        return centres.astype(np.float64)


class SePHRandom(SePH):
    """SePH with random training items as centres for its kernels (SePH_rnd)."""

    name: ClassVar[str] = "seph-rnd"

    def _centres(self, inputs: Matrix, count: int, random: np.random.Generator) -> Matrix:
        return inputs[np.sort(random.choice(len(inputs), count, replace=False))]


@dataclass(frozen=True, eq=False)
class KernelLogits:
    """A fitted regression: log-odds (n, bits) float32 that a bit is 1, from inputs (n, d) float32."""

    centres: Matrix
    gamma: float
    weights: Matrix

    def __call__(self, rows: Floats) -> Floats:
        kernel = rbf_kernel(rows.astype(np.float64), self.centres, gamma=self.gamma)
        logits: Floats = (kernel @ self.weights).astype(np.float32)
        return logits


def label_affinities(labels: Labels) -> Floats:
    """Affinities P (n, n) float32 of items with label rows (n, c): cosines off the diagonal, their sum 1.

    Raises
    ------
    DataError
        No two items share a label.
    """
    lengths = np.sqrt(np.maximum(labels.sum(axis=1, dtype=np.float64), 1))
    unit = labels / lengths[:, None]
    affinities = unit @ unit.T
    np.fill_diagonal(affinities, 0)
    total = affinities.sum()
    if not total:
        raise DataError("seph needs at least two training items that share a label")
    normalised: Floats = (affinities / total).astype(np.float32)
    return normalised


def learn_codes(affinities: Floats, bits: int, random: np.random.Generator, steps: int) -> Floats:
    """Real codes H (n, bits) float32 for affinities P (n, n) float32: the best met in gradient descent with gains."""
    n = len(affinities)
    codes = START * random.standard_normal((n, bits), dtype=np.float32)
    move, gains = np.zeros_like(codes), np.ones_like(codes)
    best, lowest = codes, np.inf
    for _ in range(steps):
        cost, gradient = divergence(affinities, codes)
        if cost < lowest:
            best, lowest = codes, cost
        agree = np.sign(gradient) == np.sign(move)
        gains = np.maximum(np.where(agree, gains * np.float32(0.8), gains + np.float32(0.2)), SMALLEST_GAIN)
        move = np.float32(MOMENTUM) * move - np.float32(RATE) * gains * gradient
        codes = codes + move
        codes -= codes.mean(axis=0)
    return codes if divergence(affinities, codes)[0] < lowest else best


def divergence(affinities: Floats, codes: Floats) -> tuple[float, Floats]:
    """The paper's objective, but for the entropy of P, and its gradient (n, bits), for real codes H (n, bits) float32.

    ``KL(P | Q) + alpha / (n bits) ||H| - 1|^2`` with ``Q_ij`` in proportion to ``1 / (1 + |h_i - h_j|^2 / 4)``.
    """
    squares = np.einsum("ij,ij->i", codes, codes)
    closeness = codes @ codes.T
    closeness *= np.float32(-0.5)
    closeness += 1 + squares[:, None] / 4
    closeness += squares / 4
    np.maximum(closeness, 1, out=closeness)
    logarithms = np.log(closeness)
    np.reciprocal(closeness, out=closeness)
    np.fill_diagonal(closeness, 0)
    total = closeness.sum(dtype=np.float64)
    # The affinities sum to one, so the cross-entropy needs no logarithm of the total an entry.
    fit = float(np.vdot(affinities, logarithms)) + float(np.log(total))
    pulls = affinities - closeness / np.float32(total)
    pulls *= closeness
    gradient = pulls.sum(axis=1)[:, None] * codes - pulls @ codes
    weight = np.float32(BINARY / codes.size)
    short = np.abs(codes) - 1
    gradient += 2 * weight * short * np.sign(codes)
    return fit + float(weight * np.vdot(short, short)), gradient


def kernel_logistic(kernel: Matrix, centres_kernel: Matrix, bits: NDArray[np.bool_]) -> Matrix:
    """Weights W (m, b) float64 of kernel logistic regressions of bits (n, b) on kernels (n, m) with the centres.

    Minimises ``sum log(1 + exp(-h K w)) + RIDGE w' K0 w`` for each bit, h in -1 and 1 and K0 (m, m) the kernel of the
    centres, in the coordinates ``K0^(1/2) w``, where L-BFGS converges sooner.
    """
    values, vectors = eigh(centres_kernel, check_finite=False)
    kept = values > values[-1] * 1e-10
    whitening = vectors[:, kept] / np.sqrt(values[kept])
    features = kernel @ whitening
    signs = np.where(bits, 1.0, -1.0)
    shape = (features.shape[1], bits.shape[1])

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.reshape(shape)
        margins = signs * (features @ weights)
        cost = np.logaddexp(0, -margins).sum() + RIDGE * np.vdot(weights, weights)
        wrong = signs / (1 + np.exp(np.clip(margins, -500, 500)))
        return float(cost), (2 * RIDGE * weights - features.T @ wrong).ravel()

    options = {"maxiter": LOGISTIC_ITERATIONS}
    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options)
    weights: Matrix = whitening @ found.x.reshape(shape)
    return weights
