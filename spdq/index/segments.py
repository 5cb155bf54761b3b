"""A segment: some items' codes in scan layout and their ids, sorted by id, never changed once written.

Its bytes are one safetensors container: ``codes`` U8 (blocks, M, 256) on a border of 64 bytes, and the ids: ``ids`` I64
(n,), or ``first_id`` I64 (1,) of consecutive numbers, or ``id_utf8`` U8 (b,) with ``id_offsets`` I64 (n + 1,). Because
rows are in id order, the scan's order (distance, row) is the order (distance, id).

Which of its rows have been removed is the catalogue's to say; what attributes they have lies in a file beside it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DamagedError, NotFoundError
from spdq.index.attribute_table import AttributeTable
from spdq.index.id_lists import Consecutive, IdList, Numbers, Texts
from spdq.index.ids import IdArray, Int64Array, Uint8Array
from spdq_kernels import BLOCK_ROWS, RowFilter, unpack_codes

RESTORE = 'Run "spdq index repair" or restore the file'

_DTYPES: dict[str, npt.DTypeLike] = {"U8": np.uint8, "I64": np.int64}
_NAMES = {"uint8": "U8", "int64": "I64"}
_HEADER_STEP = 64
"""The header is filled up to such a border: codes that begin on a cache line are scanned faster."""


@dataclass(frozen=True)
class SegmentRow:
    """What the catalogue knows about a segment; its ``number`` is the generation that it came with."""

    number: int
    name: str
    n_items: int
    size: int
    """Bytes of the container."""
    checksum: str
    attributes_size: int = 0
    """Bytes of the file of attributes, 0 where the index has none."""
    attributes_checksum: str = ""
    squared_error: float = 0.0
    """Sum of the squared quantization errors of those items that were added as vectors ..."""
    n_measured: int = 0
    """... and how many they are."""
    removed: bytes | None = None
    """A bit for each removed row, row r is bit r % 8 of byte r // 8; None where there is none."""


def checksum(*parts: Any) -> str:
    """The xxh3-128 of bytes end to end, in hex: finds accidents, does not stop an attacker."""
    import xxhash

    hashed = xxhash.xxh3_128()
    for part in parts:
        hashed.update(part)
    return str(hashed.hexdigest())


def container(blocks: Uint8Array, ids: IdList, settings: Mapping[str, str]) -> list[memoryview]:
    """The bytes of a segment, in parts, for packed codes (blocks, M, 256) and their ids.

    ``settings`` say to ``repair`` what the index is.
    """
    said = {"format": "spdq-segment", "version": "1", **settings}
    header: dict[str, Any] = {"__metadata__": said}
    parts, end = [], 0
    for name, array in {"codes": blocks, **ids.tensors()}.items():
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        parts.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    said["checksum"] = own_checksum(said, *parts)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % _HEADER_STEP)
    return [memoryview(len(text).to_bytes(8, "little") + text), *parts]


def own_checksum(said: Mapping[str, str], *parts: Any) -> str:
    """What a header has as "checksum", for the day the catalogue is lost: of what else it says, and of the arrays."""
    rest = {name: value for name, value in said.items() if name != "checksum"}
    return checksum(json.dumps(rest, sort_keys=True).encode(), *parts)


class Segment:
    """One segment, read in place from ``raw``, the bytes of its container (memory or a read-only map).

    ``meta`` are the settings of the index it must fit. Raises DamagedError, naming ``where``.
    """

    def __init__(
        self,
        raw: Uint8Array,
        row: SegmentRow,
        meta: Mapping[str, Any],
        where: str,
        attributes: AttributeTable | None = None,
    ) -> None:
        self.row = row
        self.attributes = attributes
        self._raw = raw
        self._meta = meta
        self._where = where
        arrays = self._arrays()
        blocks = -(-row.n_items // BLOCK_ROWS)
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "codes": ("uint8", (blocks, meta["n_codebooks"], BLOCK_ROWS))
        }
        if meta["ids"] == "str":
            shapes["id_utf8"] = ("uint8", arrays["id_utf8"].shape if "id_utf8" in arrays else ())
            shapes["id_offsets"] = ("int64", (row.n_items + 1,))
        elif "first_id" in arrays:
            shapes["first_id"] = ("int64", (1,))
        else:
            shapes["ids"] = ("int64", (row.n_items,))
        if {name: (array.dtype.name, array.shape) for name, array in arrays.items()} != shapes:
            raise self._damaged(f"expected {row.n_items} codes and ids of this index")
        self.blocks: Uint8Array = arrays["codes"]
        self._ids = self._id_list(arrays)

    def __len__(self) -> int:
        """Rows, removed ones among them."""
        return self.row.n_items

    def with_row(self, row: SegmentRow) -> Segment:
        """The same bytes with other rows removed."""
        return Segment(self._raw, row, self._meta, self._where, self.attributes)

    @cached_property
    def removed(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: which rows have been removed."""
        if self.row.removed is None:
            return np.zeros(len(self), np.bool_)
        bits = np.unpackbits(np.frombuffer(self.row.removed, np.uint8), count=len(self), bitorder="little")
        return bits.astype(np.bool_)

    @cached_property
    def n_live(self) -> int:
        """Rows that have not been removed."""
        return len(self) - int(np.count_nonzero(self.removed)) if self.row.removed else len(self)

    @cached_property
    def live(self) -> RowFilter | None:
        """What the scan may return, None for every row."""
        return None if self.row.removed is None else RowFilter(~self.removed)

    @property
    def rows(self) -> Int64Array:
        """The rows (n_live,) that have not been removed."""
        return np.arange(len(self)) if self.row.removed is None else np.flatnonzero(~self.removed)

    @property
    def ids(self) -> IdArray:
        """The ids (n_live,) of those rows, ascending."""
        return self.take_ids(self.rows)

    @property
    def codes(self) -> Uint8Array:
        """A copy of the codes (n_live, M) of those rows."""
        return unpack_codes(self.blocks, len(self))[self.rows]

    def all_ids(self) -> IdArray:
        """The ids (n,) of all rows, without a copy where numbers are stored. Raises DamagedError."""
        return self._ids.numbers if isinstance(self._ids, Numbers) else self.take_ids(np.arange(len(self)))

    def take_ids(self, rows: Int64Array) -> IdArray:
        """The ids at ``rows`` (any shape), same shape. Raises DamagedError."""
        try:
            return self._ids.take(rows)
        except UnicodeDecodeError:
            raise self._damaged("an id is not UTF-8") from None

    def find(self, ids: IdArray) -> Int64Array:
        """The row (m,) of each id (m,), -1 where it is not here or has been removed."""
        rows = self._ids.find(ids)
        if self.row.removed is not None:
            rows[(rows >= 0) & self.removed[rows]] = -1
        return rows

    def take_codes(self, rows: Int64Array) -> Uint8Array:
        """The codes (m, M) of rows (m,)."""
        taken: Uint8Array = self.blocks[rows // BLOCK_ROWS, :, rows % BLOCK_ROWS]
        return taken

    def verify(self) -> None:
        """Hash the bytes again; check that ids ascend, every code names a word and the attributes are in order.

        Raises DamagedError.
        """
        if checksum(self._raw.data) != self.row.checksum:
            raise self._damaged("checksum mismatch")
        ids = self.take_ids(np.arange(len(self)))
        if np.any(ids[1:] <= ids[:-1]):
            raise self._damaged("its ids do not ascend")
        if int(self.blocks.max()) >= self._meta["n_words"]:
            words = self._meta["n_words"]
            raise self._damaged(f"code byte {int(self.blocks.max())}, codebooks have {words} words")
        if self.attributes is not None:
            self.attributes.verify()

    def _id_list(self, arrays: Mapping[str, npt.NDArray[Any]]) -> IdList:
        if "ids" in arrays:
            return Numbers(arrays["ids"])
        if "first_id" in arrays:
            if int(arrays["first_id"][0]) + len(self) - 1 > np.iinfo(np.int64).max:
                raise self._damaged("its ids do not fit into int64")
            return Consecutive(arrays["first_id"], len(self))
        borders, utf8 = arrays["id_offsets"], arrays["id_utf8"]
        if borders[0] != 0 or borders[-1] != utf8.size or not np.all(borders[1:] > borders[:-1]):
            raise self._damaged("the borders of its ids are out of order")
        return Texts(utf8, borders)

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
    view = data[start:end].view(_DTYPES[dtype]).reshape(shape)
    # A file from elsewhere may lie as it likes; kernels want whole numbers on their borders.
    return view if view.flags.aligned else view.copy()


def in_memory(parts: Sequence[memoryview]) -> Uint8Array:
    """The parts end to end, beginning on a cache line like a mapped file."""
    size = sum(part.nbytes for part in parts)
    room = np.empty(size + _HEADER_STEP, np.uint8)
    start = -room.ctypes.data % _HEADER_STEP
    raw = room[start : start + size]
    at = 0
    for part in parts:
        raw[at : at + part.nbytes] = part
        at += part.nbytes
    raw.flags.writeable = False
    return raw


def map_file(path: Path, size: int, expected: str | None) -> Uint8Array:
    """Map a file read-only, found right in size and, where one is expected, in checksum.

    Raises DamagedError naming the file, NotFoundError where it may not be read.
    """

    def damaged(what: str) -> DamagedError:
        return DamagedError(f"{path}: {what}. {RESTORE}")

    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise damaged("not a regular file")
        if found.st_size != size:
            raise damaged(f"{found.st_size} bytes long, expected {size}")
        raw: Uint8Array = np.memmap(path, np.uint8, "r", shape=(size,)).view(np.ndarray)
    except FileNotFoundError:
        raise MissingFileError.of(path) from None
    except PermissionError:
        raise NotFoundError(f"permission denied: {path}") from None
    except OSError as error:
        raise damaged(f"cannot be mapped ({error})") from None
    if expected is not None and checksum(raw.data) != expected:
        raise damaged("checksum mismatch")
    return raw


class MissingFileError(DamagedError):
    """A file that the catalogue names is not there: damage, or a writer has replaced it meanwhile."""

    @classmethod
    def of(cls, path: Path) -> MissingFileError:
        return cls(f"{path}: missing. {RESTORE}")


def check_container(path: Path) -> None:
    """Let the safetensors library judge the header. Raises DamagedError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except FileNotFoundError:
        raise MissingFileError.of(path) from None
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{path}: not a safetensors file ({error}). {RESTORE}") from None
