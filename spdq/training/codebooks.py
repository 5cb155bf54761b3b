"""Codebooks of a trained network: the quantizer is fitted on what the towers say of the training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spdq.models.spaces import AlignedSpace, Modality
from spdq.models.spdq import SPDQModel
from spdq.quantizers.codebooks import Codebooks
from spdq.training.alternation import LabelRows
from spdq.training.ranks import ALONE, Ranks
from spdq.training.recipes import TrainingRecipe
from spdq.training.rows import TrainingRows
from spdq.training.vectors import fitted_codebooks, shared_branches

Floats = NDArray[np.float32]

ALONG = 4.0
"""How often the error along a vector counts. New items are coded less well than trained ones; with all directions
alike their codes would also be shorter, and trained items would come before them."""
MAX_FIT_ROWS = 20_000
FEW_FIT_ROWS = 4_000
MIXES = 8_000
TEXT_VIEWS = 5
"""Units of each picture with random parts of its text: more words to learn codes from than it has items."""
LEFT_OUT = 0.5
"""Share of inputs and hidden units that are left out where the network is to be as unsure as it is of new items."""


def fit_codebooks(
    model: SPDQModel, data: TrainingRows, bits: int, seed: int, ranks: Ranks = ALONE
) -> Codebooks:
    """Additive codebooks of ``bits`` for a trained network and its space.

    The predictive space's are fitted on label-free vectors of training images, texts, units and, where texts have
    several lines, units with parts of them: what is indexed later comes in all these forms. They are there once more as
    the network sees them when it is unsure. The paper's are fitted on Z L (equation 7), one row for each distinct label
    row, weighted by how often it occurs; their training error is that of the label-free vectors, too, which are what
    will be coded.
    """
    space, vectors = model.space, fit_vectors(model, data, seed, ranks)
    if not isinstance(space, AlignedSpace):
        return fitted_codebooks(bits, ALONG, seed, vectors, ranks)
    labels = LabelRows.of(data.labels[data.train].numpy())
    fitted = fitted_codebooks(bits, 1.0, seed, space.label_vectors(labels.rows), ranks, labels.counts)
    total, count = fitted.measured_error(vectors)
    return dataclasses.replace(fitted, training_error=total / count)


def fit_vectors(model: SPDQModel, data: TrainingRows, seed: int, ranks: Ranks = ALONE) -> Floats:
    """The vectors (n, D) float32 that codebooks are fitted on."""
    random = np.random.default_rng([seed, 4])
    rows = np.sort(np.concatenate([data.train, data.validation]))
    recipe = TrainingRecipe(**model.training["recipe"])
    image = _embed(model, "image", data.image[rows], ranks)
    text = _embed(model, "text", data.text[rows], ranks)
    parts = [image, text, model.space.units(image, text)]
    if data.has_lines:
        views = [data.first_lines(rows), *(data.text_views(rows, recipe, random) for _ in range(TEXT_VIEWS))]
        parts += [model.space.units(image, _embed(model, "text", view, ranks)) for view in views]
    vectors = np.concatenate(parts)
    if len(vectors) < FEW_FIT_ROWS and model.config.label_names:
        vectors = np.concatenate([vectors, _mixed(vectors, len(model.config.label_names), random)])
    if not isinstance(model.space, AlignedSpace):
        view = data.text_views(rows, recipe, random) if data.has_lines else data.text[rows]
        with unsure(model.network, int(random.integers(1 << 32))):
            # Not parted: what is left out is drawn batch by batch.
            image, text = _embed(model, "image", data.image[rows], ALONE), _embed(model, "text", view, ALONE)
        vectors = np.concatenate([vectors, image, text, model.space.units(image, text)])
    if len(vectors) > MAX_FIT_ROWS:
        vectors = vectors[np.sort(random.choice(len(vectors), MAX_FIT_ROWS, replace=False))]
    return np.ascontiguousarray(vectors, np.float32)


@contextmanager
def unsure(network: nn.Module, seed: int) -> Iterator[None]:
    """A network in evaluation mode without a random half of its inputs and hidden units, as long as this lasts.

    It has seen the training items so often that their posteriors are those of no new item: codebooks learned from them
    alone have no words for doubt.
    """
    layers = [(layer, layer.p) for layer in network.modules() if isinstance(layer, nn.Dropout)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            for layer, _ in layers:
                layer.p = LEFT_OUT
                layer.train()
            yield
        finally:
            for layer, share in layers:
                layer.p = share
                layer.eval()


def _mixed(vectors: Floats, labels: int, random: np.random.Generator) -> Floats:
    """Vectors whose label part is a convex mix of three, with the instance part of the first.

    A few vectors are coded exactly by the first codebooks and leave the others nothing to learn that helps new items.
    The instance part is never mixed: between two items there is none.
    """
    parents = random.integers(len(vectors), size=(MIXES, 3))
    shares = random.dirichlet(np.ones(3), size=MIXES).astype(np.float32)
    mixed = vectors[parents[:, 0]]
    mixed[:, :labels] = np.einsum("mp,mpl->ml", shares, vectors[parents][:, :, :labels])
    return mixed


def _embed(model: SPDQModel, modality: Modality, inputs: Tensor, ranks: Ranks) -> Floats:
    tower = model.network.image if modality == "image" else model.network.text
    return model.space.vectors(modality, *shared_branches(tower, inputs, ranks))
