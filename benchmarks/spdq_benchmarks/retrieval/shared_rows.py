"""Training rows of a data set, made once for all methods that a process learns on them one after another."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from spdq.data.dataset import Dataset
from spdq.training.recipes import TrainingRecipe, training_recipe
from spdq.training.rows import TrainingRows, training_rows
from spdq_benchmarks.retrieval.contestant import stopwatch


class SharedRows(NamedTuple):
    """Training rows, and the seconds that it took to make them."""

    data: TrainingRows
    seconds: float


def shared_rows(dataset: Dataset, recipe: TrainingRecipe, seed: int) -> SharedRows:
    """What ``training_rows`` gives, from memory where it was made for the same data set object and input widths.

    A data set without labels will do: inputs do not depend on them. Raises what ``training_rows`` raises otherwise.
    """
    plain = dataclasses.replace(
        training_recipe(recipe.name), image_width=recipe.image_width, text_width=recipe.text_width
    )
    return _rows(dataset, plain, seed)


@lru_cache(maxsize=2)
def _rows(dataset: Dataset, recipe: TrainingRecipe, seed: int) -> SharedRows:
    if dataset.labels is None:
        labels = np.ones((len(dataset), 1), np.uint8)
        dataset = dataclasses.replace(dataset, labels=labels, label_names=("item",))
    with stopwatch() as watch:
        data = training_rows(dataset, recipe, seed)
    return SharedRows(data, watch.seconds)
