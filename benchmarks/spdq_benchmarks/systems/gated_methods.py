"""The gated joint embedding and what it is held against: other ways to make a unit of both parts, and CCA."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spdq.data.dataset import Dataset
from spdq.models.gated import GatedModel
from spdq.networks.gated import GatedNetwork
from spdq.training.gated import GatedTask
from spdq.training.inputs import item_inputs
from spdq.training.run import train_task
from spdq_benchmarks.baselines.canonical import Centred, LinearMap, canonical
from spdq_benchmarks.baselines.cca import RIDGE
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.evaluation import SIX_TASKS
from spdq_benchmarks.systems.vectors import (
    Floats,
    Vectors,
    checked_split,
    fitted_on,
    model_vectors,
    unit_length,
)

DIRECTIONS = SIX_TASKS


def gated(dataset: Dataset, seed: int, name: str = "default") -> Vectors:
    """A recipe of the system."""
    return _trained(GatedTask, dataset, seed, name)


def gated_paper(dataset: Dataset, seed: int) -> Vectors:
    """The reconstruction of the paper."""
    return gated(dataset, seed, "paper")


class AveragingNetwork(GatedNetwork):
    """A unit is the mean of its parts, of length 1; the space is one, and a query counts all of it alike."""

    def image(self, inputs: Tensor) -> Tensor:
        return functional.normalize(self.image_tower(inputs), dim=1)

    def text(self, inputs: Tensor) -> Tensor:
        return functional.normalize(self.text_tower(inputs), dim=1)

    def unit(self, image: Tensor, text: Tensor) -> Tensor:
        return functional.normalize(image + text, dim=1)


class ConcatenatingNetwork(AveragingNetwork):
    """A unit is a linear map of its parts side by side, of length 1."""

    def __init__(self, *args: Any, **sizes: Any) -> None:
        super().__init__(*args, **sizes)
        self.joint = nn.Linear(2 * sizes["dim"], sizes["dim"])

    def unit(self, image: Tensor, text: Tensor) -> Tensor:
        return functional.normalize(self.joint(torch.cat([image, text], dim=1)), dim=1)


class AveragingModel(GatedModel):
    network_class = AveragingNetwork


class AveragingTask(GatedTask):
    """The six tasks with averaged units."""

    model_class = AveragingModel


class ConcatenatingModel(GatedModel):
    network_class = ConcatenatingNetwork


class ConcatenatingTask(GatedTask):
    """The six tasks with concatenated units."""

    model_class = ConcatenatingModel


def averaging(dataset: Dataset, seed: int) -> Vectors:
    """Ungated: the same towers, loss and views; units are means."""
    return _trained(AveragingTask, dataset, seed, "default", guess=1.0)


def concatenation(dataset: Dataset, seed: int) -> Vectors:
    """Ungated: the same towers, loss and views; units are a linear map of both parts."""
    return _trained(ConcatenatingTask, dataset, seed, "default", guess=1.0)


def cca(dataset: Dataset, seed: int) -> Vectors:
    """Canonical variates of the gated embedding's own inputs, each times its correlation, compared by cosine.

    A unit is the mean of its parts. Learned from training rows as pairs of an image and the text of the same item.
    """
    split, recipe = checked_split(dataset), GatedTask.recipes["default"]
    items = item_inputs(dataset, split.train, recipe.image_width, recipe.text_width, seed)
    pairs = Pairs(items.image[split.train].numpy(), items.text[split.train].numpy())
    data = Centred.of(pairs)
    found = canonical(data, RIDGE, recipe.dim)
    seen = LinearMap(data.image_mean, found.image * found.correlations)
    told = LinearMap(data.text_mean, found.text * found.correlations)

    def forms(rows: Any) -> dict[str, Floats]:
        image, text = (
            unit_length(map_(part[rows].numpy())) for map_, part in ((seen, items.image), (told, items.text))
        )
        return {"i": image, "t": text, "u": unit_length(image + text)}

    queries = forms(split.query)
    if items.has_lines:
        queries["t"] = unit_length(told(items.first_lines(split.query).numpy()))
    return Vectors(
        {of: queries[of] for of in "ti"},
        forms(split.database),
        fitted_on(np.concatenate(list(forms(split.train).values())), seed),
        {"ridge": RIDGE, "directions": len(found.correlations)},
    )


def _trained(task: type[GatedTask], dataset: Dataset, seed: int, name: str, **changes: Any) -> Vectors:
    recipe = dataclasses.replace(task.recipes[name], **changes)
    model = train_task(task, dataset, recipe=recipe, seed=seed)
    return model_vectors(model, dataset, DIRECTIONS, dataclasses.asdict(recipe))


METHODS = {
    "gated": gated,
    "gated-paper": gated_paper,
    "averaging": averaging,
    "concatenation": concatenation,
    "cca": cca,
}
