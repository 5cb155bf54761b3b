"""The catalogue of an index: a small SQLite database that says which segments make up which generation.

Every change is one SQLite transaction. A digest covers all there is: the settings, and the segment rows with the
bitmaps of removed items. The schema must be exactly ours, so a file from elsewhere cannot bring triggers, views or
virtual tables.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from spdq.errors import DamagedError, IncompatibleError, LockedError, SpdqError, StorageError
from spdq.index.attributes import accept_types
from spdq.index.ids import KINDS
from spdq.index.segments import RESTORE, SegmentRow, checksum

FORMAT = 1
MEMORY = ":memory:"

_BUSY_SECONDS = 5.0

_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID",
    "CREATE TABLE segments (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, n_items INTEGER NOT NULL,"
    " size INTEGER NOT NULL, checksum TEXT NOT NULL, attributes_size INTEGER NOT NULL,"
    " attributes_checksum TEXT NOT NULL, squared_error REAL NOT NULL, n_measured INTEGER NOT NULL, removed BLOB)"
    " STRICT",
)
_COLUMNS = ", ".join(field.name for field in fields(SegmentRow))
_META_TYPES: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "min_reader": (int,),
    "metric": (str,),
    "ids": (str,),
    "attributes": (str,),
    "n_codebooks": (int,),
    "n_words": (int,),
    "dim": (int,),
    "codebook_fingerprint": (str,),
    "codebooks_sha256": (str,),
    "model_fingerprint": (str, type(None)),
    "model_path": (str, type(None)),
    "generation": (int,),
    "largest_id": (int, type(None)),
}
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
METRICS = ("l2", "ip")
_READ_ONLY = "cannot be written. If a writer was killed, open the index once where it can be"
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class State:
    """One generation: the settings and segment rows of an index, and the bytes its catalogue takes."""

    meta: Mapping[str, Any]
    segments: tuple[SegmentRow, ...]
    catalogue_bytes: int

    @property
    def generation(self) -> int:
        """How many changes there have been."""
        return int(self.meta["generation"])

    @property
    def attributes(self) -> dict[str, str]:
        """The types of the attributes by name."""
        return dict(json.loads(self.meta["attributes"]))


@dataclass(frozen=True)
class Change:
    """What the next generation has different."""

    new: SegmentRow | None = None
    """A segment more; its number is given to it."""
    removed: Mapping[int, bytes | None] = field(default_factory=dict)
    """The bitmap of removed rows of segments, by number."""
    dropped: Sequence[int] = ()
    """Numbers of segments that are no longer."""
    largest_id: int | None = None
    """The largest number ever used as an id, where that has changed."""


class Catalogue:
    """An open catalogue. Not for two threads at once; the index serialises its calls."""

    def __init__(self, connection: sqlite3.Connection, where: str) -> None:
        self._connection = connection
        self.where = where
        self.close = weakref.finalize(self, connection.close)

    @classmethod
    def create(cls, path: Path | str, meta: Mapping[str, Any]) -> Catalogue:
        """Write a new catalogue of no segments at ``path`` (or MEMORY) with the settings ``meta``."""
        with _sqlite_errors(str(path)):
            catalogue = cls(_connect(str(path)), str(path))
            catalogue._set_durable()
            with catalogue._transaction():
                for statement in _SCHEMA:
                    catalogue._run(statement)
                start = {"format": FORMAT, "min_reader": FORMAT, "generation": 0, "largest_id": None}
                catalogue._store_meta(dict(meta) | start)
        return catalogue

    @classmethod
    def open(cls, path: Path, writable: bool) -> Catalogue:
        """Open an existing catalogue and check that its schema is ours.

        A reader opens for writing, too, and then refuses to write: only so can SQLite roll back what a killed
        writer left. On read-only storage SQLite falls back to reading.

        Raises DamagedError, IncompatibleError, LockedError, StorageError.
        """
        _refuse_super_journal(path)
        with _sqlite_errors(str(path)):
            catalogue = cls(_connect(path.absolute().as_uri() + "?mode=rw", uri=True), str(path))
            try:
                catalogue._check_schema(writable)
                if writable:
                    catalogue._set_durable()
                    catalogue.check_pages()
                    catalogue._check_writing(path)
                else:
                    catalogue._run("PRAGMA query_only=ON")
            except BaseException:
                catalogue.close()
                raise
        return catalogue

    def read(self) -> State:
        """Read one consistent generation, its digest checked."""
        with _sqlite_errors(self.where), self._transaction("DEFERRED"):
            return self._read()

    def commit(self, change: Change) -> State:
        """Make a change the next generation and return that."""
        with _sqlite_errors(self.where), self._transaction():
            meta = self._meta()
            meta["generation"] += 1
            if change.largest_id is not None:
                meta["largest_id"] = change.largest_id
            for number, bitmap in change.removed.items():
                self._run("UPDATE segments SET removed = ? WHERE number = ?", (bitmap, number))
            for number in change.dropped:
                self._run("DELETE FROM segments WHERE number = ?", (number,))
            if change.new is not None:
                self._insert(replace(change.new, number=meta["generation"]))
            self._store_meta(meta)
            return self._read()

    def restore(self, rows: Iterable[SegmentRow], largest_id: int | None, generation: int) -> None:
        """Fill a new catalogue with segments that are there already, as that generation."""
        with _sqlite_errors(self.where), self._transaction():
            for row in rows:
                self._insert(row)
            self._store_meta(self._meta() | {"generation": generation, "largest_id": largest_id})

    def check_pages(self) -> None:
        """SQLite's own check of every page. Raises DamagedError."""
        with _sqlite_errors(self.where):
            found = self._run("PRAGMA quick_check(1)")[0][0]
            if found != "ok":
                raise self._damaged(str(found).splitlines()[-1])

    def _read(self) -> State:
        meta, rows = self._meta(), self._segment_rows()
        if self._run("SELECT value FROM meta WHERE key = 'digest'") != [(_digest(meta, rows),)]:
            raise self._damaged("digest mismatch")
        if any(type(meta.get(key, ...)) not in types for key, types in _META_TYPES.items()):
            raise self._damaged("a setting is missing or of the wrong type")
        if meta["metric"] not in METRICS or meta["ids"] not in KINDS or not are_columns(meta["attributes"]):
            raise self._damaged("unknown metric, kind of ids or attributes")
        segments = tuple(SegmentRow(*row) for row in rows)
        if not all(_is_sane(row, meta["generation"], meta["attributes"] != "{}") for row in segments):
            raise self._damaged("a segment row is not sane")
        pages, page_size = self._run("PRAGMA page_count")[0][0], self._run("PRAGMA page_size")[0][0]
        return State(meta, segments, pages * page_size)

    def _insert(self, row: SegmentRow) -> None:
        places = ", ".join("?" * len(fields(SegmentRow)))
        self._run(f"INSERT INTO segments ({_COLUMNS}) VALUES ({places})", astuple(row))

    def _meta(self) -> dict[str, Any]:
        return dict(self._run("SELECT CAST(key AS TEXT), value FROM meta WHERE key <> 'digest'"))

    def _segment_rows(self) -> list[tuple[Any, ...]]:
        return self._run(f"SELECT {_COLUMNS} FROM segments ORDER BY number")

    def _store_meta(self, meta: dict[str, Any]) -> None:
        meta = meta | {"digest": _digest(meta, self._segment_rows())}
        self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())

    def _check_schema(self, writable: bool) -> None:
        found = _schema_of(self._connection)
        if _our_schema()[0] not in found:
            raise self._damaged("not a catalogue of an index")
        versions = dict(self._run("SELECT key, value FROM meta WHERE key IN ('format', 'min_reader')"))
        written, needed = versions.get("format"), versions.get("format" if writable else "min_reader")
        if isinstance(needed, int) and needed > FORMAT:
            raise IncompatibleError(
                f"{self.where}: {'writing' if writable else 'reading'} index format {written} needs "
                f"a spdq of format {needed}, this one has format {FORMAT}. Upgrade spdq"
            )
        if found != _our_schema():
            raise self._damaged("its tables are not those of an index (a trigger, view or table was added)")

    def _check_writing(self, path: Path) -> None:
        """A single damaged byte in its header makes SQLite think that a file is read-only."""
        try:
            self._run("DELETE FROM meta WHERE 0")
        except sqlite3.OperationalError as error:
            ours = os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
            if error.sqlite_errorcode == sqlite3.SQLITE_READONLY and ours:
                raise self._damaged("its header says that it is read-only") from None
            raise

    def _set_durable(self) -> None:
        # EXTRA also syncs the directory after the journal is deleted: without it a power cut undid commits.
        self._run("PRAGMA journal_mode=DELETE")
        self._run("PRAGMA synchronous=EXTRA")

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._run(f"BEGIN {kind}")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"{self.where}: {what}. {RESTORE}")


def _connect(target: str, uri: bool = False) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < (3, 37):
        raise IncompatibleError(
            f"an index needs SQLite 3.37 or newer, this Python has {sqlite3.sqlite_version}"
        )
    connection = sqlite3.connect(
        target, timeout=_BUSY_SECONDS, isolation_level=None, uri=uri, check_same_thread=False
    )
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    return connection


def _refuse_super_journal(path: Path) -> None:
    """Undoing an interrupted write, SQLite deletes the file that the journal names as its super-journal.

    Ours never name one, but the journal of a hostile directory could name any file (sqlite.org/fileformat2,
    section 3: the name, its length, its checksum and the magic number end the journal).
    """
    journal = path.with_name(path.name + "-journal")
    if not journal.is_file():
        return
    try:
        with journal.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 8, 0))
            names_one = size >= 16 and file.read(8) == _JOURNAL_MAGIC
    except OSError:
        return
    if names_one:
        raise DamagedError(f"{journal}: not the journal of an index. {RESTORE}")


def _schema_of(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name = 'meta' DESC, name"
    return connection.execute(query).fetchall()


@cache
def _our_schema() -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(MEMORY)
    try:
        for statement in _SCHEMA:
            connection.execute(statement)
        return _schema_of(connection)
    finally:
        connection.close()


def _digest(meta: Mapping[str, Any], rows: Sequence[tuple[Any, ...]]) -> str:
    content = {"meta": meta, "segments": rows}
    return checksum(json.dumps(content, sort_keys=True, separators=(",", ":"), default=checksum).encode())


def are_columns(text: str) -> bool:
    """Whether a text declares attributes, in JSON."""
    try:
        columns = json.loads(text)
        accept_types(columns)
    except (ValueError, RecursionError):
        return False
    return columns is not None


def _is_sane(row: SegmentRow, generation: int, has_attributes: bool) -> bool:
    """Whether a segment row holds what it should; the name becomes part of a path."""
    positive = (row.number, row.n_items, row.size)
    counts = (row.attributes_size, row.n_measured)
    return (
        all(type(value) is int and value > 0 for value in positive)
        and all(type(value) is int and value >= 0 for value in counts)
        and row.number <= generation
        and isinstance(row.name, str)
        and _NAME.fullmatch(row.name) is not None
        and isinstance(row.checksum, str)
        and isinstance(row.attributes_checksum, str)
        and (row.attributes_size > 0) == has_attributes
        and type(row.squared_error) is float
        and _is_bitmap(row.removed, row.n_items)
    )


def _is_bitmap(removed: Any, n_items: int) -> bool:
    """Whether it marks some of n_items, not all, and nothing behind them."""
    if removed is None:
        return True
    if not isinstance(removed, bytes) or len(removed) != -(-n_items // 8):
        return False
    marked = int.from_bytes(removed, "little")
    return 0 < marked < 1 << n_items and marked.bit_count() < n_items


@contextmanager
def _sqlite_errors(where: str) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.ProgrammingError):
            raise
        raise _translated(error, where) from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"{where}: {error}. {RESTORE}") from error


def _translated(error: sqlite3.Error, where: str) -> SpdqError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    match code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return LockedError(f"another process is writing to {where}")
        case sqlite3.SQLITE_FULL:
            return StorageError("no space left on device")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN:
            return StorageError(f"{where}: {_READ_ONLY}")
        case sqlite3.SQLITE_IOERR:
            return StorageError(f"{where}: {error}")
    return DamagedError(f"{where}: {error}. {RESTORE}")
