"""A folder of pictures with ``metadata.jsonl`` or ``metadata.csv``, as the ImageFolder of Hugging Face's datasets.

metadata.jsonl    {"file_name": "cats/1.jpg", "text": "a cat", "labels": ["animal", "cat"]} a line
metadata.csv      a header line with file_name, text, labels; labels are written a|b
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.pictures import existing_pictures, relative_path
from spdq.data.queries import default_query_rows
from spdq.data.records import parse_json, storable, text_field
from spdq.data.splits import SplitKind, make_split
from spdq.data.text_lines import open_text, text_lines
from spdq.errors import DataError, NotFoundError

MAX_LABELS = 10_000


@dataclass(frozen=True)
class _Item:
    path: str
    text: str
    labels: tuple[str, ...]
    where: str


def load_folder(
    folder: Path,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
) -> Dataset:
    """Make a data set of the pictures that the metadata names, in its order; other files are left alone.

    Of the metadata, ``file_name`` is needed: a path relative to the folder, which also is the id. ``text`` and
    ``labels`` may be missing, in some lines or in all; columns with other names are ignored. A text of several
    lines is several descriptions of the picture, the first its name. Label names are sorted. The name of the
    data set is the folder's; queries are 2,000 random items, or a tenth where that is fewer.

    Parameters
    ----------
    folder : holds the metadata file and becomes the data set's ``root``. Links in it are followed.
    extractor : makes ``image_features`` (n, d) float32.

    Raises
    ------
    NotFoundError
        There is no metadata file, or a picture is missing; the first is named.
    DataError
        Both metadata files are there, a line is not what is described above (the message names it), a path leads
        out of the folder or comes twice, there are more than 10,000 different labels or fewer than 2 items, or a
        picture is broken.
    UsageError
        Unknown kind or negative seed.
    """
    file = _metadata_file(folder)
    items = list(_read_csv(file) if file.suffix == ".csv" else _read_jsonl(file))
    _check_unique(items)
    split = make_split(len(items), default_query_rows(len(items), seed, file), kind, seed)
    label_names, labels = _labels(file, items)
    paths = [item.path for item in items]
    return Dataset(
        name=folder.resolve().name or "folder",
        ids=np.array(paths),
        image_features=extractor.extract(existing_pictures(folder, paths), progress=progress),
        labels=labels,
        label_names=label_names,
        texts=tuple(item.text for item in items) if any(item.text for item in items) else None,
        image_paths=tuple(paths),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
        split=split,
        root=folder,
    )


def _metadata_file(folder: Path) -> Path:
    files = [folder / "metadata.jsonl", folder / "metadata.csv"]
    there = [file for file in files if file.exists()]
    if not there:
        raise NotFoundError(f"file not found: {files[0]} or {files[1].name}")
    if len(there) == 2:
        raise DataError(f"{folder}: has metadata.jsonl and metadata.csv, keep one of them")
    return there[0]


def _read_jsonl(file: Path) -> Iterator[_Item]:
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        where = f"{file} line {number}"
        record = parse_json(line, where)
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(record).__name__}")
        labels = [] if record.get("labels") is None else record["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise DataError(f"{where}: labels: expected a list of texts, got {labels!r}")
        yield _item(record, labels, where)


def _read_csv(file: Path) -> Iterator[_Item]:
    with open_text(file, newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            if "file_name" not in header or len(set(header)) < len(header):
                raise DataError(
                    f"{file} line 1: expected different columns, one of them file_name, got {header}"
                )
            for row in filter(None, reader):
                where = f"{file} line {reader.line_num}"
                if len(row) != len(header):
                    raise DataError(f"{where}: expected {len(header)} columns, got {len(row)}")
                record = dict(zip(header, row, strict=True))
                labels = record.get("labels")
                yield _item(record, labels.split("|") if labels else [], where)
        except csv.Error as error:
            raise DataError(f"{file} line {reader.line_num}: not CSV ({error})") from None


def _item(record: dict[str, Any], labels: list[str], where: str) -> _Item:
    path = relative_path(text_field(record, "file_name", where), f"{where}: file_name")
    text = "" if record.get("text") is None else text_field(record, "text", where).strip()
    names = [storable(label, f"{where}: labels").strip() for label in labels]
    if "" in names:
        raise DataError(f"{where}: labels: an empty label among {labels}")
    return _Item(path, text, tuple(names), where)


def _check_unique(items: list[_Item]) -> None:
    first: dict[str, _Item] = {}
    for item in items:
        if (other := first.setdefault(item.path, item)) is not item:
            raise DataError(f"{item.where}: {item.path} is already named by {other.where}")


def _labels(file: Path, items: list[_Item]) -> tuple[tuple[str, ...], npt.NDArray[np.uint8] | None]:
    """Sorted label names and (n, names) labels; none where no item has one."""
    names = tuple(sorted({label for item in items for label in item.labels}))
    if not names:
        return (), None
    if len(names) > MAX_LABELS:
        raise DataError(f"{file}: expected at most {MAX_LABELS:,} different labels, got {len(names):,}")
    column = {name: c for c, name in enumerate(names)}
    labels = np.zeros((len(items), len(names)), dtype=np.uint8)
    for row, item in enumerate(items):
        labels[row, [column[label] for label in item.labels]] = 1
    return names, labels
