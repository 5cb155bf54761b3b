"""The items of classes that are many, skewed and partly wrong: what is drawn, and which class an item counts for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

NONE = -1
"""The class of an item that is left out for the time being."""
MATES = 2
"""Other items that a class needs for one of its items to be judged by itself."""
COMPARED = 2_000
"""Items, or somewhat more, whose cosines say how near any two are."""
_SCORES = 1 << 24
"""Cosines that are held at once."""


@dataclass(frozen=True)
class NoiseRule:
    """When an item does not count for the class it was given; all numbers are cosines of its vector.

    The given class is judged by the lower of the cosines with its weight and with the mean of its other items: the
    weight has learned from the item itself. The item leaves where that is below ``far`` and the weight of another
    class is nearer by more than ``lead``: for the nearest one where that is ``near`` or more, else it counts for none.
    Of two items that make a class nobody knows which one is wrong: neither counts where their cosine is less than
    ``apart`` standard deviations above the mean of any two items'. Each time the given class is judged anew, so an item
    may return. An item that is alone in its class stays.
    """

    far: float
    lead: float
    near: float
    apart: float

    def judge(self, vectors: Floats, given: Rows, weights: Floats) -> Rows:
        """Classes (r,) for which items count, -1 = none.

        Parameters
        ----------
        vectors : (r, d) float32 of length 1, an item each.
        given : (r,) their classes, rows of ``weights``.
        weights : (c, d) float32, c >= 1.
        """
        directions = weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
        own, by_mates, mates = _own(vectors, given, directions)
        classes = given.copy()
        classes[(mates == 1) & (by_mates < self._strange(vectors))] = NONE
        (suspects,) = np.nonzero((mates >= MATES) & (own < self.far))
        step = max(1, _SCORES // len(weights))
        for start in range(0, len(suspects), step):
            rows = suspects[start : start + step]
            scores = vectors[rows] @ directions.T
            scores[np.arange(len(rows)), given[rows]] = -np.inf
            nearest = scores.argmax(axis=1)
            best = scores[np.arange(len(rows)), nearest]
            leaves = best - own[rows] > self.lead
            classes[rows[leaves]] = np.where(best >= self.near, nearest, NONE)[leaves]
        return classes

    def _strange(self, vectors: Floats) -> float:
        """The cosine below which two items are strangers to each other."""
        some = vectors[:: max(1, len(vectors) // COMPARED)]
        cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
        return float(cosines.mean() + self.apart * cosines.std()) if len(cosines) else -np.inf


class ClassItems:
    """Items and the classes they count for.

    Parameters
    ----------
    given
        (r,) classes of r items, 0 to c - 1, each of at least one.
    power
        A class is drawn in proportion to its size to this power: 1 draws items alike, 0 classes alike.
    """

    def __init__(self, given: Rows, power: float) -> None:
        self.given, self.power = given, power
        self.n_classes = int(given.max()) + 1
        self.count_for(given)

    def count_for(self, classes: Rows) -> None:
        """Set the classes (r,) that items count for; -1 = none. All -1 leaves things as they are."""
        sizes = np.bincount(classes[classes >= 0], minlength=self.n_classes)
        if not sizes.any():
            return
        self.classes = classes
        self._order = np.argsort(classes, kind="stable")[np.count_nonzero(classes < 0) :]
        self._starts, self._sizes = np.cumsum(sizes) - sizes, sizes
        shares = np.where(sizes > 0, np.maximum(sizes, 1).astype(np.float64) ** self.power, 0.0)
        self._until = np.cumsum(shares)

    def draw(self, count: int, random: np.random.Generator) -> Rows:
        """Items (count,): a class each by its share, then one of its items."""
        # Rounding must not reach beyond the last class.
        places = np.minimum(random.random(count) * self._until[-1], np.nextafter(self._until[-1], 0))
        classes = np.searchsorted(self._until, places, side="right")
        within = (random.random(count) * self._sizes[classes]).astype(np.int64)
        return np.asarray(self._order[self._starts[classes] + within], np.int64)


def _own(vectors: Floats, given: Rows, directions: Floats) -> tuple[Floats, Floats, Rows]:
    """How near the given class is, how near its other items are, and how many these are, (r,) for each item."""
    order = np.argsort(given, kind="stable")
    starts = np.flatnonzero(np.diff(given[order], prepend=-1))
    sums = np.zeros_like(directions)
    sums[given[order][starts]] = np.add.reduceat(vectors[order], starts, axis=0)
    mates = np.bincount(given, minlength=len(directions))[given] - 1
    others = sums[given] - vectors
    others /= np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
    by_mates = (vectors * others).sum(axis=1)
    return np.minimum((vectors * directions[given]).sum(axis=1), by_mates), by_mates, mates
