"""What is done with a trained network's vectors: codebooks are fitted on them, validation ranks them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spdq.models.model import Model
from spdq.models.spdq import branches
from spdq.networks.spdq import Tower
from spdq.quantizers.additive import AdditiveQuantizer
from spdq.quantizers.codebooks import Codebooks
from spdq.training.ranks import ALONE, Ranks

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MAX_FIT_ROWS = 20_000
OWN_ALONG = 2.0
"""How often the error along a vector counts in codebooks of what is searched (``AdditiveQuantizer``): all of it is
coded alike, so it needs less than with codebooks from training, which know some of it by heart."""


def additive_codebooks(
    vectors: Floats, bits: int, along: float, seed: int, ranks: Ranks = ALONE
) -> Codebooks:
    """Additive codebooks of ``bits`` fitted on vectors (n, D), on a random 20,000 of them where there are more.

    ``along`` is how often the error along a vector counts when it is coded (``AdditiveQuantizer``). All ``ranks`` have
    all vectors.
    """
    if len(vectors) > MAX_FIT_ROWS:
        chosen = np.random.default_rng([seed, 4]).choice(len(vectors), MAX_FIT_ROWS, replace=False)
        vectors = vectors[np.sort(chosen)]
    return fitted_codebooks(bits, along, seed, np.ascontiguousarray(vectors, np.float32), ranks)


def model_codebooks(model: Model, vectors: Floats, bits: int, ranks: Ranks = ALONE) -> Codebooks:
    """Additive codebooks of ``bits`` on vectors (n, dim) of a model, by the seed and the recipe it was trained with."""
    training = model.training
    return additive_codebooks(vectors, bits, training["recipe"]["along"], training["seed"], ranks)


def fitted_codebooks(
    bits: int, along: float, seed: int, vectors: Floats, ranks: Ranks, weights: Doubles | None = None
) -> Codebooks:
    """Codebooks fitted on all of vectors (n, D): the bytes of one process, of which each rank encodes a part.

    k-means and sums over vectors are not parted: every rank does them all, in the one order that one process adds in.
    They are four tenths of the work, and there are never more than ``MAX_FIT_ROWS`` vectors.
    """
    quantizer = _RankedQuantizer(bits // 8, n_words=256, along=along, random_state=seed % (1 << 32))
    quantizer.ranks = ranks
    fitted = quantizer.fit(vectors, sample_weight=weights).codebooks_
    words = ranks.told_arrays({"words": fitted.words})["words"]
    return dataclasses.replace(fitted, words=words)


class _RankedQuantizer(AdditiveQuantizer):
    """An additive quantizer whose vectors are encoded by several ranks."""

    ranks: Ranks

    def _encoded(self, codebooks: Codebooks, vectors: Floats) -> NDArray[np.uint8]:
        return self.ranks.share(codebooks.encode, vectors)


def shared_branches(tower: Tower, inputs: Tensor, ranks: Ranks) -> tuple[Floats, Floats]:
    """``branches`` of a tower, of which each rank computes its rows."""

    def of(part: Floats) -> tuple[Floats, Floats]:
        return branches(tower, part)

    return ranks.share(of, inputs.numpy())


def reciprocal_rank(queries: Floats, targets: Floats, own: NDArray[np.bool_]) -> float:
    """Mean over queries (q, D) of 1 / rank of the best of their own targets (n, D), by inner product.

    ``own`` is (q, n); a query without any counts 0. Ties count against it.
    """
    scores = queries @ targets.T
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    before = ((scores >= best) & ~own).sum(axis=1)
    return float(np.where(own.any(axis=1), 1 / (1 + before), 0.0).mean())
