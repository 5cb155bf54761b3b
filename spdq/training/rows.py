"""The training rows of a data set, and the batches drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.models.spaces import LabelSet
from spdq.training.inputs import ItemInputs, Rows, item_inputs, validation_rows
from spdq.training.needs import lacking
from spdq.training.recipes import TrainingRecipe


@dataclass(frozen=True, eq=False)
class TrainingRows(ItemInputs):
    """Inputs and labels of all items of a data set, and which of them are trained on.

    ``labels`` is (n, c) float32, c = 0 where there are none. ``train`` and ``validation`` are rows; the latter may be
    empty.
    """

    labels: Tensor
    label_sets: tuple[LabelSet, ...]
    train: Rows
    validation: Rows


def training_rows(
    dataset: Dataset, recipe: TrainingRecipe, seed: int, items: ItemInputs | None = None
) -> TrainingRows:
    """Fit the extractor and the input maps on the training rows and put everything through them.

    ``items`` are those of a model that was trained before, in place of new ones.

    Raises
    ------
    DataError
        The data set has no split, no image features, no text or, for a recipe that aligns to them, no labels, or there
        are labels and no training row has one.
    """
    split, labels = dataset.split, dataset.labels
    if labels is None and not recipe.alignment:
        labels = np.zeros((len(dataset), 0), np.uint8)
    if split is None or dataset.image_features is None or labels is None:
        parts = (("/split", split), ("/image/features", dataset.image_features), ("/labels", labels))
        raise lacking(dataset, *(name for name, part in parts if part is None), system="SPDQ")
    if labels.shape[1] and not labels[split.train].any():
        raise DataError(f"no training row of data set {dataset.name} has a label: choose other labels")
    train, validation = validation_rows(split.train, seed)
    if items is None:
        items = item_inputs(dataset, train, recipe.image_width, recipe.text_width, seed)
    return TrainingRows(
        **vars(items),
        labels=torch.from_numpy(labels.astype(np.float32)),
        label_sets=label_sets(dataset.label_names, labels[train], exclusive=recipe.name == "default"),
        train=train,
        validation=validation,
    )


def label_sets(names: tuple[str, ...], labels: NDArray[np.uint8], exclusive: bool) -> tuple[LabelSet, ...]:
    """Runs of columns with one prefix ("group:cat" has "group"), (start, stop, exclusive) each.

    Exclusive are those of which every row of ``labels`` carries exactly one label, if that is asked for at all.
    """
    prefixes = [name.partition(":")[0] if ":" in name else "" for name in names]
    starts = [c for c in range(len(names)) if c == 0 or prefixes[c] != prefixes[c - 1]]
    sets = []
    for start, stop in pairwise([*starts, len(names)]):
        one_each = bool((labels[:, start:stop].sum(axis=1) == 1).all())
        sets.append((start, stop, exclusive and one_each and stop - start > 1))
    return tuple(sets)


def batch_rows(data: TrainingRows, size: int, whole_classes: bool, random: np.random.Generator) -> Rows:
    """Rows of one batch: drawn from all, or whole classes of the finest exclusive label set (hard negatives)."""
    finest = max((s for s in data.label_sets if s[2]), key=lambda s: s[1] - s[0], default=None)
    if not whole_classes or finest is None:
        return random.choice(data.train, min(size, len(data.train)), replace=False)
    labels = data.labels[data.train, finest[0] : finest[1]].argmax(dim=1).numpy()
    order = random.permutation(finest[1] - finest[0])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_class = np.lexsort((random.random(len(labels)), place[labels]))
    return data.train[by_class[:size]]
