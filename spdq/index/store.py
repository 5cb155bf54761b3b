"""Where an index keeps its catalogue and segments: in memory, or in a directory.

A directory holds ``catalog.db``, ``codebooks.safetensors``, ``segments/<32 hex digits>.safetensors`` and, where items
have attributes, ``segments/<32 hex digits>.db`` (both never changed once written), and ``writer.lock``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spdq.errors import DamagedError, NotFoundError, StorageError, UsageError
from spdq.index.attribute_table import AttributeTable
from spdq.index.catalogue import MEMORY, Catalogue, State
from spdq.index.lock import WriterLock
from spdq.index.segments import (
    RESTORE,
    MissingFileError,
    Segment,
    SegmentRow,
    check_container,
    in_memory,
    map_file,
)
from spdq.quantizers.codebooks import Codebooks

CATALOGUE = "catalog.db"
CODEBOOKS = "codebooks.safetensors"
SEGMENTS = "segments"
LOCK = "writer.lock"

MAX_CODEBOOK_BYTES = 2 << 30

BEYOND_REPAIR = "Restore the file, from another copy of the index or the model it was built with"

_OURS = re.compile(r"[0-9a-f]{32}\.(safetensors|db|tmp)")


class Store(Protocol):
    """What an index needs of the place it lives in."""

    @property
    def path(self) -> Path | None:
        """The directory, None in memory."""

    @property
    def writable(self) -> bool:
        """Whether anything may be added."""

    def catalogue(self) -> AbstractContextManager[Catalogue]:
        """The catalogue, for as long as needed."""

    def codebooks(self, meta: Mapping[str, Any]) -> Codebooks:
        """The codebooks, checked against the settings. Raises DamagedError."""

    def write(self, segment: Sequence[memoryview], attributes: bytes | None) -> str:
        """Keep the bytes of a segment for good and return the name given to it. Raises OSError."""

    def segment(self, row: SegmentRow, state: State, verify: bool = True) -> Segment:
        """The segment of a catalogue row, checked; its checksum only if asked for. Raises DamagedError."""

    def delete(self, names: Sequence[str]) -> None:
        """Forget segments that no generation names any more. Raises StorageError."""

    def check_process(self) -> None:
        """Raise UsageError where this process may not write."""

    def close(self) -> None:
        """Give everything back."""


class MemoryStore:
    """Segments and catalogue of an index that ends with the process."""

    path = None
    writable = True

    def __init__(self, codebooks: Codebooks, meta: Mapping[str, Any]) -> None:
        self._codebooks = codebooks
        self._catalogue = Catalogue.create(MEMORY, dict(meta) | {"codebooks_sha256": ""})
        self._segments: dict[str, tuple[NDArray[np.uint8], bytes | None]] = {}

    @contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        yield self._catalogue

    def codebooks(self, meta: Mapping[str, Any]) -> Codebooks:
        return self._codebooks

    def write(self, segment: Sequence[memoryview], attributes: bytes | None) -> str:
        name = uuid.uuid4().hex
        self._segments[name] = in_memory(segment), attributes
        return name

    def segment(self, row: SegmentRow, state: State, verify: bool = True) -> Segment:
        where = f"segment {row.name}"
        raw, stored = self._segments[row.name]
        table = None
        if stored is not None:
            connection = sqlite3.connect(MEMORY, check_same_thread=False)
            connection.deserialize(stored)
            table = AttributeTable(connection, state.attributes, row.n_items, where)
        return Segment(raw, row, state.meta, where, table)

    def delete(self, names: Sequence[str]) -> None:
        for name in names:
            del self._segments[name]

    def check_process(self) -> None:
        pass

    def close(self) -> None:
        self._catalogue.close()
        self._segments.clear()


class DirectoryStore:
    """An index directory, opened by any number of readers and at most one writer."""

    def __init__(self, path: Path, writable: bool) -> None:
        _check_catalogue(path)
        self.path = path
        self.writable = writable
        self._lock = WriterLock(path / LOCK) if writable else None
        self._writer: Catalogue | None = None
        if self._lock is not None:
            try:
                self._writer = Catalogue.open(path / CATALOGUE, writable=True)
            except BaseException:
                self._lock.release()
                raise

    @contextmanager
    def catalogue(self) -> Iterator[Catalogue]:
        if self._writer is not None:
            yield self._writer
            return
        _check_catalogue(self.path)
        catalogue = Catalogue.open(self.path / CATALOGUE, writable=False)
        try:
            yield catalogue
        finally:
            catalogue.close()

    def write(self, segment: Sequence[memoryview], attributes: bytes | None) -> str:
        name = uuid.uuid4().hex
        if attributes is not None:
            write_durably(segment_file(self.path, name, "db"), [memoryview(attributes)])
        write_durably(segment_file(self.path, name, "safetensors"), segment)
        return name

    def segment(self, row: SegmentRow, state: State, verify: bool = True) -> Segment:
        return open_segment(self.path, row, state, verify)

    def delete(self, names: Sequence[str]) -> None:
        with storage_errors(f"{self.path}: files that are no longer needed stay"):
            for name in names:
                os.unlink(segment_file(self.path, name, "safetensors"))
                segment_file(self.path, name, "db").unlink(missing_ok=True)

    def codebooks(self, meta: Mapping[str, Any]) -> Codebooks:
        path = self.path / CODEBOOKS
        codebooks, sha256 = read_codebooks(path)
        if sha256 != meta["codebooks_sha256"]:
            raise DamagedError(f"{path}: checksum mismatch. {BEYOND_REPAIR}")
        if codebook_settings(codebooks).items() - meta.items():
            raise DamagedError(f"{path}: not the codebooks the catalogue names. {BEYOND_REPAIR}")
        return codebooks

    def remove_strays(self, state: State) -> None:
        """Delete what killed writers left: files in ``segments`` with a name of ours and no catalogue row."""
        if not (self.path / SEGMENTS).is_dir():
            raise DamagedError(f"{self.path / SEGMENTS}: missing. {RESTORE}")
        named = {f"{row.name}.{kind}" for row in state.segments for kind in ("safetensors", "db")}
        with storage_errors(f"{self.path}: leftovers of a killed writer stay"):
            for entry in os.listdir(self.path / SEGMENTS):
                if _OURS.fullmatch(entry) and entry not in named:
                    os.unlink(self.path / SEGMENTS / entry)

    def reopen(self) -> None:
        """Connect to the catalogue anew after a failure; the lock stays ours. Raises as ``Catalogue.open``."""
        self.check_process()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self.writable:
            self._writer = Catalogue.open(self.path / CATALOGUE, writable=True)

    def check_process(self) -> None:
        if self._lock is not None:
            self._lock.check_process()

    def close(self) -> None:
        if self._writer is not None and self._lock is not None:
            self._lock.check_process()
            self._writer.close()
            self._lock.release()


def _check_catalogue(path: Path) -> None:
    """Say what is wrong where SQLite would only say that it cannot open the catalogue of an index directory."""
    if not os.path.isdir(path):
        raise NotFoundError(f"index not found: {path}")
    if not os.path.isfile(path / CATALOGUE):
        if os.path.lexists(path / CODEBOOKS):
            raise DamagedError(f"{path / CATALOGUE}: missing. {RESTORE}")
        raise NotFoundError(f"{path} is not an index: it has no file {CATALOGUE}")
    # Asked, not tried: closing the file would drop the locks SQLite holds on it in this process.
    if not os.access(path / CATALOGUE, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise NotFoundError(f"permission denied: {path / CATALOGUE}")


def create_directory(path: Path, codebooks: Codebooks, meta: Mapping[str, Any]) -> None:
    """Make the directory of an empty index; it appears at ``path`` complete or not at all.

    Raises UsageError where something exists, NotFoundError without a parent directory, StorageError.
    """
    from safetensors.numpy import save

    if os.path.lexists(path):
        raise UsageError(f"{path} already exists: open it with Index.open, or choose another path")
    if not path.parent.is_dir():
        raise NotFoundError(f"directory not found: {path.parent}")
    data = save(codebooks.tensors(), metadata=codebooks.metadata())
    made = draft = path.with_name(f".spdq-{uuid.uuid4().hex}.tmp")
    try:
        with storage_errors("no index was created"):
            (draft / SEGMENTS).mkdir(parents=True)
            write_durably(draft / CODEBOOKS, [memoryview(data)])
            (draft / LOCK).touch()
            meta = dict(meta) | {"codebooks_sha256": hashlib.sha256(data).hexdigest()}
            Catalogue.create(draft / CATALOGUE, meta).close()
            sync_directory(draft)
            made = draft.rename(path)
            sync_directory(path.parent)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def segment_file(directory: Path, name: str, kind: str) -> Path:
    """The file of a segment: of its container ("safetensors") or its attributes ("db")."""
    return directory / SEGMENTS / f"{name}.{kind}"


def open_segment(directory: Path, row: SegmentRow, state: State, verify: bool) -> Segment:
    """Map a segment of an index directory. Raises DamagedError."""
    path = segment_file(directory, row.name, "safetensors")
    raw = map_file(path, row.size, row.checksum if verify else None)
    check_container(path)
    attributes = open_attributes(directory, row, state, verify) if row.attributes_size else None
    return Segment(raw, row, state.meta, str(path), attributes)


def open_attributes(directory: Path, row: SegmentRow, state: State, verify: bool) -> AttributeTable:
    """Open the attributes of a segment. Raises DamagedError."""
    path = segment_file(directory, row.name, "db")
    map_file(path, row.attributes_size, row.attributes_checksum if verify else None)
    try:
        # Told that nothing ever changes the file, SQLite takes no locks and looks for no journal.
        uri = path.absolute().as_uri() + "?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
    except sqlite3.Error as error:
        if not path.exists():
            raise MissingFileError.of(path) from None
        raise DamagedError(f"{path}: cannot be opened ({error}). {RESTORE}") from None
    return AttributeTable(connection, state.attributes, row.n_items, str(path))


def read_codebooks(path: Path) -> tuple[Codebooks, str]:
    """The codebooks of a file and its SHA-256. Raises DamagedError, NotFoundError where it may not be read."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file() or path.stat().st_size > MAX_CODEBOOK_BYTES:
            raise DamagedError(f"{path}: not a file of at most {MAX_CODEBOOK_BYTES} bytes. {BEYOND_REPAIR}")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
            return Codebooks.from_tensors(tensors, file.metadata() or {}), sha256
    except PermissionError:
        raise NotFoundError(f"permission denied: {path}") from None
    except (OSError, SafetensorError, ValueError, DamagedError) as error:
        if isinstance(error, DamagedError) and BEYOND_REPAIR in str(error):
            raise
        raise DamagedError(f"{path}: cannot be read ({error}). {BEYOND_REPAIR}") from None


def codebook_settings(codebooks: Codebooks) -> dict[str, Any]:
    """The settings of an index that follow from its codebooks."""
    return {
        "n_codebooks": codebooks.n_codebooks,
        "n_words": codebooks.n_words,
        "dim": codebooks.dim,
        "codebook_fingerprint": codebooks.fingerprint,
    }


def write_durably(path: Path, parts: Sequence[memoryview]) -> None:
    """Write a read-only file of some parts: when this returns it is complete and on the disk, else it is not there.

    Raises OSError.
    """
    draft = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            for part in parts:
                while part:
                    part = part[os.write(handle, part) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(draft, path)
        sync_directory(path.parent)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def storage_errors(consequence: str) -> Iterator[None]:
    """Turn the storage's refusals into StorageError, with what that means for the index."""
    try:
        yield
    except NotFoundError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower() if error.errno else str(error)
        raise StorageError(f"{reason}; {consequence}") from error
