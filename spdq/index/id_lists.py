"""The ids of a segment, ascending, read in place: consecutive numbers, any numbers, or strings.

Row r of a segment has the r-th id, so a search in the list finds the row of an id.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from spdq.index.ids import IdArray, Int64Array, Uint8Array, pack_strings, take_strings
from spdq_kernels import find_texts

_NOWHERE = -1


class IdList(Protocol):
    """n ids, ascending."""

    def __len__(self) -> int:
        """n."""

    def take(self, rows: Int64Array) -> IdArray:
        """The ids at ``rows`` (any shape), same shape. Raises UnicodeDecodeError."""

    def find(self, wanted: IdArray) -> Int64Array:
        """The row (m,) of each wanted id (m,), -1 where it is not in the list."""

    def tensors(self) -> dict[str, IdArray]:
        """The arrays that hold the list, by the names they have in a segment."""


class Consecutive:
    """Numbers without a gap; only the first is stored."""

    def __init__(self, first: Int64Array, count: int) -> None:
        self._stored = first
        self._first = int(first[0])
        self._count = count

    def __len__(self) -> int:
        return self._count

    def take(self, rows: Int64Array) -> IdArray:
        taken: IdArray = rows + self._first
        return taken

    def find(self, wanted: IdArray) -> Int64Array:
        inside = (wanted >= self._first) & (wanted <= self._first + self._count - 1)
        return np.where(inside, np.where(inside, wanted, self._first) - self._first, _NOWHERE)

    def tensors(self) -> dict[str, IdArray]:
        return {"first_id": self._stored}


class Numbers:
    """Any int64 numbers."""

    def __init__(self, numbers: Int64Array) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: Int64Array) -> IdArray:
        taken: IdArray = self.numbers[rows]
        return taken

    def find(self, wanted: IdArray) -> Int64Array:
        places = np.minimum(np.searchsorted(self.numbers, wanted), len(self.numbers) - 1)
        return np.where(self.numbers[places] == wanted, places, _NOWHERE)

    def tensors(self) -> dict[str, IdArray]:
        return {"ids": self.numbers}


class Texts:
    """Strings: their UTF-8 bytes end to end (b,) uint8, and the borders between them (n + 1,) int64."""

    def __init__(self, utf8: Uint8Array, borders: Int64Array) -> None:
        self._utf8 = utf8
        self._borders = borders

    def __len__(self) -> int:
        return len(self._borders) - 1

    def take(self, rows: Int64Array) -> IdArray:
        return take_strings(self._utf8, self._borders, rows)

    def find(self, wanted: IdArray) -> Int64Array:
        return find_texts(self._utf8, self._borders, *pack_strings(wanted))

    def tensors(self) -> dict[str, IdArray]:
        return {"id_offsets": self._borders, "id_utf8": self._utf8}


def list_of(ids: IdArray) -> IdList:
    """The list of ids (n,) that ascend, at least one."""
    if ids.dtype == object:
        return Texts(*pack_strings(ids))
    if int(ids[-1]) - int(ids[0]) == len(ids) - 1:
        return Consecutive(ids[:1], len(ids))
    return Numbers(ids)
