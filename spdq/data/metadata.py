"""What a metadata file says of the pictures beside it: JSON lines, CSV or Parquet, a picture a line or row."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spdq.data.attributes import MAX_COLUMNS, Value, as_name, as_value, column_kind, from_texts
from spdq.data.pictures import relative_path
from spdq.data.records import parse_json, storable, text_field
from spdq.data.text_lines import open_text, text_lines
from spdq.errors import DataError, MissingExtraError

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
OWN = ("file_name", "text", "labels")
"""Columns that are no attributes."""
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Item:
    """One picture: its path in the folder, its text, "" for none, its labels, and where that is said."""

    path: str
    text: str
    labels: tuple[str, ...]
    where: str


@dataclass(frozen=True)
class Metadata:
    """The items of a file, in its order, and the columns that are neither path nor text nor labels."""

    items: Sequence[Item]
    attributes: Mapping[str, tuple[Value, ...]]


def read_metadata(file: Path) -> Metadata:
    """Read the file; the ending of its name says what it is.

    Other columns become attributes: numbers, texts and lists of texts as they are; in CSV what all of a column can be
    read as. Nested values become JSON texts, an empty text is "not known", and in a name every character but ASCII
    letters, digits and _ becomes _.

    Raises
    ------
    DataError
        A line is not as it should be (the message names it), a path leads out of the folder or comes twice, a column
        changes what it holds, two columns would have one name, or there are more than 99.
    MissingExtraError
        Parquet without pyarrow.
    """
    readers = {".csv": _csv_records, ".parquet": _parquet_records}
    items: list[Item] = []
    columns: dict[str, list[Any]] = {}
    for where, record, labels in readers.get(file.suffix, _json_records)(file):
        add_record(columns, record, len(items))
        items.append(item_of(record, labels, where))
    _check_unique(items)
    return Metadata(items, attributes_of(file, columns, [item.where for item in items]))


def add_record(columns: dict[str, list[Any]], record: Mapping[str, Any], n: int) -> None:
    """Add to ``columns``, which have n values each, what a record says beside path, text and labels."""
    for name in record:
        if name not in OWN and name not in columns:
            columns[name] = [None] * n
    for name, column in columns.items():
        column.append(record.get(name))


Record = tuple[str, dict[str, Any], list[str]]
"""Where it stands, its values, its labels."""


def _json_records(file: Path) -> Iterator[Record]:
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        where = f"{file} line {number}"
        record = parse_json(line, where)
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(record).__name__}")
        yield where, record, label_list(record, where)


def label_list(record: Mapping[str, Any], where: str) -> list[str]:
    """The field ``labels`` of a record, none where it is missing. Raises DataError for no list of texts."""
    labels = [] if record.get("labels") is None else record["labels"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f"{where}: labels: expected a list of texts, got {labels!r}")
    return labels


def _csv_records(file: Path) -> Iterator[Record]:
    with open_text(file, newline="") as stream:
        reader = csv.reader(stream, strict=True)
        try:
            header = next(reader, [])
            _check_header(header, f"{file} line 1")
            for row in filter(None, reader):
                where = f"{file} line {reader.line_num}"
                if len(row) != len(header):
                    raise DataError(f"{where}: expected {len(header)} columns, got {len(row)}")
                record = dict(zip(header, row, strict=True))
                labels = record.get("labels")
                yield where, record, labels.split("|") if labels else []
        except csv.Error as error:
            raise DataError(f"{file} line {reader.line_num}: not CSV ({error})") from None


def _parquet_records(file: Path) -> Iterator[Record]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f'{file}: Parquet needs pyarrow: pip install "spdq[parquet]"') from None
    done = 0
    try:
        with parquet.ParquetFile(file) as stream:
            _check_header(stream.schema_arrow.names, str(file))
            for batch in stream.iter_batches(batch_size=_ROWS_AT_ONCE):
                for record in batch.to_pylist():
                    done += 1
                    where = f"{file} row {done}"
                    yield where, record, label_list(record, where)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({str(error).partition(chr(10))[0]})") from None


def _check_header(header: Sequence[str], where: str) -> None:
    if "file_name" not in header or len(set(header)) < len(header):
        raise DataError(f"{where}: expected different columns, one of them file_name, got {list(header)}")


def item_of(record: Mapping[str, Any], labels: list[str], where: str) -> Item:
    """The picture that a record describes. Raises DataError for a bad path, text or label."""
    path = relative_path(text_field(dict(record), "file_name", where), f"{where}: file_name")
    text = "" if record.get("text") is None else text_field(dict(record), "text", where).strip()
    names = [storable(label, f"{where}: labels").strip() for label in labels]
    if "" in names:
        raise DataError(f"{where}: labels: an empty label among {labels}")
    return Item(path, text, tuple(names), where)


def _check_unique(items: Sequence[Item]) -> None:
    first: dict[str, Item] = {}
    for item in items:
        if (other := first.setdefault(item.path, item)) is not item:
            raise DataError(f"{item.where}: {item.path} is already named by {other.where}")


def attributes_of(
    file: Path, columns: Mapping[str, list[Any]], where: Sequence[str]
) -> dict[str, tuple[Value, ...]]:
    """Columns (n values each, as read) as attributes; ``where`` names the n items. Raises as ``read_metadata``."""
    if len(columns) > MAX_COLUMNS:
        raise DataError(f"{file}: expected at most {MAX_COLUMNS} columns to filter by, got {len(columns)}")
    found: dict[str, tuple[Value, ...]] = {}
    given: dict[str, str] = {}
    for column, values in columns.items():
        name = as_name(column)
        if (other := given.setdefault(name.lower(), column)) != column:
            raise DataError(
                f"{file}: columns {other!r} and {column!r} would both be named {name}: rename one"
            )
        if file.suffix == ".csv":
            found[name] = from_texts([storable(value or "", f"{file}: {column}") for value in values])
            continue
        found[name] = tuple(_value(value, f"{at}: {column}") for value, at in zip(values, where, strict=True))
        column_kind(column, found[name], where)
    return found


def _value(value: Any, where: str) -> Value:
    if isinstance(value, datetime.date | datetime.time):
        value = value.isoformat()
    made = as_value(value)
    for text in made if isinstance(made, tuple) else (made,):
        if isinstance(text, str):
            storable(text, where)
    return made
