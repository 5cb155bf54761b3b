"""Data sets as a model reads them, and vectors of them to learn codebooks from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.errors import IncompatibleError
from spdq.features import image_extractor
from spdq.models.encoding import chunks
from spdq.models.model import Floats, Model
from spdq.models.rows import embed_rows
from spdq.training.vectors import MAX_FIT_ROWS
from spdq_cli.progress import Progress


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
    for part in chunks(len(rows), progress):
        vectors[part] = embed_rows(model, dataset, modality[0], rows[part])
    return vectors
