"""Files that a benchmark keeps its results in: JSON, one a job, written whole and read back checked."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spdq.errors import DamagedError, IncompatibleError, NotFoundError, StorageError
from spdq.models.directory import write_bytes

RECORDS = "records"
"""Their folder in the output folder."""

Record = dict[str, Any]


@dataclass(frozen=True)
class RecordFormat:
    """One kind of record.

    Parameters
    ----------
    name, version
        As they stand in every file.
    fields
        What every record has beside them, as far as it is relied on to find it again.
    command
        What makes such records.
    """

    name: str
    version: int
    fields: tuple[str, ...]
    command: str

    def write(self, path: Path, record: Record) -> None:
        """Write a record, whole or not at all; its folder is made. Raises StorageError."""
        text = json.dumps(
            {"format": self.name, "version": self.version, **record},
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        make_folder(path.parent)
        try:
            write_bytes(path, f"{text}\n".encode())
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    def read(self, path: str | os.PathLike[str]) -> Record:
        """One record.

        Raises
        ------
        NotFoundError
            There is no such file, or it cannot be read.
        DamagedError
            It is no record, or not whole.
        IncompatibleError
            Another version wrote it.
        """
        try:
            record = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError:
            record = None
        if not isinstance(record, dict) or record.get("format") != self.name:
            raise DamagedError(f"{path} is no record of {self.command}. Delete it and run again")
        if record.get("version") != self.version:
            raise IncompatibleError(
                f"{path} is a record of version {record.get('version')}, this is version {self.version}: "
                "choose another folder, or delete the old records"
            )
        missing = [name for name in self.fields if name not in record]
        if missing:
            raise DamagedError(f"{path}: the record has no {', '.join(missing)}. Delete it and run again")
        return record


def file_name(text: str) -> str:
    """A name as part of a path: all but letters, digits, "-", "_" and inner "." becomes "-"."""
    return re.sub(r"^\.|[^\w.-]", "-", text)


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there. Raises StorageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}") from error
