"""What else is known of items, to filter by: columns of whole numbers, numbers, texts or sets of texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from spdq.data.dataset_checks import is_storable
from spdq.errors import DataError

Value: TypeAlias = int | float | str | tuple[str, ...] | None
"""None is "not known"; a tuple is a set of texts."""
Attributes: TypeAlias = Mapping[str, tuple[Value, ...]]
"""Columns by name, a value an item."""

KINDS = {"int": "whole numbers", "float": "numbers", "str": "texts", "set": "lists of texts"}
MAX_COLUMNS = 99
"""An index has room for one more: the labels."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_TAKEN = frozenset({"id", "row", "rowid", "oid", "_rowid_", "labels"})
_INT64 = 1 << 63


def kind_of(value: Value) -> str | None:
    """ "int", "float", "str" or "set"; None for "not known"."""
    if value is None:
        return None
    return "set" if isinstance(value, tuple) else type(value).__name__


def column_kind(name: str, column: Sequence[Value], where: Sequence[str] | None = None) -> str:
    """What a column holds; whole numbers among numbers are numbers, and nothing known at all is texts.

    Raises
    ------
    DataError
        Its values have no kind in common; ``where``, an item each, names the place.
    """
    first: int | None = None
    kind = ""
    for row, value in enumerate(column):
        found = kind_of(value)
        if found is None or found == kind:
            continue
        if first is None:
            first, kind = row, found
        elif {found, kind} == {"int", "float"}:
            kind = "float"
        else:
            at, since = (where[row], where[first]) if where else (f"item {row}", f"item {first}")
            raise DataError(f"{at}: {name}: expected {KINDS[kind]} as in {since}, got {value!r:.60}")
    return kind or "str"


def check_attributes(attributes: Any, n: int) -> None:
    """Raise DataError unless these are columns of n values of one kind each, with names that an index takes."""
    if not isinstance(attributes, Mapping) or len(attributes) > MAX_COLUMNS:
        raise DataError(f"attributes: expected at most {MAX_COLUMNS} columns by name")
    seen: set[str] = set()
    for name, column in attributes.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _TAKEN | seen:
            raise DataError(
                f"attributes: {name!r:.80} cannot name a column: expected letters, digits and _, at most 64, once "
                f"whatever the capitals, none of {', '.join(sorted(_TAKEN))}"
            )
        seen.add(name.lower())
        if not isinstance(column, tuple) or len(column) != n:
            raise DataError(f"attributes: {name}: expected a tuple of {n} values")
        for row, value in enumerate(column):
            if not _is_value(value):
                raise DataError(
                    f"attributes: {name} row {row}: expected a number, a text, texts or None, got {value!r:.60}"
                )
        column_kind(f"attributes: {name}", column)


def as_name(column: str) -> str:
    """A column's name as an attribute's: what is no letter, digit or _ becomes _."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", column)[:63]
    if not name or name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if name.lower() in _TAKEN else name


def as_value(value: Any) -> Value:
    """A value of JSON as an attribute's: true is 1, a list of texts a set, other lists and objects are JSON texts."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(dict.fromkeys(part for part in value if part))
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return None if value == "" else value


def from_texts(texts: Sequence[str]) -> tuple[Value, ...]:
    """A column of CSV: whole numbers where all can be read so, else numbers, else texts; an empty one is not known."""
    given = [text for text in texts if text]
    for read in (_as_int, _as_float):
        if given and all(read(text) is not None for text in given):
            return tuple(read(text) if text else None for text in texts)
    return tuple(text or None for text in texts)


def to_text(column: tuple[Value, ...]) -> str:
    """The column as it is stored: a JSON list."""
    return json.dumps(column, ensure_ascii=False, separators=(",", ":"))


def from_text(text: str, where: str) -> tuple[Value, ...]:
    """What ``to_text`` made. Raises DataError."""
    try:
        column = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None
    if not isinstance(column, list):
        raise DataError(f"{where}: expected a JSON list, got {type(column).__name__}")
    return tuple(tuple(value) if isinstance(value, list) else value for value in column)


def _is_value(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(
            isinstance(part, str) and part and "\x1f" not in part and is_storable(part) for part in value
        )
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (type(value) is int and -_INT64 <= value < _INT64)


def _as_int(text: str) -> int | None:
    # Python would also read 1_000 and digits of other scripts.
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text.strip()) else None
    return value if value is not None and -_INT64 <= value < _INT64 else None


def _as_float(text: str) -> float | None:
    if not re.fullmatch(r"[-+.0-9eE]+", text.strip()):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
