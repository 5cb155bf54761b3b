"""Codes of many items, in chunks: progress shows, and vectors are never all in memory.

The chunks are always the same ones: the last digits of a vector depend on how many rows are embedded together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.codes import Modality
from spdq.data.dataset import Dataset
from spdq.data.items import Items
from spdq.models.model import Codes, Features, Floats, Model, Progress, present
from spdq.models.rows import image_part, text_part

CHUNK = 1024
"""Items that are embedded and encoded together."""


@dataclass(frozen=True)
class Missing:
    """How many items lacked something: units a picture or a text, texts any word that the model knows."""

    without_image: int = 0
    without_text: int = 0
    without_words: int = 0

    def __add__(self, other: Missing) -> Missing:
        return Missing(
            self.without_image + other.without_image,
            self.without_text + other.without_text,
            self.without_words + other.without_words,
        )


def dataset_items(model: Model, dataset: Dataset, modality: Modality) -> Items:
    """What a model encodes of a data set, as "image", "text" or "unit".

    Raises
    ------
    DataError
        The data set lacks the modality.
    IncompatibleError
        It has features of another text extractor and no raw texts.
    """
    images = None if modality == "text" else image_part(dataset)
    texts = None if modality == "image" else text_part(model, dataset)
    return Items(dataset.ids, texts, images)


def encode_items(model: Model, items: Items, progress: Progress | None = None) -> tuple[Codes, Missing]:
    """Codes (n, M) of n items, and what they lacked.

    Raises
    ------
    DataError
        A broken picture, features of the wrong width, a unit of nothing; a model that cannot read what is given.
    NotFoundError
        A picture that is not there.
    """
    codes: Codes = np.empty((len(items), model.codebooks.n_codebooks), np.uint8)
    missing = Missing()
    for part in chunks(len(items), progress):
        codes[part], lacked = encode_chunk(model, items[part], _from(part.start, len(items), progress))
        missing += lacked
    return codes, missing


def encode_chunk(model: Model, items: Items, progress: Progress | None = None) -> tuple[Codes, Missing]:
    """The same of items that are embedded together. Raises as ``encode_items``."""
    images = texts = None
    if items.images is not None:
        images = _image_features(model, items.images, progress)
    if items.texts is not None:
        texts = items.texts if not isinstance(items.texts, Sequence) else model.text_features(items.texts)
    if texts is None:
        vectors, missing = model.embed_image(images), Missing()
    elif images is None:
        vectors, missing = model.embed_text(texts), Missing(without_words=_absent(texts))
    else:
        vectors, missing = model.embed_unit(images, texts), Missing(_absent(images), _absent(texts))
    return model.codebooks.encode(vectors), missing


def chunks(count: int, progress: Progress | None = None) -> Iterator[slice]:
    """Slices of ``count`` rows; each is reported when the next one is asked for."""
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        yield part
        if progress is not None:
            progress(part.stop, count)


def _image_features(
    model: Model, images: Sequence[Path | None] | NDArray[Any], progress: Progress | None
) -> NDArray[Any]:
    """Features (n, image_width); those of pictures that are missing are zeros."""
    if isinstance(images, np.ndarray):
        return images
    here = [(row, path) for row, path in enumerate(images) if path is not None]
    features: Floats = np.zeros((len(images), model.image_width), np.float32)
    if here:
        features[[row for row, _ in here]] = model.image_features([path for _, path in here], progress)
    return features


def _absent(features: Features) -> int:
    return int((~present(features)).sum())


def _from(start: int, total: int, progress: Progress | None) -> Progress | None:
    """The progress of a chunk as progress of the whole."""
    return None if progress is None else lambda done, _: progress(start + done, total)
