"""Which rows a model has seen, so that it is not judged on them unawares."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
import xxhash
from scipy import sparse

from spdq import __version__
from spdq.data.dataset import Dataset
from spdq.errors import DataError


def training_digest(dataset: Dataset) -> str:
    """Hex SHA-256 of the ids of the training rows, in order, of their classes and of the click log, if there are any.

    Raises
    ------
    DataError
        The data set has no split.
    """
    if dataset.split is None:
        raise DataError(f"data set {dataset.name} has no split: make one with `spdq dataset split`")
    ids = dataset.ids[dataset.split.train]
    digest = hashlib.sha256("\n".join(map(str, ids.tolist())).encode())
    if dataset.classes is not None:
        digest.update(dataset.classes[dataset.split.train].tobytes())
    if (clicks := dataset.clicks) is not None:
        digest.update("\n".join(clicks.queries).encode())
        for part in (clicks.query, clicks.item, clicks.value):
            digest.update(part.tobytes())
    return digest.hexdigest()


def data_digest(dataset: Dataset) -> str:
    """Hex digest of all that any system learns from: features, texts, labels, classes, clicks and split.

    Not for storing: it says whether two processes read the same, in a second a few gigabytes.
    """
    digest = xxhash.xxh3_128()

    parts: list[Any] = [dataset.image_features, dataset.line_features, dataset.labels, dataset.classes]
    texts: Any = dataset.text_features
    parts += [texts.data, texts.indices, texts.indptr] if sparse.issparse(texts) else [texts]
    for part in parts:
        digest.update(b"none" if part is None else np.ascontiguousarray(part).view(np.uint8).data)
    for text in dataset.texts or ():
        digest.update(f"{len(text)} {text}".encode())
    digest.update(training_digest(dataset).encode())
    return digest.hexdigest()


def run_identity(dataset: Dataset, recipe: dict[str, Any], seed: int, bits: int) -> dict[str, Any]:
    """What makes a training run this run, JSON-able; kept with checkpoint and model. Raises as ``training_digest``."""
    return {
        "dataset": dataset.name,
        "rows_digest": training_digest(dataset),
        "seed": seed,
        "bits": bits,
        "recipe": recipe,
        "spdq": __version__,
        "torch": torch.__version__,
    }
