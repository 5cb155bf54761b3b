"""Where the records of a retrieval run lie: one a job, code length and coding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from spdq.errors import NotFoundError
from spdq_benchmarks.record_files import RECORDS, Record, RecordFormat, file_name

RETRIEVAL = RecordFormat(
    "spdq-retrieval-record",
    1,
    ("key", "dataset", "training", "seed", "method", "bits", "coding", "figures"),
    "spdq bench retrieval",
)


def record_path(
    folder: Path, dataset: str, training: str, method: str, seed: int, bits: int, coding: str
) -> Path:
    """Where a record lies under an output folder."""
    place = folder / RECORDS / file_name(dataset) / training / file_name(method)
    return place / f"s{seed}-{bits}-{coding}.json"


def write_record(folder: Path, record: Record) -> Path:
    """Write a record under an output folder, whole or not at all. Raises as ``RecordFormat.write``."""
    names = ("dataset", "training", "method", "seed", "bits", "coding")
    path = record_path(folder, *(record[name] for name in names))
    RETRIEVAL.write(path, record)
    return path


def read_records(folder: str | os.PathLike[str]) -> Iterator[Record]:
    """All records under an output folder, in the order of their paths.

    Raises
    ------
    NotFoundError
        There are none.
    DamagedError, IncompatibleError
        As ``RecordFormat.read``.
    """
    paths = sorted((Path(folder) / RECORDS).rglob("*.json"))
    if not paths:
        raise NotFoundError(f"no records in {Path(folder) / RECORDS}: run `spdq bench retrieval --out` first")
    yield from map(RETRIEVAL.read, paths)
