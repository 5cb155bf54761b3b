"""Attributes of items in a file of their own: JSON lines or CSV with a column ``id``."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spdq.errors import DataError, NotFoundError
from spdq.index.attributes import Columns
from spdq.index.ids import show_id

ID = "id"

Record = tuple[str, dict[str, Any]]
"""Where a record stands, for messages, and its values."""


class AttributeFile:
    """The attributes in a file, for items by their ids.

    ``types`` are those an index has already; otherwise they are guessed: of JSON from the values (whole numbers,
    numbers, texts, lists of texts), of CSV from what all texts of a column can be read as.

    Raises NotFoundError, DataError naming the line.
    """

    def __init__(self, path: Path, id_kind: str, types: Columns | None = None) -> None:
        self._path = path
        is_csv = path.suffix.lower() == ".csv"
        records = list(_csv_records(path) if is_csv else _json_records(path))
        columns: dict[str, list[tuple[str, Any]]] = {}
        for where, values in records:
            for name, value in values.items():
                if name != ID:
                    columns.setdefault(name, []).append((where, value))
        self.types: dict[str, str] = (
            dict(types) if types else {name: _guess(name, column, is_csv) for name, column in columns.items()}
        )
        self._of_id: dict[int | str, dict[str, Any]] = {}
        for where, values in records:
            key = _key(values.get(ID), id_kind, is_csv, where)
            if key in self._of_id:
                raise DataError(f"{where}: duplicate id {show_id(key)}")
            self._of_id[key] = {
                name: _read(value, self.types.get(name, "str"), name, where) if is_csv else value
                for name, value in values.items()
                if name != ID
            }

    def columns(self, ids: list[Any]) -> dict[str, list[Any]]:
        """The columns of values of some items, None where the file does not say.

        Raises DataError where the file has a column the index has not.
        """
        found = [self._of_id.get(key, {}) for key in ids]
        names = dict.fromkeys(self.types) | dict.fromkeys(name for values in found for name in values)
        return {name: [values.get(name) for values in found] for name in names}


def _json_records(path: Path) -> Iterator[Record]:
    for number, line in _lines(path):
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{where}: not JSON") from None
        if not isinstance(record, dict):
            raise DataError(f'{where}: expected an object with an "{ID}"')
        yield where, record


def _csv_records(path: Path) -> Iterator[Record]:
    lines = (line + "\n" for _, line in _lines(path))
    reader = csv.DictReader(lines, strict=True)
    try:
        if ID not in (reader.fieldnames or ()):
            raise DataError(f"{path}: expected a first line with column names, {ID} among them")
        for record in reader:
            where = f"{path} line {reader.line_num}"
            if None in record or None in record.values():
                raise DataError(f"{where}: expected {len(reader.fieldnames or ())} values")
            yield where, record
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: {error}") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    raise DataError(f"{path} line {number}: not UTF-8 text") from None
                if text:
                    yield number, text
    except FileNotFoundError:
        raise NotFoundError(f"file not found: {path}") from None
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None


def _guess(name: str, column: list[tuple[str, Any]], is_csv: bool) -> str:
    """The type of a column. Raises DataError where its values have none in common."""
    values = [(where, value) for where, value in column if value not in (None, "")]
    for kind in ("int", "float", "str", "set"):
        readable = _is_readable if is_csv else _is_json
        if all(readable(value, kind) for _, value in values):
            return kind if values else "str"
    where = values[0][0]
    raise DataError(f"{where}: the values of {name} are not all numbers, all texts or all lists of texts")


def _is_json(value: Any, kind: str) -> bool:
    types: Mapping[str, Any] = {"int": int, "float": int | float, "str": str, "set": list}
    return isinstance(value, types[kind]) and not isinstance(value, bool)


def _is_readable(value: str, kind: str) -> bool:
    try:
        _parsed(value, kind)
    except ValueError:
        return False
    return True


def _read(value: str, kind: str, name: str, where: str) -> Any:
    """A text of CSV as a value; an empty one is "not known". Raises DataError."""
    if value == "":
        return None
    try:
        return _parsed(value, kind)
    except ValueError:
        raise DataError(f"{where}: {name} must be of type {kind}, got {value!r:.60}") from None


def _parsed(value: str, kind: str) -> Any:
    if kind == "int":
        return int(value)
    if kind == "float":
        return float(value)
    return [part for part in value.split("|") if part] if kind == "set" else value


def _key(value: Any, kind: str, is_csv: bool, where: str) -> int | str:
    """An id. Raises DataError."""
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and is_csv and _is_readable(value, "int"):
        return int(value)
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    expected = "a string" if kind == "str" else "an integer"
    raise DataError(f'{where}: expected "{ID}", {expected}, got {value!r:.60}')
