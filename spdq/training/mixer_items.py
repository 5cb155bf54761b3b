"""The items of a data set as the Mixer has them: as queries, as documents, and by the part of the memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.models.mixer import document_vectors, memory_parts, query_vectors
from spdq.models.model import Floats, present
from spdq.networks.mixer import MixerNetwork
from spdq.training.inputs import ItemInputs, Rows
from spdq.training.ranks import ALONE, Ranks


@dataclass(frozen=True, eq=False)
class MixerItems(ItemInputs):
    """Tower inputs of n items, whether each has an image and a text, (n,), and the memory's part for its text, (n,)."""

    has_image: NDArray[np.bool_]
    has_text: NDArray[np.bool_]
    parts: Rows

    @classmethod
    def of(cls, dataset: Dataset, items: ItemInputs, parts: int) -> MixerItems:
        """The items of a data set, for a memory of so many parts."""
        texts = dataset.text_features
        if texts is None and items.text_extractor is not None:
            texts = items.text_extractor.transform(dataset.texts or ())
        return cls(
            **vars(items),
            has_image=present(dataset.image_features),
            has_text=present(texts),
            parts=memory_parts(texts, parts),
        )

    def queries(self, network: MixerNetwork, rows: Rows, ranks: Ranks = ALONE) -> Floats:
        """Vectors (r, dim) of images as queries, 0 where there is no image; the network in evaluation mode."""
        vectors = ranks.share(partial(query_vectors, network), self.image[rows].numpy())
        vectors[~self.has_image[rows]] = 0
        return vectors

    def documents(self, network: MixerNetwork, rows: Rows, ranks: Ranks = ALONE) -> Floats:
        """Vectors (r, dim) of items as documents of what they have, 0 where that is nothing."""
        seen, told = self.has_image[rows], self.has_text[rows]
        vectors = np.zeros((len(rows), network.norm.bias.shape[0]), np.float32)
        for of, image, text in (
            (seen & told, True, True),
            (seen & ~told, True, False),
            (told & ~seen, False, True),
        ):
            chosen = rows[of]
            vectors[of] = document_vectors(
                network,
                self.image[chosen].numpy() if image else None,
                self.text[chosen].numpy() if text else None,
                self.parts[chosen],
                ranks.share,
            )
        return vectors
