"""From a raw query to hits: model, index and the ids between them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq.errors import UsageError
from spdq.index.index import Index
from spdq.models import load_model

if TYPE_CHECKING:
    from spdq.models.model import ImageSource, Model


class Hit(NamedTuple):
    """One found item."""

    rank: int
    """1 is the closest."""
    id: int | str
    distance: float
    """In the index's metric: for "ip" the inner product, larger = closer; for "l2" the squared distance."""


class Engine:
    """A model and an index built with it; raw text and pictures in, hits out.

    Parameters
    ----------
    model
        A model directory or a loaded model. None takes the directory the index was built with.
    index
        An index directory or an open index.

    Raises
    ------
    IncompatibleError
        The index was built with another model.
    NotFoundError
        One of them is missing.
    DamagedError
        One of them is damaged.
    """

    def __init__(
        self, model: str | os.PathLike[str] | Model | None, index: str | os.PathLike[str] | Index
    ) -> None:
        self.index = index if isinstance(index, Index) else Index.open(index)
        if model is None:
            model = _own_model(self.index)
        self.model = load_model(model) if isinstance(model, str | os.PathLike) else model
        self.index.check_model(self.model.fingerprint)

    def search(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        k: int = 10,
        instance_weight: float | None = None,
    ) -> list[Hit]:
        """The k items closest to one text or one picture (path, bytes or PIL image), closest first.

        ``instance_weight`` overrides the model's own balance: 0 ranks by meaning (labels) alone, larger values
        prefer the very item.

        Raises
        ------
        UsageError
            Not exactly one of text and image, or k < 1.
        DataError
            An empty text, one without a known word, a broken picture.
        """
        if (text is None) == (image is None):
            raise UsageError("give either a text or an image to search for")
        if text is not None:
            self.model.word_extractor.check_query(text)
            vectors = self.model.embed_text(self.model.text_features([text]))
        else:
            pictures = [] if image is None else [image]
            vectors = self.model.embed_image(self.model.image_features(pictures))
        distances, ids = self.search_vectors(vectors, k, instance_weight)
        return [
            Hit(rank, key.item() if isinstance(key, np.generic) else key, float(distance))
            for rank, (distance, key) in enumerate(zip(distances[0], ids[0], strict=True), start=1)
        ]

    def search_vectors(
        self, vectors: NDArray[np.float32], k: int = 10, instance_weight: float | None = None
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Distances and ids, (n, k) each, of the items closest to n embedded queries (n, dim)."""
        return self.index.search(self.model.weigh_query(vectors, instance_weight), k)

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the model does not know and therefore leaves out."""
        return self.model.word_extractor.unknown_words(text)


def _own_model(index: Index) -> Path:
    if index.model_path is None:
        raise UsageError("the index does not say which model it was built with: name the model (--model)")
    return Path(index.model_path)
