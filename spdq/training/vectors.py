"""What is done with a trained network's vectors: codebooks are fitted on them, validation ranks them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq.models.model import Model
from spdq.quantizers.additive import AdditiveQuantizer
from spdq.quantizers.codebooks import Codebooks

Floats = NDArray[np.float32]

MAX_FIT_ROWS = 20_000
OWN_ALONG = 2.0
"""How often the error along a vector counts in codebooks of what is searched (``AdditiveQuantizer``): all of it is
coded alike, so it needs less than with codebooks from training, which know some of it by heart."""


def additive_codebooks(vectors: Floats, bits: int, along: float, seed: int) -> Codebooks:
    """Additive codebooks of ``bits`` fitted on vectors (n, D), on a random 20,000 of them where there are more.

    ``along`` is how often the error along a vector counts when it is coded (``AdditiveQuantizer``).
    """
    if len(vectors) > MAX_FIT_ROWS:
        chosen = np.random.default_rng([seed, 4]).choice(len(vectors), MAX_FIT_ROWS, replace=False)
        vectors = vectors[np.sort(chosen)]
    quantizer = AdditiveQuantizer(bits // 8, n_words=256, along=along, random_state=seed % (1 << 32))
    return quantizer.fit(np.ascontiguousarray(vectors, np.float32)).codebooks_


def model_codebooks(model: Model, vectors: Floats, bits: int) -> Codebooks:
    """Additive codebooks of ``bits`` on vectors (n, dim) of a model, by the seed and the recipe it was trained with."""
    return additive_codebooks(vectors, bits, model.training["recipe"]["along"], model.training["seed"])


def reciprocal_rank(queries: Floats, targets: Floats, own: NDArray[np.bool_]) -> float:
    """Mean over queries (q, D) of 1 / rank of the best of their own targets (n, D), by inner product.

    ``own`` is (q, n); a query without any counts 0. Ties count against it.
    """
    scores = queries @ targets.T
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    before = ((scores >= best) & ~own).sum(axis=1)
    return float(np.where(own.any(axis=1), 1 / (1 + before), 0.0).mean())
