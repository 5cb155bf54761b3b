"""Which samples the Mixer learns from: rows with a class, classes to validate with, what each memory part may see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.training.inputs import Rows, validation_rows
from spdq.training.needs import training_split


def learners(classes: Rows, parts: Rows, n_parts: int) -> NDArray[np.bool_]:
    """Which parts of the memory learn from an item's text, (r, n_parts).

    A part that is to read some item of a class learns from none of that class. Where that would leave fewer than half
    of the parts, the class is common, and only each item's own part goes without it. A single part learns all.

    Parameters
    ----------
    classes : (r,) classes of the items.
    parts : (r,) the part that reads each item's text, -1 = it has none.
    n_parts : parts of the memory.
    """
    if n_parts == 1:
        return np.ones((len(classes), 1), bool)
    reads = parts[:, None] == np.arange(n_parts)
    by_class = np.zeros((int(classes.max()) + 1, n_parts), bool)
    np.logical_or.at(by_class, classes, reads)
    common = 2 * by_class.sum(axis=1) > n_parts
    return ~np.where(common[classes][:, None], reads, by_class[classes])


def classed_rows(dataset: Dataset) -> tuple[Rows, Rows]:
    """Training rows that have a class, and the classes of all rows."""
    split, classes = training_split(dataset), dataset.classes
    rows = split.train[classes[split.train] >= 0] if classes is not None else split.train[:0]
    if classes is None or len(np.unique(classes[rows])) < 2:
        raise DataError(
            f"training a Mixer needs /classes, two at least among the training rows: items of one class show or mean "
            f"one thing. Data set {dataset.name} has not; train spdq or gated on it, or give it classes: "
            "`spdq dataset classes` makes them of labels, `spdq dataset import emoji --form drawings` a set with them"
        )
    return rows, classes


def held_out_classes(rows: Rows, classes: Rows, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on and those of the classes to validate with: none where classes of several items are few."""
    numbers, sizes = np.unique(classes[rows], return_counts=True)
    _, chosen = validation_rows(numbers[sizes > 1], seed)
    held = np.isin(classes[rows], chosen)
    return rows[~held], rows[held]
