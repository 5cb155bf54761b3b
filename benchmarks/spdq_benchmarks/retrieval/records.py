"""Records: one JSON file a job, code length and coding, written whole and read back checked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spdq.errors import DamagedError, IncompatibleError, NotFoundError, StorageError
from spdq.models.directory import write_bytes

FORMAT, VERSION = "spdq-retrieval-record", 1
RECORDS = "records"
"""Their folder in the output folder."""

Record = dict[str, Any]

FIELDS = ("key", "dataset", "training", "seed", "method", "bits", "coding", "figures")
"""What every record has beside format and version, as far as it is relied on to find it again."""


def record_path(
    folder: Path, dataset: str, training: str, method: str, seed: int, bits: int, coding: str
) -> Path:
    """Where a record lies under an output folder."""
    place = folder / RECORDS / file_name(dataset) / training / file_name(method)
    return place / f"s{seed}-{bits}-{coding}.json"


def file_name(text: str) -> str:
    """A name as part of a path: all but letters, digits, "-", "_" and inner "." becomes "-"."""
    return re.sub(r"^\.|[^\w.-]", "-", text)


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from error


def write_record(folder: Path, record: Record) -> Path:
    """Write a record under an output folder, whole or not at all; the folders are made.

    Raises
    ------
    StorageError
        It cannot be written.
    """
    names = ("dataset", "training", "method", "seed", "bits", "coding")
    path = record_path(folder, *(record[name] for name in names))
    text = json.dumps(
        {"format": FORMAT, "version": VERSION, **record},
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )
    make_folder(path.parent)
    try:
        write_bytes(path, f"{text}\n".encode())
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def read_record(path: str | os.PathLike[str]) -> Record:
    """One record.

    Raises
    ------
    NotFoundError
        There is no such file, or it cannot be read.
    DamagedError
        It is no record, or not whole.
    IncompatibleError
        Another version wrote it.
    """
    try:
        record = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        record = None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise DamagedError(f"{path} is no record of spdq bench retrieval. Delete it and run again")
    if record.get("version") != VERSION:
        raise IncompatibleError(
            f"{path} is a record of version {record.get('version')}, this is version {VERSION}: "
            "choose another folder, or delete the old records"
        )
    missing = [name for name in FIELDS if name not in record]
    if missing:
        raise DamagedError(f"{path}: the record has no {', '.join(missing)}. Delete it and run again")
    return record


def read_records(folder: str | os.PathLike[str]) -> Iterator[Record]:
    """All records under an output folder, in the order of their paths.

    Raises
    ------
    NotFoundError
        There are none.
    DamagedError, IncompatibleError
        As ``read_record``.
    """
    paths = sorted((Path(folder) / RECORDS).rglob("*.json"))
    if not paths:
        raise NotFoundError(f"no records in {Path(folder) / RECORDS}: run `spdq bench retrieval --out` first")
    yield from map(read_record, paths)
