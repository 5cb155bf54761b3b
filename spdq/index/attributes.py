"""Attributes of items: the types a user declares, and values on their way into SQLite and back.

A set of strings is stored as one text, each string between two separators.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

from spdq.errors import DataError, UsageError

Columns = Mapping[str, str]
"""The type of each column by its name, in their order."""
Values = tuple[Any, ...]
"""One item's values as SQLite stores them, in the order of the columns."""

TYPES = {"int": "INTEGER", "float": "REAL", "str": "TEXT", "set": "TEXT"}
MAX_COLUMNS = 100

_SEPARATOR = "\x1f"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset({"id", "row", "rowid", "oid", "_rowid_"})


def accept_types(columns: Columns | None) -> dict[str, str]:
    """The columns a user declared, checked. Raises UsageError."""
    if columns is not None and not isinstance(columns, Mapping):
        raise UsageError(
            f'expected attributes with their types, such as {{"year": "int"}}, got {type(columns).__name__}'
        )
    columns = dict(columns or {})
    if len(columns) > MAX_COLUMNS:
        raise UsageError(f"an index has at most {MAX_COLUMNS} attributes, got {len(columns)}")
    lower = [name.lower() if isinstance(name, str) else name for name in columns]
    for name, kind in columns.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise UsageError(
                f"{name!r} cannot name an attribute: expected letters, digits and _, at most 64, none of "
                f"{', '.join(sorted(_RESERVED))}"
            )
        if not isinstance(kind, str) or kind not in TYPES:
            raise UsageError(f"attribute {name} must be of type {', '.join(TYPES)}, not {kind!r}")
        if lower.count(name.lower()) > 1:
            raise UsageError(f"two attributes are named {name}: capitals make no difference")
    return columns


def accept_values(
    values: Mapping[str, Sequence[Any]] | None, columns: Columns, n_items: int
) -> list[Values] | None:
    """What a user passed as attributes, item by item; None in an index without any.

    A column that is left out, and a value None, is "not known". Raises DataError naming column and item.
    """
    try:
        given = dict({} if values is None else values)
    except (TypeError, ValueError):
        raise DataError(
            f'expected values by attribute, such as {{"year": [2020, None]}}, got {type(values).__name__}'
        ) from None
    if unknown := [name for name in given if name not in columns]:
        has = f"has {', '.join(columns)}" if columns else "was made without any"
        raise DataError(f"unknown attribute {unknown[0]!r}: this index {has}")
    if not columns:
        return None
    stored = []
    for name, kind in columns.items():
        column = _listed(given[name], name, n_items) if name in given else [None] * n_items
        stored.append([_stored(value, kind, name, item) for item, value in enumerate(column)])
    return list(zip(*stored, strict=True))


def _listed(column: Any, name: str, n_items: int) -> list[Any]:
    """One attribute's values, in the order of the items. Raises DataError."""
    try:
        # A text is a list of its letters, and a set has no order: neither is meant.
        listed = None if isinstance(column, str | bytes | Set | Mapping) else list(column)
    except TypeError:
        listed = None
    if listed is None or len(listed) != n_items:
        got = type(column).__name__ if listed is None else len(listed)
        raise DataError(f"attribute {name}: expected {n_items} values, one for each item, got {got}")
    return listed


def describe(columns: Columns) -> str:
    """The columns, for messages."""
    listed = ", ".join(f"{name} ({kind})" for name, kind in columns.items())
    return f"The attributes are {listed}" if listed else "The index was made without attributes"


def shown(values: Values, columns: Columns) -> dict[str, Any]:
    """One item's values as users write them: a set as a sorted list."""
    return {
        name: members(value) if kind == "set" and value is not None else value
        for (name, kind), value in zip(columns.items(), values, strict=True)
    }


def members(value: str) -> list[str]:
    """The texts of a set as it is stored."""
    return value[1:-1].split(_SEPARATOR) if value else []


def schema(columns: Columns) -> str:
    """The statement that makes the table of these columns."""
    typed = ", ".join(f'"{name}" {TYPES[kind]}' for name, kind in columns.items())
    return f"CREATE TABLE items (row INTEGER PRIMARY KEY, {typed}) STRICT"


def _stored(value: Any, kind: str, name: str, item: int) -> Any:
    """One value as SQLite stores it. Raises DataError."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return None
    if kind == "int" and isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if (
        kind == "float"
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and _is_finite(value)
    ):
        return float(value)
    if kind == "str" and is_text(value):
        return value
    if kind == "set" and (joined := _joined(value)) is not None:
        return joined
    raise DataError(f"attribute {name} of item {item} must be {_EXPECTED[kind]} or None, got {_brief(value)}")


_EXPECTED = {
    "int": "a 64 bit integer",
    "float": "a finite number",
    "str": "a text (without NUL and lone surrogates)",
    "set": "a set of texts (none empty, none with NUL, U+001F or lone surrogates)",
}


def _brief(value: Any) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # Python writes out no integer of more than 4,300 digits.
        return f"a very long {type(value).__name__}"


def _joined(value: Any) -> str | None:
    """A set of texts as one text, None where it is none."""
    try:
        members = set(value)
    except TypeError:
        return None
    if isinstance(value, str | Mapping):
        return None
    if not all(is_text(one) and one and _SEPARATOR not in one for one in members):
        return None
    return _SEPARATOR + _SEPARATOR.join(sorted(members)) + _SEPARATOR if members else ""


def _is_finite(value: float) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except OverflowError:
        return False


def is_text(value: Any) -> bool:
    """Whether SQLite can store it: no NUL, which ends a text there, and no lone surrogates."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def has(stored: Any, member: Any) -> bool | None:
    """Whether a set of strings, as it is stored, has this one."""
    if stored is None or member is None:
        return None
    wanted = str(member)
    return (
        isinstance(stored, str) and _SEPARATOR not in wanted and f"{_SEPARATOR}{wanted}{_SEPARATOR}" in stored
    )
