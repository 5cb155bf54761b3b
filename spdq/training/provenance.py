"""Which rows a model has seen, so that it is not judged on them unawares."""

from __future__ import annotations

import hashlib

from spdq.data.dataset import Dataset
from spdq.errors import DataError


def training_digest(dataset: Dataset) -> str:
    """Hex SHA-256 of the ids of the training rows, in order.

    Raises
    ------
    DataError
        The data set has no split.
    """
    if dataset.split is None:
        raise DataError(f"data set {dataset.name} has no split: make one with `spdq dataset split`")
    ids = dataset.ids[dataset.split.train]
    return hashlib.sha256("\n".join(map(str, ids.tolist())).encode()).hexdigest()
