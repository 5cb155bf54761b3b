"""Which label words an item is near: what its code means, in words that people chose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spdq.serving.embedder import Embedded, Embedder, RawQuery

MAX_WORDS = 1000
NEAREST = 5


class LabelWords:
    """Labels as queries of their own words: ``group:animals & nature`` asks for "animals & nature".

    Labels that the model cannot read as a text are left out; without texts none is left.
    """

    def __init__(self, embedder: Embedder, labels: Sequence[str], metric: str) -> None:
        words = list(dict.fromkeys(map(spoken, labels)))
        embedded = embedder.embed([RawQuery("text", word) for word in words])
        known = [
            (word, one.vector) for word, one in zip(words, embedded, strict=True) if isinstance(one, Embedded)
        ]
        self._words = [word for word, _ in known]
        self._vectors = np.concatenate([vector for _, vector in known]) if known else None
        self._metric = metric

    def nearest(self, items: np.ndarray[Any, np.dtype[np.float32]]) -> list[list[str]]:
        """The words nearest to each of some vectors (m, dim), the nearest first; equals in the order of the labels."""
        if self._vectors is None:
            return [[] for _ in items]
        closeness = items @ self._vectors.T
        if self._metric == "l2":
            closeness = 2 * closeness - (self._vectors**2).sum(axis=1)
        order = np.argsort(-closeness, axis=1, kind="stable")[:, :NEAREST]
        return [[self._words[place] for place in row] for row in order.tolist()]


def spoken(label: str) -> str:
    """A label as words: without the name of its label set, and with spaces."""
    return " ".join(label.rpartition(":")[2].replace("-", " ").replace("_", " ").split())
