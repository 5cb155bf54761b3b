"""A segment: some items' codes in scan layout and their ids, sorted by id, never changed once written.

Its bytes are one safetensors container: ``codes`` U8 (blocks, M, 256), and ``ids`` I64 (n,) or ``id_utf8`` U8
(b,) with ``id_offsets`` I64 (n + 1,). Because rows are in id order, the scan's order (distance, row) is the
order (distance, id).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DamagedError, NotFoundError
from spdq.index.ids import IdArray, Int64Array, Uint8Array, pack_strings, take_strings
from spdq_kernels import BLOCK_ROWS

RESTORE = "Restore the file or rebuild the index"

_DTYPES: dict[str, npt.DTypeLike] = {"U8": np.uint8, "I64": np.int64}


@dataclass(frozen=True)
class SegmentRow:
    """What the catalogue knows about a segment; ``number`` orders the segments, ``size`` is in bytes."""

    number: int
    name: str
    n_items: int
    size: int
    checksum: str


def checksum(data: bytes | memoryview) -> str:
    """The xxh3-128 of ``data`` in hex: finds accidents, does not stop an attacker."""
    import xxhash

    return xxhash.xxh3_128(data).hexdigest()


def serialise(blocks: Uint8Array, ids: IdArray) -> bytes:
    """The container's bytes for packed codes (blocks, M, 256) and their sorted ids (n,)."""
    from safetensors.numpy import save

    tensors: dict[str, npt.NDArray[Any]] = {"codes": blocks}
    if ids.dtype == object:
        tensors["id_utf8"], tensors["id_offsets"] = pack_strings(ids)
    else:
        tensors["ids"] = ids
    return bytes(save(tensors, metadata={"format": "spdq-segment", "version": "1"}))


class Segment:
    """One segment, read in place from ``raw``, the bytes of its container (memory or a read-only map).

    ``meta`` are the settings of the index it must fit. Raises DamagedError, naming ``where``.
    """

    def __init__(self, raw: Uint8Array, row: SegmentRow, meta: Mapping[str, Any], where: str) -> None:
        self.row = row
        self._raw = raw
        self._where = where
        self._n_words = meta["n_words"]
        arrays = self._arrays()
        blocks = -(-row.n_items // BLOCK_ROWS)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "codes": ("uint8", (blocks, meta["n_codebooks"], BLOCK_ROWS))
        }
        if meta["ids"] == "int":
            shapes["ids"] = ("int64", (row.n_items,))
        else:
            shapes["id_utf8"] = ("uint8", arrays["id_utf8"].shape if "id_utf8" in arrays else ())
            shapes["id_offsets"] = ("int64", (row.n_items + 1,))
        if {name: (array.dtype.name, array.shape) for name, array in arrays.items()} != shapes:
            raise self._damaged(f"expected {row.n_items} codes and ids of this index")
        self.blocks: Uint8Array = arrays["codes"]
        self._ids = arrays.get("ids")
        self._utf8 = arrays.get("id_utf8", np.empty(0, np.uint8))
        self._borders = arrays.get("id_offsets", np.empty(0, np.int64))
        if self._ids is None and not _are_borders(self._borders, self._utf8.size):
            raise self._damaged("the borders of its ids are out of order")

    def __len__(self) -> int:
        return self.row.n_items

    @property
    def ids(self) -> IdArray:
        """All ids (n,), ascending."""
        return self.take_ids(np.arange(len(self)))

    def take_ids(self, rows: Int64Array) -> IdArray:
        """The ids at ``rows`` (any shape), same shape. Raises DamagedError."""
        if self._ids is not None:
            taken: IdArray = self._ids[rows]
            return taken
        try:
            return take_strings(self._utf8, self._borders, rows)
        except UnicodeDecodeError:
            raise self._damaged("an id is not UTF-8") from None

    def verify(self) -> None:
        """Hash the bytes again; check that ids ascend and every code names a word. Raises DamagedError."""
        if checksum(self._raw.data) != self.row.checksum:
            raise self._damaged("checksum mismatch")
        ids = self.ids
        if np.any(ids[1:] <= ids[:-1]):
            raise self._damaged("its ids do not ascend")
        if int(self.blocks.max()) >= self._n_words:
            raise self._damaged(f"code byte {int(self.blocks.max())}, codebooks have {self._n_words} words")

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Views into the bytes, where the container's header says (safetensors format description)."""
        try:
            header_size = int.from_bytes(self._raw[:8].tobytes(), "little")
            header = json.loads(self._raw[8 : 8 + header_size].tobytes())
            header.pop("__metadata__", None)
            data = self._raw[8 + header_size :]
            return {name: _view(data, **entry) for name, entry in header.items()}
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise self._damaged("not a segment container") from None

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"{self._where}: {what}. {RESTORE}")


def _view(data: Uint8Array, dtype: str, shape: list[int], data_offsets: list[int]) -> npt.NDArray[Any]:
    start, end = data_offsets
    return data[start:end].view(_DTYPES[dtype]).reshape(shape)


def _are_borders(borders: Int64Array, size: int) -> bool:
    return borders[0] == 0 and borders[-1] == size and bool(np.all(borders[1:] > borders[:-1]))


def map_segment(path: Path, row: SegmentRow, meta: Mapping[str, Any]) -> Segment:
    """Map the file of a segment, found right in size, checksum and container header.

    Raises DamagedError naming the file, NotFoundError where it may not be read.
    """
    from safetensors import SafetensorError, safe_open

    def damaged(what: str) -> DamagedError:
        return DamagedError(f"{path}: {what}. {RESTORE}")

    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise damaged("not a regular file")
        if found.st_size != row.size:
            raise damaged(f"{found.st_size} bytes long, expected {row.size}")
        raw = np.memmap(path, np.uint8, "r", shape=(row.size,)).view(np.ndarray)
        if checksum(raw.data) != row.checksum:
            raise damaged("checksum mismatch")
        with safe_open(path, framework="numpy"):
            return Segment(raw, row, meta, str(path))
    except SafetensorError as error:
        raise damaged(f"not a safetensors file ({error})") from None
    except FileNotFoundError:
        raise damaged("missing") from None
    except PermissionError:
        raise NotFoundError(f"permission denied: {path}") from None
    except OSError as error:
        raise damaged(f"cannot be mapped ({error})") from None
