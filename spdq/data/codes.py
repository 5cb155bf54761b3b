"""Codes as HDF5 files: what ``spdq encode`` writes and ``spdq index build`` reads.

``/ids`` (n,) int64 or fixed-length UTF-8, ``/codes`` (n, M) uint8, and the root attributes format
("spdq-codes"), version, bits, model_fingerprint, codebook_fingerprint and modality, in a ``container``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
import numpy.typing as npt

from spdq.data import checker, container
from spdq.data.dataset import MAX_BYTES
from spdq.data.dataset_checks import check_ids
from spdq.errors import DataError

Modality = Literal["image", "text", "unit"]

_MADE_BY = ("bits", "model_fingerprint", "codebook_fingerprint", "modality")
LAYOUT = checker.Layout(
    format="spdq-codes",
    version=1,
    file="codes file",
    title="codes format",
    short="codes format",
    groups={"/": ("ids", "codes")},
    attributes={"/": ("format", "version", *_MADE_BY)},
)
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
        check_ids(self.ids)
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
        with container.checked(Path(path), max_bytes, LAYOUT, NotCodesError) as file:
            return cls(**_read_parts(file))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all; the same content gives the same bytes.

        Raises
        ------
        NotFoundError
            The folder does not exist.
        StorageError
            The storage refused; a file that was there before is unchanged.
        """
        attributes = {"/@format": LAYOUT.format, "/@version": LAYOUT.version}
        attributes |= {f"/@{name}": getattr(self, name) for name in _MADE_BY}
        arrays = {"/ids": container.stored_ids(self.ids), "/codes": self.codes}
        container.write(Path(path), arrays, attributes)


def _read_parts(file: h5py.File) -> dict[str, Any]:
    ids, codes = container.read_ids(file), container.read_array(file, "/codes")
    if codes is None:
        raise DataError("/codes is missing")
    made_by = {name: container.read_attribute(file, "/", name) for name in _MADE_BY}
    return {"ids": ids, "codes": codes, **made_by}
