"""The catalogue of an index: a small SQLite database that says which segments make up which generation.

Every change is one SQLite transaction. A digest covers what a reader trusts: the settings and segment rows.
The id map keeps ids unique; it can be derived from the segments, and ``verify`` compares it with them. The
schema must be exactly ours, so a file from elsewhere cannot bring triggers, views or virtual tables.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

from spdq.errors import DamagedError, IncompatibleError, LockedError, SpdqError, StorageError
from spdq.index.ids import KINDS, IdArray, Int64Array
from spdq.index.segments import RESTORE, SegmentRow, checksum

FORMAT = 1
MEMORY = ":memory:"

_BUSY_SECONDS = 5.0

# `removed` is where removal will mark rows (a bitmap, beside deleting their ids): NULL in all that we write.
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID",
    "CREATE TABLE segments (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, n_items INTEGER NOT NULL,"
    " size INTEGER NOT NULL, checksum TEXT NOT NULL, removed BLOB) STRICT",
    "CREATE TABLE ids (id ANY PRIMARY KEY NOT NULL, segment INTEGER NOT NULL, row INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID",
)
_META_TYPES: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "min_reader": (int,),
    "metric": (str,),
    "ids": (str,),
    "n_codebooks": (int,),
    "n_words": (int,),
    "dim": (int,),
    "codebook_fingerprint": (str,),
    "codebooks_sha256": (str,),
    "model_fingerprint": (str, type(None)),
    "model_path": (str, type(None)),
    "generation": (int,),
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
                catalogue._store_meta(dict(meta) | {"format": FORMAT, "min_reader": FORMAT, "generation": 0})
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

    def append(self, name: str, size: int, checksum: str, ids: IdArray) -> State:
        """Commit one new segment with its sorted ids (n,) as the next generation and return that."""
        with _sqlite_errors(self.where), self._transaction():
            number = self._run("SELECT ifnull(max(number), 0) + 1 FROM segments")[0][0]
            self._run(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, NULL)", (number, name, len(ids), size, checksum)
            )
            self._connection.executemany(
                "INSERT INTO ids VALUES (?, ?, ?)", zip(ids.tolist(), repeat(number), range(len(ids)))
            )
            meta = self._meta()
            self._store_meta(meta | {"generation": meta["generation"] + 1})
            return self._read()

    def first_known(self, ids: IdArray) -> int | str | None:
        """One of the sorted ``ids`` (n,) that is in the index already, None where all are new."""
        with _sqlite_errors(self.where):
            low, high = self._run("SELECT (SELECT min(id) FROM ids), (SELECT max(id) FROM ids)")[0]
            if low is None or ids[0] > high or ids[-1] < low:
                return None
            query = "SELECT new.value FROM json_each(?) AS new CROSS JOIN ids ON ids.id = new.value LIMIT 1"
            known = self._run(query, (json.dumps(ids.tolist()),))
            return known[0][0] if known else None

    def largest_id(self) -> int | None:
        """The largest int id, None where there is no item."""
        with _sqlite_errors(self.where):
            largest: int | None = self._run("SELECT max(id) FROM ids")[0][0]
            return largest

    def check_pages(self) -> None:
        """SQLite's own check of every page. Raises DamagedError."""
        with _sqlite_errors(self.where):
            found = self._run("PRAGMA quick_check(1)")[0][0]
            if found != "ok":
                raise self._damaged(str(found).splitlines()[-1])

    def check_ids(self, ids: IdArray, segments: Int64Array, rows: Int64Array) -> None:
        """Compare the id map with the truth: all ids (n,) ascending, and the segment and row where each lies.

        Segments committed since are left out. Raises DamagedError. A writer's commit waits meanwhile.
        """
        with _sqlite_errors(self.where):
            stored = self._connection.execute(
                "SELECT id, segment, row FROM ids WHERE segment <= ? ORDER BY id",
                (int(segments.max(initial=0)),),
            )
            for expected in zip(ids.tolist(), segments.tolist(), rows.tolist(), strict=True):
                if stored.fetchone() != expected:
                    raise self._damaged(f"the id map disagrees with the segments at id {expected[0]!r}")
            if stored.fetchone() is not None:
                raise self._damaged("the id map names an item that no segment holds")

    def _read(self) -> State:
        meta, rows = self._meta(), self._segment_rows()
        if self._run("SELECT value FROM meta WHERE key = 'digest'") != [(_digest(meta, rows),)]:
            raise self._damaged("digest mismatch")
        if any(type(meta.get(key, ...)) not in types for key, types in _META_TYPES.items()):
            raise self._damaged("a setting is missing or of the wrong type")
        if meta["metric"] not in METRICS or meta["ids"] not in KINDS:
            raise self._damaged("unknown metric or kind of ids")
        if not all(_is_sane(*row[:-1]) for row in rows):
            raise self._damaged("a segment row is not sane")
        if any(row[-1] is not None for row in rows):
            raise IncompatibleError(f"{self.where}: holds removed items, which needs a newer spdq")
        pages, page_size = self._run("PRAGMA page_count")[0][0], self._run("PRAGMA page_size")[0][0]
        return State(meta, tuple(SegmentRow(*row[:-1]) for row in rows), pages * page_size)

    def _meta(self) -> dict[str, Any]:
        return dict(self._run("SELECT CAST(key AS TEXT), value FROM meta WHERE key <> 'digest'"))

    def _segment_rows(self) -> list[tuple[Any, ...]]:
        return self._run(
            "SELECT number, name, n_items, size, checksum, removed FROM segments ORDER BY number"
        )

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
    content = json.dumps(
        {"meta": meta, "segments": rows}, sort_keys=True, separators=(",", ":"), default=bytes.hex
    )
    return checksum(content.encode())


def _is_sane(number: Any, name: Any, n_items: Any, size: Any, checksum: Any) -> bool:
    """Whether a segment row holds what it should; the name becomes part of a path."""
    numbers = all(type(value) is int and value > 0 for value in (number, n_items, size))
    return (
        numbers and isinstance(name, str) and _NAME.fullmatch(name) is not None and isinstance(checksum, str)
    )


@contextmanager
def _sqlite_errors(where: str) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.ProgrammingError):
            raise
        raise _translated(error, where) from error


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
