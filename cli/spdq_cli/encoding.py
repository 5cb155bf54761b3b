"""Codes of data sets and of raw items, in chunks: progress shows, and vectors are never all in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.errors import IncompatibleError
from spdq.features import image_extractor
from spdq.models.model import Codes, Features, Floats, Model, present
from spdq.training.vectors import MAX_FIT_ROWS
from spdq_benchmarks.evaluation import embed_rows, unit_features
from spdq_cli.errors import note
from spdq_cli.inputs import Items
from spdq_cli.progress import Progress

CHUNK = 1024


def load_dataset(model: Model, path: Path, modality: str | None = None) -> Dataset:
    """Load a data set for a model.

    Raises
    ------
    IncompatibleError
        Its image features come from another extractor than the model's; not asked for texts.
    """
    dataset = Dataset.load(path)
    if modality != "text" and dataset.image_extractor is not None and model.image_settings is not None:
        theirs, ours = image_extractor(dataset.image_extractor).name, model.image_settings["name"]
        if theirs != ours:
            raise IncompatibleError(
                f"{path}: its image features were made by {theirs}, the model's by {ours}. "
                f"Import the data again with --extractor {ours}"
            )
    return dataset


@dataclass
class Missing:
    """How many units have been seen whose picture or text is missing."""

    without_image: int = 0
    without_text: int = 0

    def count(self, images: Features, texts: Features) -> None:
        """Look at the features of some more units."""
        self.without_image += int((~present(images)).sum())
        self.without_text += int((~present(texts)).sum())


def encode_dataset(
    model: Model, dataset: Dataset, modality: str, rows: NDArray[np.int64], progress: Progress | None
) -> tuple[Codes, Missing]:
    """Codes (n, M) of n rows of a data set, as "image", "text" or "unit", and what units lack."""
    missing = Missing()

    def embed(part: slice) -> Floats:
        if modality != "unit":
            return embed_rows(model, dataset, modality[0], rows[part])
        features = unit_features(model, dataset, rows[part])
        missing.count(*features)
        return model.embed_unit(*features)

    return _encode(model, len(rows), embed, progress), missing


def sample_vectors(
    model: Model,
    dataset: Dataset,
    modality: str,
    rows: NDArray[np.int64],
    seed: int,
    progress: Progress | None,
) -> Floats:
    """Vectors (n, dim) of rows of a data set to learn codebooks from, of a random part where there are many."""
    if len(rows) > MAX_FIT_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_FIT_ROWS, replace=False))
    vectors = np.empty((len(rows), model.codebooks.dim), np.float32)
    for part in _chunks(len(rows), progress):
        vectors[part] = embed_rows(model, dataset, modality[0], rows[part])
    return vectors


def encode_items(model: Model, items: Items, progress: Progress | None) -> tuple[Codes, Missing]:
    """Codes (n, M) of n raw items and what units lack; says how many texts have no word that the model knows."""
    missing = Missing()
    without_words = 0

    def embed(part: slice) -> Floats:
        nonlocal without_words
        images = texts = None
        if items.images is not None:
            images = _picture_features(model, items.images, part, progress)
        if items.texts is not None:
            texts = model.text_features(items.texts[part])
            if images is None:
                without_words += int((~present(texts)).sum())
        if images is None:
            return model.embed_text(texts)
        if texts is None:
            return model.embed_image(images)
        missing.count(images, texts)
        return model.embed_unit(images, texts)

    codes = _encode(model, len(items.ids), embed, progress)
    if without_words:
        note(f"{without_words} of {len(items.ids)} texts have no known word: nothing tells their codes apart")
    return codes, missing


def _picture_features(
    model: Model, images: list[Path | None], part: slice, progress: Progress | None
) -> Floats:
    """Features (n, image_width) of some pictures; those that are missing get a row of zeros."""
    here = [(row, path) for row, path in enumerate(images[part]) if path is not None]
    features = np.zeros((len(images[part]), model.image_width), np.float32)
    if here:
        report = _from(part.start, len(images), progress)
        features[[row for row, _ in here]] = model.image_features([path for _, path in here], report)
    return features


def _encode(model: Model, count: int, embed: Callable[[slice], Floats], progress: Progress | None) -> Codes:
    codes: NDArray[Any] = np.empty((count, model.codebooks.n_codebooks), np.uint8)
    for part in _chunks(count, progress):
        codes[part] = model.codebooks.encode(embed(part))
    return codes


def _chunks(count: int, progress: Progress | None) -> Iterator[slice]:
    """Slices of ``count`` rows; each is reported when the next one is asked for."""
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        yield part
        if progress is not None:
            progress(part.stop, count)


def _from(start: int, total: int, progress: Progress | None) -> Progress | None:
    """The progress of a chunk as progress of the whole."""
    return None if progress is None else lambda done, _: progress(start + done, total)
