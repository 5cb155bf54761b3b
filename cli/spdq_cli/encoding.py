"""Codes of data sets and of raw items, in chunks: progress shows, and vectors are never all in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.errors import IncompatibleError
from spdq.features import image_extractor
from spdq.models.model import Codes, Floats, Model
from spdq_benchmarks.evaluation import embed_rows
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


def encode_dataset(
    model: Model, dataset: Dataset, modality: str, rows: NDArray[np.int64], progress: Progress | None
) -> Codes:
    """Codes (n, M) of n rows of a data set, as "image", "text" or "unit"."""
    return _encode(
        model, len(rows), lambda part: embed_rows(model, dataset, modality[0], rows[part]), progress
    )


def encode_items(model: Model, items: Items, progress: Progress | None) -> Codes:
    """Codes (n, M) of n raw items; says how many texts have no word that the model knows."""
    without_words = 0

    def embed(part: slice) -> Floats:
        nonlocal without_words
        images = texts = None
        if items.images is not None:
            images = model.image_features(items.images[part], _from(part.start, len(items.ids), progress))
        if items.texts is not None:
            texts = model.text_features(items.texts[part])
            without_words += int((texts.getnnz(axis=1) == 0).sum())
        if images is None:
            return model.embed_text(texts)
        return model.embed_image(images) if texts is None else model.embed_unit(images, texts)

    codes = _encode(model, len(items.ids), embed, progress)
    if without_words:
        note(f"{without_words} of {len(items.ids)} texts have no known word: nothing tells their codes apart")
    return codes


def _encode(model: Model, count: int, embed: Callable[[slice], Floats], progress: Progress | None) -> Codes:
    codes: NDArray[Any] = np.empty((count, model.codebooks.n_codebooks), np.uint8)
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        codes[part] = model.codebooks.encode(embed(part))
        if progress is not None:
            progress(part.stop, count)
    return codes


def _from(start: int, total: int, progress: Progress | None) -> Progress | None:
    """The progress of a chunk as progress of the whole."""
    return None if progress is None else lambda done, _: progress(start + done, total)
