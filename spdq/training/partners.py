"""Which items of a data set mean the same thing: items of one class, and an item of none itself alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Partners:
    """Draws another item of the same class.

    Parameters
    ----------
    classes
        (n,) int64, -1 = no class; None where the data set has none.
    train
        Rows that are trained on: only these are drawn.
    n
        Items of the data set.
    """

    def __init__(self, classes: NDArray[np.int64] | None, train: Rows, n: int) -> None:
        own = np.arange(n, dtype=np.int64)
        first = 0 if classes is None else int(classes.max(initial=-1)) + 1
        self.classes = first + own if classes is None else np.where(classes >= 0, classes, first + own)
        """(n,) int64: the class, or a number of its own where an item has none."""
        self._train = train[np.argsort(self.classes[train], kind="stable")]
        sorted_classes = self.classes[self._train]
        self._place = np.zeros(n, np.int64)
        self._place[self._train] = np.arange(len(self._train))
        self._start = np.searchsorted(sorted_classes, self.classes, side="left")
        self._stop = np.searchsorted(sorted_classes, self.classes, side="right")

    def draw(self, rows: Rows, random: np.random.Generator) -> Rows:
        """Another training row of each row's class, at random; the row itself where there is none."""
        start, count = self._start[rows], self._stop[rows] - self._start[rows]
        place = self._place[rows]
        shift = 1 + (random.random(len(rows)) * np.maximum(count - 1, 1)).astype(np.int64)
        drawn = self._train[start + (place - start + shift) % np.maximum(count, 1)]
        return np.where(count > 1, drawn, rows)

    def differ(self, rows: Rows) -> NDArray[np.bool_]:
        """(r, r) whether two rows mean different things."""
        classes = self.classes[rows]
        return np.asarray(classes[:, None] != classes[None, :])

    def same(self, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """(r, o) whether a row and another mean the same thing."""
        return np.asarray(self.classes[rows][:, None] == self.classes[others][None, :])
