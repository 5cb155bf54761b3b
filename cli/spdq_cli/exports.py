"""What ``spdq index export`` writes."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from spdq.data.codes import Codes, Modality
from spdq.errors import UsageError
from spdq.index import Index
from spdq.index.store import storage_errors


def export_codes(index: Index, out: Path, modality: Modality | None) -> list[Path]:
    """Write the codes of an index in the format that the file's ending names; returns the files written.

    Raises UsageError, StorageError.
    """
    match out.suffix.lower():
        case ".faiss":
            index.to_faiss(out)
            return [out]
        case ".npy":
            ids = index.ids
            names = out.with_suffix(".ids.npy" if ids.dtype != object else ".ids.txt")
            _write(out, lambda file: np.save(file, index.codes))
            if ids.dtype != object:
                _write(names, lambda file: np.save(file, ids))
            else:
                if any(len(one.splitlines()) > 1 for one in ids.tolist()):
                    raise UsageError("an id has a line break: its ids do not go into a file of lines")
                _write(names, lambda file: file.write("".join(f"{one}\n" for one in ids.tolist()).encode()))
            return [out, names]
        case ".h5":
            if index.model_fingerprint is None or modality is None:
                raise UsageError(
                    "codes in HDF5 name their model: needs an index built with one, and --modality"
                )
            ids = index.ids
            stored = ids if ids.dtype != object else ids.astype(str)
            bits, made_with = index.codebooks.bits, index.codebooks.fingerprint
            Codes(stored, index.codes, bits, index.model_fingerprint, made_with, modality).save(out)
            return [out]
    raise UsageError(f"{out}: expected the name of a .faiss, .npy or .h5 file")


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """A whole file or none. Raises StorageError."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with storage_errors(f"{path} was not written"):
            with draft.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
