"""A folder of pictures: with a metadata file, as the ImageFolder of Hugging Face's datasets, or with a folder a class.

metadata.jsonl    {"file_name": "cats/1.jpg", "text": "a cat", "labels": ["animal", "cat"], "year": 2020} a line
metadata.csv      a header line with file_name, text, labels, year; labels are written a|b
metadata.parquet  the same columns, labels as lists of texts
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.metadata import NAMES, Item, Metadata, read_metadata
from spdq.data.pictures import existing_pictures, picture_names
from spdq.data.queries import default_query_rows
from spdq.data.splits import Split, SplitKind, make_split
from spdq.errors import DataError, NotFoundError

MAX_LABELS = 10_000
TOGETHER = 256
"""Pictures that are extracted together where bad ones are skipped; a bad one has its half done again, and so on."""


@dataclass(frozen=True)
class FolderFindings:
    """What an import met.

    Parameters
    ----------
    skipped : why each picture that was left out could not be read, its name in it.
    repeated : pictures with the very bytes of an earlier one, which both stay, and the first of them.
    """

    skipped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """The same, JSON-ready."""
        return asdict(self)


def load_folder(
    folder: Path,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
    skip_bad: bool = False,
) -> tuple[Dataset, FolderFindings]:
    """Make a data set of the pictures that the metadata names, in its order; other files are left alone.

    Of the metadata, ``file_name`` is needed: a path relative to the folder, which also is the id. ``text`` and
    ``labels`` may be missing, in some lines or in all; other columns become attributes (``read_metadata``). A text of
    several lines is several descriptions of the picture, the first its name. Label names are sorted.

    Without metadata all pictures of the folder are taken, in the order of their paths. The folder a picture lies in
    is its label and, in words, its text; pictures beside the folders have neither.

    The name of the data set is the folder's; queries are 2,000 random items, or a tenth where that is fewer.

    Parameters
    ----------
    folder : becomes the data set's ``root``. Links in it are followed.
    extractor : makes ``image_features`` (n, d) float32.
    skip_bad : leave out pictures that are missing or cannot be read, and say so; else the first is an error.

    Raises
    ------
    NotFoundError
        There is no such folder, or a picture is missing; the first is named.
    DataError
        There are several metadata files, one is not as ``read_metadata`` expects, there are no pictures, more than
        10,000 different labels or fewer than 2 items, or a picture is broken.
    MissingExtraError
        Metadata in Parquet without pyarrow.
    UsageError
        Unknown kind or negative seed.
    """
    name = folder.resolve().name or "folder"
    return load_items(folder, name, _metadata(folder), extractor, progress, kind, seed, skip_bad, folder)


def load_items(
    root: Path,
    name: str,
    metadata: Metadata,
    extractor: ImageExtractor,
    progress: Progress | None,
    kind: SplitKind,
    seed: int,
    skip_bad: bool,
    source: Path,
) -> tuple[Dataset, FolderFindings]:
    """Make a data set of listed pictures below ``root``; ``source``, which lists them, is what errors name.

    The rest is as in ``load_folder``.
    """

    def split_of(n: int) -> Split:
        return make_split(n, default_query_rows(n, seed, source), kind, seed)

    split_of(len(metadata.items))  # What it refuses is said before the work.
    rows, features, skipped = picture_features(root, metadata.items, extractor, progress, skip_bad)
    items = [metadata.items[row] for row in rows]
    label_names, labels = _labels(source, items)
    paths = [item.path for item in items]
    made = Dataset(
        name=name,
        ids=np.array(paths),
        image_features=features,
        labels=labels,
        label_names=label_names,
        texts=tuple(item.text for item in items) if any(item.text for item in items) else None,
        image_paths=tuple(paths),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
        attributes={name: tuple(column[row] for row in rows) for name, column in metadata.attributes.items()},
        split=split_of(len(items)),
        root=root,
    )
    return made, FolderFindings(skipped, tuple(_repeated(root, paths)))


def _metadata(folder: Path) -> Metadata:
    if not folder.is_dir():
        what = "is a file, expected a folder of pictures" if folder.exists() else "folder not found"
        raise NotFoundError(f"{folder}: {what}")
    there = [name for name in NAMES if (folder / name).exists()]
    if len(there) > 1:
        raise DataError(f"{folder}: has {' and '.join(there)}, keep one of them")
    if there:
        return read_metadata(folder / there[0])
    return Metadata([_of_class(folder, name) for name in picture_names(folder)], {})


def _of_class(folder: Path, name: str) -> Item:
    """A picture whose folder says what it shows."""
    parent = PurePosixPath(name).parent
    label = "" if parent.name == "" else str(parent)
    words = parent.name.replace("_", " ").replace("-", " ").strip()
    return Item(name, words, (label,) if label else (), str(folder / name))


def picture_features(
    folder: Path,
    items: Sequence[Item],
    extractor: ImageExtractor,
    progress: Progress | None,
    skip_bad: bool,
) -> tuple[list[int], npt.NDArray[np.float32], tuple[str, ...]]:
    """Rows of the pictures that were read, their features (rows, d), and why others were not.

    Raises as ``load_folder``; with ``skip_bad`` DataError where none can be read.
    """
    names = [item.path for item in items]
    if not skip_bad:
        files = existing_pictures(folder, names)
        return list(range(len(names))), extractor.extract(files, progress=progress), ()
    rows: list[int] = []
    parts: list[npt.NDArray[np.float32]] = []
    skipped: list[str] = []

    def extract(start: int, stop: int) -> None:
        try:
            parts.append(extractor.extract([folder / name for name in names[start:stop]]))
            rows.extend(range(start, stop))
        except (DataError, NotFoundError) as error:
            if stop - start == 1:
                skipped.append(str(error))
                return
            middle = (start + stop) // 2
            extract(start, middle)
            extract(middle, stop)

    for start in range(0, len(names), TOGETHER):
        stop = min(start + TOGETHER, len(names))
        extract(start, stop)
        if progress is not None:
            progress(stop, len(names))
    if not rows:
        raise DataError(f"{folder}: none of {len(names)} pictures can be read, the first: {skipped[0]}")
    return rows, np.concatenate(parts), tuple(skipped)


def _repeated(folder: Path, names: Sequence[str]) -> list[str]:
    """Which pictures have the bytes of an earlier one, with that."""
    from xxhash import xxh3_128_digest

    of_size: dict[int, list[str]] = defaultdict(list)
    for name in names:
        of_size[os.path.getsize(folder / name)].append(name)
    first: dict[bytes, str] = {}
    found = {}
    for alike in of_size.values():
        for name in alike if len(alike) > 1 else ():
            earlier = first.setdefault(xxh3_128_digest((folder / name).read_bytes()), name)
            if earlier != name:
                found[name] = earlier
    return [f"{name} is {found[name]}" for name in names if name in found]


def _labels(source: Path, items: Sequence[Item]) -> tuple[tuple[str, ...], npt.NDArray[np.uint8] | None]:
    """Sorted label names and (n, names) labels; none where no item has one."""
    names = tuple(sorted({label for item in items for label in item.labels}))
    if not names:
        return (), None
    if len(names) > MAX_LABELS:
        raise DataError(f"{source}: expected at most {MAX_LABELS:,} different labels, got {len(names):,}")
    column = {name: c for c, name in enumerate(names)}
    labels = np.zeros((len(items), len(names)), dtype=np.uint8)
    for row, item in enumerate(items):
        labels[row, [column[label] for label in item.labels]] = 1
    return names, labels
