"""Codebooks of a trained network: the quantizer is fitted on what the towers say of the training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq.models.spdq import SPDQModel, branches
from spdq.quantizers.additive import AdditiveQuantizer
from spdq.quantizers.codebooks import Codebooks
from spdq.training.rows import TrainingRows

Floats = NDArray[np.float32]

MAX_FIT_ROWS = 20_000


def fit_codebooks(model: SPDQModel, data: TrainingRows, bits: int, seed: int) -> Codebooks:
    """Additive codebooks of ``bits`` on label-free vectors of the training rows (PredictiveSpace).

    Fitted on images, texts, units and, where texts have several lines, units with a single line: what is indexed
    later comes in all these forms.
    """
    vectors = fit_vectors(model, data, seed)
    quantizer = AdditiveQuantizer(n_codebooks=bits // 8, n_words=256, random_state=seed % (1 << 32))
    return quantizer.fit(vectors).codebooks_


def fit_vectors(model: SPDQModel, data: TrainingRows, seed: int) -> Floats:
    """The vectors (n, D) float32 that codebooks are fitted on."""
    random = np.random.default_rng([seed, 4])
    rows = np.sort(np.concatenate([data.train, data.validation]))
    image = _embed(model, "image", data.image[rows].numpy())
    text = _embed(model, "text", data.text[rows].numpy())
    parts = [image, text, model.space.units(image, text)]
    if data.has_lines:
        counts = np.diff(data.line_starts)[rows]
        for chosen in (np.zeros(len(rows), np.int64), random.integers(counts)):
            line = _embed(model, "text", data.lines[data.line_starts[rows] + chosen].numpy())
            parts.append(model.space.units(image, line))
    vectors = np.concatenate(parts)
    if len(vectors) > MAX_FIT_ROWS:
        vectors = vectors[np.sort(random.choice(len(vectors), MAX_FIT_ROWS, replace=False))]
    return np.ascontiguousarray(vectors, np.float32)


def _embed(model: SPDQModel, modality: str, inputs: Floats) -> Floats:
    tower = model.network.image if modality == "image" else model.network.text
    shared, logits = branches(tower, inputs)
    return model.space.vectors("image" if modality == "image" else "text", shared, logits)
