"""The attributes of a segment's rows: a SQLite database, and the conditions that choose rows by it.

It has one table, row r + 1 of which belongs to row r of the segment: written once, checksummed like the codes, and
never read where no search asks for it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DamagedError, UsageError
from spdq.index.attributes import Columns, Values, describe, has, is_text, schema
from spdq.index.ids import Int64Array

MAX_EXPRESSION = 10_000
"""Most characters of an expression."""

_PYTHON = {"int": int, "float": float, "str": str, "set": str}
_ROWS_AT_ONCE = 10_000
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


def pack_attributes(columns: Columns, rows: Iterable[tuple[int, Values]]) -> bytes:
    """A database with the values of numbered rows, as the bytes of its file."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(schema(columns))
        connection.execute("BEGIN")
        places = ", ".join("?" * len(columns))
        connection.executemany(
            f"INSERT INTO items VALUES (?, {places})", ((row + 1, *values) for row, values in rows)
        )
        connection.execute("COMMIT")
        return connection.serialize()


class AttributeTable:
    """The attributes of a segment's ``n_items`` rows in an open database, which is closed with it.

    Raises DamagedError, naming ``where``, unless its schema is that of the columns.
    """

    def __init__(self, connection: sqlite3.Connection, columns: Columns, n_items: int, where: str) -> None:
        self._connection = connection
        self._columns = columns
        self._n_items = n_items
        self._where = where
        self._lock = threading.Lock()
        weakref.finalize(self, connection.close)
        with self._reading():
            found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        if found != [("table", "items", "items", schema(columns))]:
            raise self._damaged("not the attributes of this index")
        connection.create_function("has", 2, has, deterministic=True)

    def select(self, expression: str, brackets: int = 1) -> npt.NDArray[np.bool_]:
        """(n_items,) bool: the rows for which an expression is true, with some pairs of brackets around it.

        Raises UsageError where it is no expression over the columns.
        """
        chosen = np.zeros(self._n_items, np.bool_)
        with self._reading():
            rows = self._chosen_rows(expression, brackets)
        numbers = np.fromiter((row for (row,) in rows), np.int64, len(rows)) - 1
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self._n_items):
            raise self._damaged("a row has no item")
        chosen[numbers] = True
        return chosen

    def _chosen_rows(self, expression: str, brackets: int) -> list[Any]:
        gate = _Gate()
        # The line break ends a comment that would swallow the bracket.
        condition = "(" * brackets + expression + "\n" + ")" * brackets
        self._connection.set_authorizer(gate)
        try:
            return self._connection.execute(f"SELECT row FROM items WHERE {condition}").fetchall()
        except (sqlite3.Warning, sqlite3.DatabaseError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & 0xFF not in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_TOOBIG):
                raise
            if "user-defined function" in str(error):
                self._connection.set_authorizer(None)
                self._decode_all()  # A damaged text cannot be passed to ``has`` either.
            why = f"not a condition: {expression:.200} ({gate.refused or error}). {describe(self._columns)}"
            raise UsageError(" ".join(why.split())) from None
        finally:
            self._connection.set_authorizer(None)

    def _decode_all(self) -> None:
        deque(self._connection.execute("SELECT * FROM items"), maxlen=0)

    def take(self, rows: Int64Array) -> list[Values]:
        """The values of rows (m,). Raises DamagedError."""
        wanted = (rows + 1).tolist()
        with self._reading():
            taken = self._connection.execute(
                "SELECT items.* FROM json_each(?) AS wanted"
                " LEFT JOIN items ON items.row = wanted.value ORDER BY wanted.key",
                (json.dumps(wanted),),
            ).fetchall()
        return self._checked(taken, wanted)

    def all(self) -> Iterator[tuple[int, Values]]:
        """Every row's number and values. Raises DamagedError."""
        # Some at a time, so that conditions need not wait for all of them.
        for start in range(0, self._n_items, _ROWS_AT_ONCE):
            end = min(start + _ROWS_AT_ONCE, self._n_items)
            with self._reading():
                some = self._connection.execute(
                    "SELECT * FROM items WHERE row > ? AND row <= ? ORDER BY row", (start, end)
                ).fetchall()
            yield from enumerate(self._checked(some, list(range(start + 1, end + 1))), start)

    def count(self, column: str, removed: Int64Array, limit: int) -> list[tuple[Any, int]]:
        """At most ``limit`` values of a column and how many rows have each; ``removed`` rows are passed over."""
        with self._reading():
            found = self._connection.execute(
                f'SELECT "{column}", count(*) FROM items'
                " WHERE row NOT IN (SELECT value FROM json_each(?)) GROUP BY 1 LIMIT ?",
                (json.dumps((removed + 1).tolist()), limit),
            ).fetchall()
        return found

    def extremes(self, column: str, removed: Int64Array) -> tuple[Any, Any]:
        """The smallest and largest value of a column, None where no row has one; ``removed`` ones are passed over."""
        with self._reading():
            found: tuple[Any, Any] = self._connection.execute(
                f'SELECT min("{column}"), max("{column}") FROM items'
                " WHERE row NOT IN (SELECT value FROM json_each(?))",
                (json.dumps((removed + 1).tolist()),),
            ).fetchone()
        return found

    def _checked(self, found: list[Values], wanted: list[int]) -> list[Values]:
        """The values of the rows that were wanted, without their numbers."""
        numbers, *columns = zip(*found, strict=True) if found else [()]
        types = [{_PYTHON[kind], type(None)} for kind in self._columns.values()]
        if list(numbers) != wanted or not all(
            set(map(type, column)) <= allowed for column, allowed in zip(columns, types, strict=False)
        ):
            raise self._damaged("a row is missing or not of the types of its columns")
        return list(zip(*columns, strict=True))

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
        self._has_row = False

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_SELECT:
            self._selects += 1
            if self._selects == 1:
                return sqlite3.SQLITE_OK
            self.refused = "one condition, without SELECT"
        elif action == sqlite3.SQLITE_READ:
            # The number of the row is what we select, and means nothing to users.
            if first == "items" and not (second == "row" and self._has_row):
                self._has_row |= second == "row"
                return sqlite3.SQLITE_OK
            self.refused = f"no such column: {second}" if first == "items" else f"no such table: {first}"
        elif action == sqlite3.SQLITE_FUNCTION:
            if second in _FUNCTIONS:
                return sqlite3.SQLITE_OK
            self.refused = f"function {second} is not among {', '.join(sorted(_FUNCTIONS))}"
        else:
            self.refused = "only conditions are allowed"
        return sqlite3.SQLITE_DENY


def check_expression(expression: str, columns: Columns) -> None:
    """Raise UsageError where an expression cannot be asked of these columns, be there items or not."""
    check_length(expression)
    if not columns:
        raise UsageError(f"not a condition here: {expression:.200}. {describe(columns)}")
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as connection:
        connection.execute(schema(columns))
        table = AttributeTable(connection, columns, 0, "attributes")
        # "1) LIMIT (1" closes the brackets around it: it cannot be right within one pair and within two.
        for brackets in (1, 2):
            table.select(expression, brackets)


def check_length(expression: str) -> None:
    """Raise UsageError where a condition is no text or too long a one."""
    if not is_text(expression) or not expression.strip():
        raise UsageError(f"expected a condition such as \"label = 'cat'\", got {expression!r}")
    if len(expression) > MAX_EXPRESSION:
        raise UsageError(f"a condition has at most {MAX_EXPRESSION} characters, got {len(expression)}")
