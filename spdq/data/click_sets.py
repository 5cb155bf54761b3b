"""Data sets of a click log: items that have pictures, the clicks to learn from, and grades of held-out queries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.hold_out import hold_out
from spdq.data.pictures import existing_pictures, picture_names
from spdq.data.query_items import QueryItems
from spdq.data.splits import Split


def folder_items(folder: Path) -> Dataset:
    """All pictures in a folder and below it as items without features; ids are their paths from there, sorted.

    Raises
    ------
    NotFoundError
        There is no such folder.
    DataError
        It holds no pictures.
    """
    names = picture_names(folder)
    name = folder.resolve().name or "folder"
    return Dataset(name, np.array(names), image_paths=tuple(names), root=folder)


def with_clicks(items: Dataset, clicks: QueryItems, share: float, seed: int) -> Dataset:
    """The items with clicks, and grades of a share of the queries that is held out (see ``hold_out``).

    Clicks and grades that were there are replaced, the split, too: it is of kind ``clicks``, every item is
    trained on and searched.

    Raises
    ------
    DataError, UsageError
        As ``hold_out`` and ``Dataset``.
    """
    kept, grades = hold_out(clicks, share, seed)
    every = np.arange(len(items), dtype=np.int64)
    split = Split(np.empty(0, np.int64), every, every, "clicks", seed)
    return dataclasses.replace(items, clicks=kept, grades=grades, split=split)


def with_image_features(
    items: Dataset, extractor: ImageExtractor, progress: Progress | None = None
) -> Dataset:
    """The items with features (n, d) float32 of their pictures, in place of those that were there.

    Raises
    ------
    NotFoundError
        Pictures are missing; the first is named.
    DataError
        The items name no pictures, or one is broken.
    """
    names = [str(items.image_path(row)) for row in range(len(items))]
    return dataclasses.replace(
        items,
        image_features=extractor.extract(existing_pictures(Path(), names), progress=progress),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
    )
