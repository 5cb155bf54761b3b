"""Attributes of items: a typed column store beside the codes, and the expressions that choose items by it.

Each segment has a SQLite database of its own with one table, row r + 1 of which belongs to row r of the segment:
written once, checksummed like the codes, and never read where no search asks for it. A set of strings is stored as one
text, each string between two separators.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DamagedError, DataError, UsageError
from spdq.index.ids import Int64Array

Columns = Mapping[str, str]
"""The type of each column by its name, in their order."""
Values = tuple[Any, ...]
"""One item's values as SQLite stores them, in the order of the columns."""

TYPES = {"int": "INTEGER", "float": "REAL", "str": "TEXT", "set": "TEXT"}
MAX_COLUMNS = 100
MAX_EXPRESSION = 10_000
"""Most characters of an expression."""

_SEPARATOR = "\x1f"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_RESERVED = frozenset({"id", "row", "rowid", "oid", "_rowid_"})
_FUNCTIONS = frozenset(
    (
        *(
            "abs",
            "coalesce",
            "glob",
            "has",
            "ifnull",
            "iif",
            "instr",
            "length",
            "like",
            "lower",
            "ltrim",
            "max",
        ),
        *("min", "nullif", "round", "rtrim", "sign", "substr", "trim", "typeof", "unicode", "upper"),
    )
)
"""What an expression may call; ``has(tags, 'red')`` is ours."""


def accept_types(columns: Columns | None) -> dict[str, str]:
    """The columns a user declared, checked. Raises UsageError."""
    columns = {} if columns is None else dict(columns)
    if len(columns) > MAX_COLUMNS:
        raise UsageError(f"an index has at most {MAX_COLUMNS} attributes, got {len(columns)}")
    lower = [name.lower() if isinstance(name, str) else name for name in columns]
    for name, kind in columns.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _RESERVED:
            raise UsageError(
                f"{name!r} cannot name an attribute: expected letters, digits and _, at most 64, none of "
                f"{', '.join(sorted(_RESERVED))}"
            )
        if kind not in TYPES:
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
    values = {} if values is None else values
    if unknown := sorted(set(values) - set(columns)):
        has = f"has {', '.join(columns)}" if columns else "was made without any"
        raise DataError(f"unknown attribute {unknown[0]!r}: this index {has}")
    if not columns:
        return None
    stored = []
    for name, kind in columns.items():
        column = values.get(name, [None] * n_items)
        if len(column) != n_items:
            raise DataError(
                f"attribute {name}: expected {n_items} values, one for each item, got {len(column)}"
            )
        stored.append([_stored(value, kind, name, item) for item, value in enumerate(column)])
    return list(zip(*stored, strict=True))


def pack_attributes(columns: Columns, rows: Iterable[tuple[int, Values]]) -> bytes:
    """A database with the values of numbered rows, as the bytes of its file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(_schema(columns))
        connection.execute("BEGIN")
        places = ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO items VALUES (?, {places})", ((row + 1, *values) for row, values in rows)
        )
        connection.execute("COMMIT")
        return connection.serialize()


class AttributeTable:
    """The attributes of a segment's ``n_items`` rows in an open database, which is closed with the process.

    Raises DamagedError, naming ``where``, unless its schema is that of the columns.
    """

    def __init__(self, connection: sqlite3.Connection, columns: Columns, n_items: int, where: str) -> None:
        self._connection = connection
        self._columns = columns
        self._n_items = n_items
        self._where = where
        self._lock = threading.Lock()
        with self._reading():
            found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        if found != [("table", "items", "items", _schema(columns))]:
            raise self._damaged("not the attributes of this index")
        connection.create_function("has", 2, _has, deterministic=True)

    def select(self, expression: str) -> npt.NDArray[np.bool_]:
        """(n_items,) bool: the rows for which an expression is true.

        Raises UsageError where it is no expression over the columns.
        """
        check_length(expression)
        chosen = np.zeros(self._n_items, np.bool_)
        with self._reading():
            rows = self._chosen_rows(expression)
        numbers = np.fromiter((row for (row,) in rows), np.int64, len(rows)) - 1
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self._n_items):
            raise self._damaged("a row has no item")
        chosen[numbers] = True
        return chosen

    def _chosen_rows(self, expression: str) -> list[Any]:
        gate = _Gate()
        self._connection.set_authorizer(gate)
        try:
            # The line break ends a comment that would swallow the bracket.
            return self._connection.execute(f"SELECT row FROM items WHERE ({expression}\n)").fetchall()
        except (sqlite3.Warning, sqlite3.DatabaseError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_TOOBIG):
                raise
            raise UsageError(
                f"not a condition: {expression} ({gate.refused or error}). {describe(self._columns)}"
            ) from None
        finally:
            self._connection.set_authorizer(None)

    def take(self, rows: Int64Array) -> list[Values]:
        """The values of rows (m,)."""
        names = ", ".join(f'items."{name}"' for name in self._columns)
        with self._reading():
            taken = self._connection.execute(
                f"SELECT {names} FROM json_each(?) AS wanted"
                " LEFT JOIN items ON items.row = wanted.value ORDER BY wanted.key",
                (json.dumps((rows + 1).tolist()),),
            ).fetchall()
        return taken

    def all(self) -> Iterator[tuple[int, Values]]:
        """Every row's number and values."""
        with self._reading():
            for row, *values in self._connection.execute("SELECT * FROM items ORDER BY row"):
                yield row - 1, tuple(values)

    def verify(self) -> None:
        """Let SQLite check every page, and count the rows. Raises DamagedError."""
        with self._reading():
            found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            counted = self._connection.execute("SELECT count(*), min(row), max(row) FROM items").fetchone()
        if found != "ok":
            raise self._damaged(str(found).splitlines()[-1])
        if counted != (self._n_items, 1, self._n_items):
            raise self._damaged(f"expected the rows of {self._n_items} items")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f'{self._where}: {what}. Run "spdq index repair" or restore the file')


class _Gate:
    """SQLite asks it what a statement may do: one SELECT over our columns, with harmless functions."""

    def __init__(self) -> None:
        self.refused = ""
        self._selects = 0

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            self._selects += 1
            if self._selects == 1:
                return sqlite3.SQLITE_OK
            self.refused = "one condition, without SELECT"
        elif action == sqlite3.SQLITE_READ:
            if first == "items":
                return sqlite3.SQLITE_OK
            self.refused = f"no such table: {first}"
        elif action == sqlite3.SQLITE_FUNCTION:
            if second in _FUNCTIONS:
                return sqlite3.SQLITE_OK
            self.refused = f"function {second} is not among {', '.join(sorted(_FUNCTIONS))}"
        else:
            self.refused = "only conditions are allowed"
        return sqlite3.SQLITE_DENY


def check_expression(expression: str, columns: Columns) -> None:
    """Raise UsageError where an expression cannot be asked of these columns, be there items or not."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(_schema(columns))
        AttributeTable(connection, columns, 0, "attributes").select(expression)


def check_length(expression: str) -> None:
    """Raise UsageError where a condition is no text or too long a one."""
    if not isinstance(expression, str) or not expression.strip() or "\0" in expression:
        raise UsageError(f"expected a condition such as \"label = 'cat'\", got {expression!r}")
    if len(expression) > MAX_EXPRESSION:
        raise UsageError(f"a condition has at most {MAX_EXPRESSION} characters, got {len(expression)}")


def describe(columns: Columns) -> str:
    """The columns, for messages."""
    listed = ", ".join(f"{name} ({kind})" for name, kind in columns.items())
    return f"The attributes are {listed}" if listed else "The index was made without attributes"


def shown(values: Values, columns: Columns) -> dict[str, Any]:
    """One item's values as users write them: a set as a sorted list."""
    return {
        name: value[1:-1].split(_SEPARATOR)
        if kind == "set" and value not in (None, "")
        else []
        if value == "" and kind == "set"
        else value
        for (name, kind), value in zip(columns.items(), values, strict=True)
    }


def _schema(columns: Columns) -> str:
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
    if kind == "str" and _is_text(value):
        return value
    if kind == "set" and not isinstance(value, str | bytes) and isinstance(value, Iterable):
        members = set(value)
        if all(_is_text(member) and member and _SEPARATOR not in member for member in members):
            return _SEPARATOR + _SEPARATOR.join(sorted(members)) + _SEPARATOR if members else ""
    raise DataError(f"attribute {name} of item {item} must be {_EXPECTED[kind]} or None, got {value!r:.60}")


_EXPECTED = {
    "int": "a 64 bit integer",
    "float": "a finite number",
    "str": "a text",
    "set": "a set of texts that are not empty",
}


def _is_finite(value: float) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except OverflowError:
        return False


def _is_text(value: Any) -> bool:
    """Whether SQLite can store it: no NUL, which ends a text there, and no lone surrogates."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has(members: Any, member: Any) -> bool | None:
    """Whether a set of strings, as it is stored, has this one."""
    if members is None or member is None:
        return None
    wanted = str(member)
    return (
        isinstance(members, str)
        and _SEPARATOR not in wanted
        and f"{_SEPARATOR}{wanted}{_SEPARATOR}" in members
    )
