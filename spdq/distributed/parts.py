"""The working folder of a distributed encoding: what run it is of, and the codes of each part that is done.

manifest.json                what decides the codes; written once
000000001024.part            codes of the items from 1024 on, under their SHA-256; written whole, by whoever made them
writer.lock                  held by the process that runs it

A part carries its own checksum and the digest of its run: so a worker's work counts from the moment it is on the disk,
also where the process that collects it dies next, and nothing grows with each part that would have to be rewritten.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spdq.errors import DamagedError, IncompatibleError, StorageError, UsageError
from spdq.index.lock import WriterLock
from spdq.index.store import storage_errors, write_durably
from spdq.models.encoding import Missing
from spdq.models.model import Codes

MANIFEST = "manifest.json"
LOCK = "writer.lock"
FORMAT = {"format": "spdq-encoding", "version": 1}


@dataclass(frozen=True)
class Run:
    """What decides the codes. Parts of one run are of no use to another.

    Parameters
    ----------
    input : hex SHA-256 of what is encoded.
    items : how many there are.
    model, codebooks : fingerprints.
    modality : "image", "text" or "unit".
    chunk : items that are encoded together, and that a part holds; the last part may hold fewer.
    code_bytes : length of a code.
    """

    input: str
    items: int
    model: str
    codebooks: str
    modality: str
    chunk: int
    code_bytes: int

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@contextmanager
def working_folder(path: Path, run: Run, resume: bool) -> Iterator[None]:
    """Make or take up the working folder of a run, and hold its lock.

    It stays if the block is left by an error, unless no part is done. Whoever leaves the block without one removes it.

    Raises
    ------
    UsageError
        It is there and ``resume`` is not asked for.
    IncompatibleError
        It is of another run.
    DamagedError
        Its manifest is damaged.
    LockedError
        Another process runs it.
    StorageError
        The storage refused.
    """
    if path.exists() and not resume:
        raise UsageError(
            f"{path} holds an encoding that was not finished: go on with --resume, or remove that folder"
        )
    with storage_errors("nothing was encoded"):
        path.mkdir(exist_ok=True)
    lock = WriterLock(path / LOCK)
    try:
        if (path / MANIFEST).exists():
            _check(path / MANIFEST, run)
        try:
            if not (path / MANIFEST).exists():
                _write(path / MANIFEST, run)
            for draft in path.glob("*.tmp"):  # of workers that were killed
                draft.unlink(missing_ok=True)
            yield
        finally:
            if not any(path.glob("*.part")):
                remove(path)
    finally:
        lock.release()


def remove(path: Path) -> None:
    """Remove a working folder: what it held is in the output, or never was."""
    shutil.rmtree(path, ignore_errors=True)


def write_part(path: Path, run: Run, start: int, codes: Codes, missing: Missing) -> None:
    """Store the codes (n, M) of the items from ``start`` on; the part is there whole or not at all.

    Raises StorageError.
    """
    head = {"run": run.digest, "start": start, "items": len(codes), **asdict(missing)}
    body = json.dumps(head).encode() + b"\n" + codes.tobytes()
    content = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    with storage_errors(f"what is in {path} stays: go on with --resume"):
        write_durably(_file(path, start), [memoryview(content)])


def read_part(path: Path, run: Run, rows: slice) -> tuple[Codes, Missing] | None:
    """Codes (n, M) of some items and what they lacked; None where they are not there, or not as they were written.

    Raises StorageError where the storage refuses.
    """
    try:
        content = _file(path, rows.start).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {_file(path, rows.start)}: {error.strerror}") from None
    checksum, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != checksum:
        return None
    line, _, codes = body.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    expected = {"run": run.digest, "start": rows.start, "items": rows.stop - rows.start}
    if {name: head[name] for name in expected} != expected:
        return None
    missing = Missing(**{field.name: head[field.name] for field in fields(Missing)})
    return np.frombuffer(codes, np.uint8).reshape(-1, run.code_bytes), missing


def _file(path: Path, start: int) -> Path:
    return path / f"{start:012d}.part"


def _write(manifest: Path, run: Run) -> None:
    content = json.dumps(FORMAT | asdict(run), indent=2).encode()
    with storage_errors("nothing was encoded"):
        write_durably(manifest, [memoryview(content)])


def _check(manifest: Path, run: Run) -> None:
    try:
        found = json.loads(manifest.read_bytes())
        there = Run(**{field.name: found[field.name] for field in fields(Run)})
        if {name: found[name] for name in FORMAT} != FORMAT:
            raise IncompatibleError(f"{manifest}: of another version of spdq. Remove its folder")
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{manifest}: cannot be read. Remove its folder") from None
    other = [name for name, value in asdict(run).items() if getattr(there, name) != value]
    if other:
        raise IncompatibleError(
            f"{manifest.parent} is of another run (other {', '.join(other)}): "
            "give what was given then, or remove that folder"
        )
