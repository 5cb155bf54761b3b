"""Features of pictures kept by content, so that a second run extracts only what is new."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from PIL import Image

from spdq.errors import LockedError, StorageError
from spdq.features.images import ImageSource
from spdq.features.prefetch import prefetched
from spdq.features.registry import ImageExtractor

if TYPE_CHECKING:
    import sqlite3

CHUNK = 64
"""Pictures between two writes; a kill can lose those of two."""
WAIT_SECONDS = 60
_TABLES = """
CREATE TABLE IF NOT EXISTS rows (picture BLOB PRIMARY KEY, features BLOB NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS extractor (settings TEXT PRIMARY KEY);
"""


class CachedExtractor:
    """An extractor whose rows are kept in a folder, and taken from there for pictures that it has seen.

    A row is known by the SHA-256 of the picture file's bytes and by all settings of the extractor: each set of settings
    has a SQLite file of its own in the folder, made where it is missing. Any number of processes may share the folder;
    a killed one loses no more than the last 128 pictures. Every row has a checksum, and a damaged one, or a damaged
    file, is extracted anew. PIL images have no file and are always extracted.
    """

    def __init__(self, extractor: ImageExtractor, folder: Path) -> None:
        self._extractor = extractor
        self._folder = folder

    @property
    def name(self) -> str:
        return self._extractor.name

    @property
    def dim(self) -> int:
        return self._extractor.dim

    @property
    def regions(self) -> int:
        return self._extractor.regions

    def settings(self) -> dict[str, Any]:
        return self._extractor.settings()

    def extract(
        self, images: Sequence[ImageSource], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Features of n pictures, (n, dim) float32.

        Raises what the extractor raises (bytes and PIL images are named by their place among the new ones),
        StorageError where the folder refuses, and LockedError where another process keeps it for over a minute.
        """
        if isinstance(images, str | bytes | Path | Image.Image):
            # One picture without a list is for the extractor to refuse.
            return self._extractor.extract(images, progress)
        features = np.empty((len(images), self.dim), np.float32)
        store = Store(self._folder, self.settings(), self.dim)
        chunks = [images[start : start + CHUNK] for start in range(0, len(images), CHUNK)]

        def look_up(chunk: int) -> tuple[list[_Content], dict[bytes, np.ndarray]]:
            seen = [_Content(image) for image in chunks[chunk]]
            return seen, store.read([content.key for content in seen if content.key])

        first: dict[bytes, int] = {}
        start = 0
        # Chunks are looked up ahead and written behind, so that the extractor waits for neither.
        with ThreadPoolExecutor(1, "spdq-cache") as writer:
            writing: Future[None] | None = None
            for [(seen, known)] in prefetched(look_up, len(chunks), 1):
                new = []
                for row, content in enumerate(seen, start):
                    if content.key in known:
                        features[row] = known[content.key]
                    elif content.key is None or first.setdefault(content.key, row) == row:
                        new.append(row)
                stop = start + len(seen)
                if new:
                    offset = stop - len(new)
                    inner = None if progress is None else partial(_report, progress, offset, len(images))
                    features[new] = self._extractor.extract([images[row] for row in new], inner)
                    # A file that changed meanwhile is none that its key describes.
                    keys = [(seen[row - start].unchanged_key(), features[row]) for row in new]
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(store.write, [(key, found) for key, found in keys if key])
                for row, content in enumerate(seen, start):
                    # The same picture twice is extracted once.
                    if content.key in first:
                        features[row] = features[first[content.key]]
                start = stop
                if progress is not None:
                    progress(stop, len(images))
            if writing is not None:
                writing.result()
        return features


def _report(progress: Callable[[int, int], None], offset: int, total: int, done: int, _: int) -> None:
    progress(offset + done, total)


class _Content:
    """The bytes of a picture's file as they are now; ``key`` is None for what has no file that can be read.

    What it has instead, a PIL image or no such file, is the extractor's to take or to refuse.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._state = self._stat()
        self.key: bytes | None = None
        if isinstance(source, bytes):
            self.key = hashlib.sha256(source).digest()
        elif self._state is not None:
            try:
                with open(str(source), "rb") as file:
                    self.key = hashlib.file_digest(file, "sha256").digest()
            except OSError:
                return

    def unchanged_key(self) -> bytes | None:
        """The key, None where the file has changed since."""
        return self.key if self._stat() == self._state else None

    def _stat(self) -> tuple[int, ...] | None:
        if not isinstance(self._source, Path | str):
            return None
        try:
            # Opening a FIFO would wait for its writer.
            if not os.path.isfile(self._source):
                return None
            now = os.stat(self._source)
        except (OSError, ValueError):
            return None
        return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns


class Store:
    """The rows of one extractor in a SQLite file, opened for one read or write at a time."""

    def __init__(self, folder: Path, settings: dict[str, Any], dim: int) -> None:
        self._settings = json.dumps(settings, sort_keys=True)
        self._file = folder / f"{hashlib.sha256(self._settings.encode()).hexdigest()}.sqlite"
        self._bytes = dim * np.dtype(np.float32).itemsize

    def read(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The rows (dim,) float32 that are there and whole, by key."""
        marks = ", ".join("?" * len(keys))
        query = f"SELECT picture, features, checksum FROM rows WHERE picture IN ({marks})"
        found = self._run(lambda connection: connection.execute(query, keys).fetchall())
        return {
            key: np.frombuffer(row, np.float32)
            for key, row, checksum in found
            if isinstance(row, bytes) and len(row) == self._bytes and checksum == _checksum(key, row)
        }

    def write(self, rows: Sequence[tuple[bytes, np.ndarray]]) -> None:
        """Add rows, all or none, in place of what was there."""
        stored = [(key, row.tobytes()) for key, row in rows]
        entries = [(key, content, _checksum(key, content)) for key, content in stored]

        def insert(connection: sqlite3.Connection) -> None:
            with connection:
                connection.execute("INSERT OR IGNORE INTO extractor VALUES (?)", [self._settings])
                connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", entries)

        self._run(insert)

    def _run(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        import sqlite3

        try:
            try:
                return self._connected(work)
            except sqlite3.DatabaseError as error:
                if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                    raise
                # Nothing in it can be relied on, and all of it can be made again.
                self._file.unlink(missing_ok=True)
                self._file.with_name(f"{self._file.name}-journal").unlink(missing_ok=True)
                return self._connected(work)
        except sqlite3.Error as error:
            if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise LockedError(
                    f"feature cache {self._file}: another process has kept it for {WAIT_SECONDS} s: try again"
                ) from error
            raise StorageError(
                f"feature cache {self._file}: {error}: make room, or choose another folder"
            ) from error
        except OSError as error:
            raise StorageError(
                f"feature cache {self._file}: {error.strerror}: choose another folder"
            ) from error

    def _connected(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        import sqlite3

        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=WAIT_SECONDS)) as connection:
            connection.executescript(_TABLES)
            return work(connection)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code, 0 for an error of Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _checksum(key: bytes, row: bytes) -> bytes:
    return xxhash.xxh3_128_digest(key + row)
