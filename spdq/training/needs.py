"""What a data set lacks for training, and where that comes from."""

from __future__ import annotations

from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError

WAYS = {
    "/split": "make one with `spdq dataset split`",
    "/image/features": "import the pictures with `spdq dataset import folder`, which makes features of them",
    "/labels": "`spdq dataset import folder` takes them from its metadata; or train with --recipe default, or gated, "
    "which need pairs alone",
    "/clicks": "make one from a click log with `spdq dataset import clicks`",
    "text": "neither /text/features nor /text/utf8; `spdq dataset import folder` takes texts from its metadata",
}
"""By part of a data set, the way to it."""


def lacking(dataset: Dataset, *parts: str, system: str = "") -> DataError:
    """The error for ``parts``, keys of ``WAYS``, that training needs and the data set has not."""
    needs = f"training {system} needs" if system else "training needs"
    ways = "; ".join(WAYS[part] for part in parts)
    return DataError(f"{needs} {', '.join(parts)}, which data set {dataset.name} has not: {ways}")


def training_split(dataset: Dataset) -> Split:
    """The split of a data set; DataError where it has none."""
    if dataset.split is None:
        raise lacking(dataset, "/split")
    return dataset.split
