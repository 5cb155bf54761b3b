"""From a raw query to hits: model, index and the ids between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.errors import UsageError
from spdq.hits import Gallery, Hit, Hits
from spdq.index.filters import Filter
from spdq.index.index import Index
from spdq.index.searching import Searching
from spdq.models import load_model

if TYPE_CHECKING:
    from spdq.models.model import ImageSource, Model
    from spdq.models.spaces import Modality


Part = tuple[float, str, Any]
"""A weighted query of a mixture: weight, "text" or "image", and the text or picture."""


class Engine:
    """A model and an index built with it; raw text and pictures in, hits out.

    Parameters
    ----------
    model
        A model directory or a loaded model. None takes the directory the index was built with.
    index
        An index directory or an open index, also one in shards.
    dataset
        The data set that the items are of, or its file: notebooks then show hits with their pictures and texts.

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
        self,
        model: str | os.PathLike[str] | Model | None,
        index: str | os.PathLike[str] | Searching,
        dataset: str | os.PathLike[str] | Dataset | None = None,
    ) -> None:
        self.index = index if isinstance(index, Searching) else Index.open(index)
        if model is None:
            model = _own_model(self.index)
        self.model = load_model(model) if isinstance(model, str | os.PathLike) else model
        self.index.check_model(self.model.fingerprint)
        if isinstance(dataset, str | os.PathLike):
            dataset = Dataset.load(dataset)
        self._gallery = None if dataset is None else Gallery(dataset)

    def search(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        k: int = 10,
        instance_weight: float | None = None,
        mix: Sequence[Part] | None = None,
        filter: Filter | str | None = None,
        radius: float | None = None,
    ) -> Hits:
        """The k items closest to one text, one picture (path, bytes or PIL image) or a mixture, closest first.

        Parameters
        ----------
        instance_weight
            Overrides the model's own balance (``Model.weigh_query``). SPDQ's: 0 ranks by meaning (labels) alone, larger
            values prefer the very item.
        mix
            Weighted queries, such as ``[(0.7, "image", "q.jpg"), (0.3, "text", "red"), (-0.5, "text", "logo")]``: an
            item's distance is the weighted sum of its distances. A negative weight pushes away.
        filter
            Which items may be found: a condition on attributes, or what ``Index.filter`` returned.
        radius
            All items nearer than this distance of the index's metric, instead of k.

        Raises
        ------
        UsageError
            Not exactly one of text, image and mix, k < 1, a bad filter.
        DataError
            An empty text, one without a known word, a broken picture.
        """
        vectors, weights = self._embedded(text, image, mix, instance_weight)
        if radius is not None:
            _, near, found = self.index.range_search(vectors, radius, filter, mix=weights)
        else:
            distances, ids = self.index.search(vectors, k, filter, mix=weights)
            near, found = distances[0], ids[0]
        hits = (
            Hit(rank, key.item() if isinstance(key, np.generic) else key, float(distance))
            for rank, (distance, key) in enumerate(zip(near, found, strict=True), start=1)
        )
        return Hits(hits, self._gallery)

    def explain(
        self,
        hit: Hit,
        text: str | None = None,
        image: ImageSource | None = None,
        instance_weight: float | None = None,
        mix: Sequence[Part] | None = None,
    ) -> NDArray[np.float32]:
        """Each codebook's share (M,) of a hit's distance to the query that found it; they add up to it.

        Raises as ``search``, DataError where the item is no longer there.
        """
        vectors, weights = self._embedded(text, image, mix, instance_weight)
        shares: NDArray[np.float32] = self.index.explain(vectors, [hit.id], weights)[0]
        return shares

    def _embedded(
        self,
        text: str | None,
        image: ImageSource | None,
        mix: Sequence[Part] | None,
        instance_weight: float | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The vectors (p, dim) of a query, and the weights (p,) of a mixture."""
        given = [
            (1.0, name, value) for name, value in (("text", text), ("image", image)) if value is not None
        ]
        if len(given) + (mix is not None) != 1:
            raise UsageError("give either a text or an image to search for, or a mix of them")
        if mix is None:
            return self._weighed(given[0], instance_weight), None
        if not mix:
            raise UsageError("a mix needs at least one (weight, modality, query)")
        vectors = [self._weighed(part, instance_weight) for part in mix]
        return np.concatenate(vectors), np.array([part[0] for part in mix], np.float32)

    def _weighed(self, part: Part, instance_weight: float | None) -> NDArray[np.float32]:
        _, modality, query = part
        if modality not in ("text", "image") or (modality == "text" and not isinstance(query, str)):
            raise UsageError(
                f'a query is (weight, "text", str) or (weight, "image", picture), got {part!r:.80}'
            )
        named: Modality = "text" if modality == "text" else "image"
        return embed_query(self.model, named, query, instance_weight)[0]

    def search_vectors(
        self,
        vectors: NDArray[np.float32],
        modality: Modality,
        k: int = 10,
        instance_weight: float | None = None,
        filter: Filter | str | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Distances and ids, (n, k) each, of the items closest to n embedded "image" or "text" queries (n, dim)."""
        return self.index.search(self.model.weigh_query(vectors, modality, instance_weight), k, filter)

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the model does not know and therefore leaves out."""
        return self.model.unknown_words(text)


def embed_query(
    model: Model, modality: Modality, query: str | ImageSource, instance_weight: float | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """The vector (1, dim) of a raw text or picture as it meets the codes, and the words the model does not know.

    Raises DataError for an empty text, one without a known word and a broken picture, UsageError as
    ``Model.weigh_query``.
    """
    unknown: list[str] = []
    if modality == "text":
        text = str(query)
        unknown = model.check_query(text)
        vectors = model.embed_text(model.text_features([text]))
    else:
        vectors = model.embed_image(model.image_features([query]))
    return model.weigh_query(vectors, modality, instance_weight), unknown


def _own_model(index: Searching) -> Path:
    if index.model_path is None:
        raise UsageError("the index does not say which model it was built with: name the model (--model)")
    return Path(index.model_path)
