"""The training log: one JSON object a line, kept in step with the checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spdq.errors import StorageError
from spdq.models.directory import write_bytes

LOG = "training_log.jsonl"


class TrainingLog:
    """Appends entries to ``training_log.jsonl`` in a directory; without one it only keeps them.

    Parameters
    ----------
    directory
        Where the file goes, or None.
    from_step
        Entries of later steps, left by a run that went on after its last checkpoint, are dropped.
    """

    def __init__(self, directory: Path | None, from_step: int = 0) -> None:
        self._path = directory / LOG if directory is not None else None
        self.entries: list[dict[str, Any]] = []
        if self._path is None:
            return
        if from_step and self._path.is_file():
            self.entries = [entry for entry in read_log(self._path) if entry["step"] <= from_step]
        self._store()

    def add(self, entry: dict[str, Any]) -> None:
        """Append one entry; raises StorageError where the storage refuses."""
        self.entries.append(entry)
        if self._path is None:
            return
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(_line(entry))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def _store(self) -> None:
        if self._path is None:
            return
        try:
            write_bytes(self._path, "".join(map(_line, self.entries)).encode())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """Entries of a log, up to the first line that a killed run left unfinished."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
