"""CMSSH: boosted pairs of weak signs, one pair of them a bit."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.baselines.canonical import Centred, Doubles, LinearMap, leading_pair
from spdq_benchmarks.baselines.contract import Floats, sampled_rows
from spdq_benchmarks.baselines.hashing import HashingBaseline

Weights = NDArray[np.float32]

MAX_ITEMS = 2500
"""Items whose pairs are boosted, drawn from more: their number squared is the number of weights."""
ROUNDS = 5
"""Turns of the two searches for a threshold; each can only raise the weighted agreement."""
MAX_AGREEMENT = 0.999
"""A step stays finite where one bit tells all pairs apart."""


class CMSSH(HashingBaseline):
    """Cross-modality similarity-sensitive hashing (Bronstein, Bronstein, Michel, Paragios, CVPR 2010).

    AdaBoost over pairs of an image i and a text j, s_ij = 1 where they share a label and -1 elsewhere. For each bit:

    1. ``C = sum_ij w_ij s_ij x_i y_j'``; p and q are its leading singular vectors;
    2. thresholds a and b are searched for the largest ``sum_ij w_ij s_ij h_i g_j``, ``h_i = sign(p'x_i + a)``,
       ``g_j = sign(q'y_j + b)``;
    3. ``w_ij <- w_ij exp(-t s_ij h_i g_j)``, then weights that sum to 1.

    Where the paper leaves it open: inputs are centred; similar pairs have half of the first weights, as if as many of
    them were drawn as of the others; the thresholds are found by turns, each exactly, and never leave all items on
    one side. Every pair of at most ``MAX_ITEMS`` items counts, not a sample of pairs.

    Deviation: the paper's step is t = 1, far too long for signs that agree a little more often than not; here it is
    AdaBoost's own, ``t = atanh(sum_ij w_ij s_ij h_i g_j)``, which minimises the sum of the new weights. Codes are much
    better with it. No public code was found to compare with.
    """

    name: ClassVar[str] = "cmssh"
    needs_labels: ClassVar[bool] = True

    def _fit(self) -> None:
        data = Centred.of(self.pairs)
        chosen = sampled_rows(len(self.pairs), MAX_ITEMS, self.seed)
        image, text = data.image[chosen], data.text[chosen]
        signed = signed_weights(self.labels[chosen])
        directions, thresholds = [], []
        for _ in range(self.bits):
            left, right, _ = leading_pair(weighted_cross(image, signed, text))
            a, b = agreeing_thresholds(image @ left, text @ right, signed)
            directions.append((left, right))
            thresholds.append((a, b))
            boost(signed, _signs(image @ left, a), _signs(text @ right, b))
        lefts, rights = (np.stack(vectors, axis=1) for vectors in zip(*directions, strict=True))
        image_offsets, text_offsets = np.array(thresholds).T
        self._image = LinearMap(data.image_mean, lefts, image_offsets)
        self._text = LinearMap(data.text_mean, rights, text_offsets)
        self.settings = {"items": len(chosen), "threshold_rounds": ROUNDS}

    def embed_image(self, rows: Floats) -> Floats:
        return self._image(rows)

    def embed_text(self, rows: Floats) -> Floats:
        return self._text(rows)


def signed_weights(labels: NDArray[np.uint8]) -> Weights:
    """First weights of all pairs, (n, n) float32, times the sign s: both kinds of pairs weigh 1/2 in all."""
    shared = labels.astype(np.float32)
    similar = shared @ shared.T > 0
    ones = max(int(similar.sum()), 1)
    others = max(similar.size - ones, 1)
    return np.where(similar, np.float32(0.5 / ones), np.float32(-0.5 / others))


def weighted_cross(image: Doubles, signed: Weights, text: Doubles) -> Doubles:
    """``X' W Y`` (d, e) of (n, d), (n, n) and (n, e): the narrower side is multiplied first."""
    if text.shape[1] < image.shape[1]:
        return image.T @ (signed @ text.astype(np.float32)).astype(np.float64)
    return (image.astype(np.float32).T @ signed).astype(np.float64) @ text


def agreeing_thresholds(images: Doubles, texts: Doubles, signed: Weights) -> tuple[float, float]:
    """Thresholds a, b for projections (n,) and (n,): each the best for the other, from 0 on, until neither moves."""
    a = b = 0.0
    for _ in range(ROUNDS):
        before = a, b
        a = best_threshold(images, signed @ _signs(texts, b), a)
        b = best_threshold(texts, _signs(images, a) @ signed, b)
        if (a, b) == before:
            break
    return a, b


def best_threshold(projections: Doubles, gains: NDArray[Any], current: float) -> float:
    """The t with the largest ``sum_i gains_i sign(projections_i + t)``, gains (n,); ``current`` among equals.

    Candidates lie midway between neighbouring projections that differ; ``current`` stays where there are none.
    """
    order = np.argsort(projections, kind="stable")
    ordered, ranked = projections[order], gains[order].astype(np.float64)
    cuts = np.flatnonzero(np.diff(ordered) > 0)
    if not len(cuts):
        return current
    below = np.cumsum(ranked)[cuts]
    best = int(below.argmin())
    reached = float(ranked.sum() - 2 * below[best])
    held = float(gains.astype(np.float64) @ _signs(projections, current))
    splits = ordered[0] + current < 0 <= ordered[-1] + current
    if splits and held >= reached:
        return current
    return -float((ordered[cuts[best]] + ordered[cuts[best] + 1]) / 2)


def _signs(projections: Doubles, threshold: float) -> NDArray[np.float32]:
    return np.where(projections + threshold >= 0, np.float32(1), np.float32(-1))


def boost(signed: Weights, h: NDArray[np.float32], g: NDArray[np.float32]) -> None:
    """Step 3 in place, on weights (n, n) times s, for signs h (n,) and g (n,).

    As s h g is 1 or -1, ``w exp(-t s h g)`` is ``w cosh(t) - w s h g sinh(t)``.
    """
    agreement = float(np.clip(h @ (signed @ g), -MAX_AGREEMENT, MAX_AGREEMENT))
    step = np.arctanh(agreement)
    moved = np.abs(signed)
    moved *= np.float32(np.sinh(step)) * h[:, None]
    moved *= g
    signed *= np.float32(np.cosh(step))
    signed -= moved
    signed /= np.abs(signed).sum(dtype=np.float64)
