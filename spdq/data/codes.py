"""Codes as HDF5 files: what ``spdq encode`` writes and ``spdq index build`` reads.

``/ids`` (n,) int64 or fixed-length UTF-8, ``/codes`` (n, M) uint8, and the root attributes format
("spdq-codes"), version, bits, model_fingerprint, codebook_fingerprint and modality; checksums and hardened
reading are those of data set files (``hdf5``).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
import numpy.typing as npt

from spdq import errors
from spdq.data import checker, codes_checker, hdf5
from spdq.data.dataset import MAX_BYTES, _check_ids
from spdq.errors import DamagedError, DataError, NotFoundError, SpdqError, StorageError

Modality = Literal["image", "text", "unit"]

_FINGERPRINT = re.compile("[0-9a-f]{64}")


class NotCodesError(DataError):
    """A good HDF5 file of another format."""


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes of n items, and by which model and codebooks they were made.

    Parameters
    ----------
    ids : (n,) int64, or a numpy array of str; unique, n >= 1.
    codes : (n, M) uint8.
    bits : length of a code, at most 8 * M.
    model_fingerprint, codebook_fingerprint : hex SHA-256.
    modality : "image", "text" or "unit".

    Raises
    ------
    DataError
        Any part of another shape or type, or out of its range.
    """

    ids: npt.NDArray[np.int64] | npt.NDArray[np.str_]
    codes: npt.NDArray[np.uint8]
    bits: int
    model_fingerprint: str
    codebook_fingerprint: str
    modality: Modality

    def __post_init__(self) -> None:
        _check_ids(self.ids)
        codes = self.codes
        if not isinstance(codes, np.ndarray) or codes.dtype != np.uint8 or codes.ndim != 2:
            what = f"{codes.shape} {codes.dtype}" if isinstance(codes, np.ndarray) else type(codes).__name__
            raise DataError(f"codes: expected (n, M) uint8, got {what}")
        if len(codes) != len(self.ids) or codes.shape[1] == 0:
            raise DataError(f"codes: expected ({len(self.ids)}, M) for as many ids, got {codes.shape}")
        if not isinstance(self.bits, int) or not 1 <= self.bits <= 8 * codes.shape[1]:
            raise DataError(f"bits: expected 1 to {8 * codes.shape[1]}, got {self.bits!r}")
        for name in ("model_fingerprint", "codebook_fingerprint"):
            value = getattr(self, name)
            if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
                raise DataError(f"{name}: expected 64 hex digits, got {value!r}")
        if self.modality not in get_args(Modality):
            raise DataError(f"modality: expected {', '.join(get_args(Modality))}, got {self.modality!r}")

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def load(cls, path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Codes:
        """Read a codes file; it may come from anyone, so a child process checks it first.

        Raises
        ------
        NotCodesError
            An HDF5 file of another format.
        NotFoundError, DataError, DamagedError, IncompatibleError, StorageError
            As ``Dataset.load``.
        """
        path = Path(path)
        hdf5._check_readable(path)
        _check_in_child(path, max_bytes)
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise StorageError(f"cannot open {path}: {error}") from None
        with file:
            try:
                return cls(**_read_parts(file))
            except DataError as error:
                raise DataError(f"{path}: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all; the same content gives the same bytes.

        Raises
        ------
        NotFoundError
            The folder does not exist.
        StorageError
            The storage refused; a file that was there before is unchanged.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise NotFoundError(f"folder not found: {path.parent}")
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            try:
                with open(temporary, "xb") as file:
                    file.write(self._file_image())
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror or error}") from None

    def _file_image(self) -> bytes:
        """The file's bytes. HDF5 makes them in memory: it does not survive a full disk, plain writes do."""
        ids = hdf5._fixed_strings(self.ids.tolist()) if self.ids.dtype.kind == "U" else self.ids
        attributes: dict[str, Any] = {"format": codes_checker.FORMAT, "version": codes_checker.VERSION}
        attributes |= {
            name: getattr(self, name) for name in codes_checker.ATTRIBUTES if name not in attributes
        }
        with h5py.File("image", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
            arrays = {"/ids": ids, "/codes": self.codes}
            lines = {where: hdf5._write_array(file, where, array) for where, array in arrays.items()}
            for name, value in attributes.items():
                hdf5._write_attribute(file, name, value)
            manifest = checker.manifest(lines, {f"/@{name}": value for name, value in attributes.items()})
            hdf5._write_attribute(file, "sha256", manifest)
            file.flush()
            return bytes(file.id.get_file_image())


def _read_parts(file: h5py.File) -> dict[str, Any]:
    ids, codes = hdf5._array(file, "/ids"), hdf5._array(file, "/codes")
    if ids is None or codes is None:
        raise DataError(f"{'/ids' if ids is None else '/codes'} is missing")
    parts = {name: checker.read_attribute(file, name, "/") for name in codes_checker.ATTRIBUTES}
    del parts["format"], parts["version"]
    return parts | {
        "ids": np.array(hdf5._decode("/ids", ids)) if ids.dtype.kind == "S" else ids,
        "codes": codes,
    }


def _check_in_child(path: Path, max_bytes: int) -> None:
    """Run ``codes_checker`` in a fresh interpreter (no fork: this process may hold threads and locks)."""
    # OpenBLAS would reserve address space a thread, and the child's is limited.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", codes_checker.__file__, os.path.abspath(path), str(max_bytes)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise DamagedError(f"{path} is damaged or hostile: checking it ended with {hdf5._end(done)}")
    answer = json.loads(done.stdout)
    if answer:
        known = {"NotCodesError": NotCodesError}
        error: type[SpdqError] = known.get(answer["error"]) or getattr(errors, answer["error"])
        raise error(answer["message"].replace(os.path.abspath(path), str(path)))
