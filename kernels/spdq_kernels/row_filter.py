"""Which rows a scan may return: one bit a row, in the order of the blocks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import BLOCK_ROWS

FEW = 32
"""Allowed rows are few where they are one in this many: their numbers then take no more memory than the mask."""


class CompactBlocks(NamedTuple):
    """The allowed rows alone."""

    blocks: NDArray[np.uint8]
    """(ceil(count / 256), bytes, 256) uint8."""
    rows: NDArray[np.int64]
    """(count,) int64: the row each of them was, ascending."""


class RowFilter:
    """Rows that a scan may return; immutable.

    Keep the object to search with it again: a scan that pays for gathering the allowed rows leaves them here, for
    the blocks it was last used with (which must not change).

    Parameters
    ----------
    allowed
        (n_rows,) bool.

    Raises
    ------
    TypeError, ValueError
        Not such an array.
    """

    def __init__(self, allowed: NDArray[np.bool_]) -> None:
        contract.typed(allowed, "allowed", np.bool_, 1)
        self.n_rows = len(allowed)
        n_words = -(-self.n_rows // BLOCK_ROWS) * (BLOCK_ROWS // 64)
        packed = np.zeros(n_words * 8, np.uint8)
        bits = np.packbits(allowed, bitorder="little")
        packed[: len(bits)] = bits
        self.words: NDArray[np.uint64] = packed.view("<u8").astype(np.uint64, copy=False)
        """(4 * ceil(n_rows / 256),) uint64; row r is bit r % 64 of word r // 64, bits behind the last row are 0."""
        self.words.flags.writeable = False
        self.address = self.words.ctypes.data
        """Where the words lie."""
        self.count = int(np.count_nonzero(allowed))
        """Allowed rows."""
        self.n_blocks = int(self.words.reshape(-1, BLOCK_ROWS // 64).any(axis=1).sum())
        """Blocks with an allowed row."""
        self.rows = np.flatnonzero(allowed).astype(np.uint32) if self.count * FEW <= self.n_rows else None
        """(count,) uint32: the allowed rows, ascending, where they are few."""
        self.spent = 0.0
        """What searches by other means than gathering have cost, about, in nanoseconds."""
        self.lock = threading.Lock()
        self.compact: tuple[NDArray[np.uint8], CompactBlocks] | None = None
        """The blocks last gathered from, and what was gathered."""
        self.listed: tuple[object, NDArray[np.uint64]] | None = None
        """The ``CodeLists`` last searched, and a word for each of their blocks."""

    def mask(self) -> NDArray[np.bool_]:
        """(n_rows,) bool, a copy of what the filter was made from."""
        bits = np.unpackbits(self.words.astype("<u8", copy=False).view(np.uint8), bitorder="little")
        return bits[: self.n_rows].astype(np.bool_)


Allowed = RowFilter | Sequence[RowFilter | None] | None
"""One filter for all queries of a call, one each, or none."""


def row_filters(allowed: Any, n_queries: int, n_rows: int) -> list[RowFilter | None]:
    """Return one filter, or None, for each query.

    Raises
    ------
    TypeError, ValueError
        ``allowed`` is not ``Allowed``, or for another number of queries or rows.
    """
    one_for_all = allowed is None or isinstance(allowed, RowFilter)
    filters = [allowed] * n_queries if one_for_all else list(allowed)
    if len(filters) != n_queries:
        raise ValueError(f"allowed must be one filter or {n_queries}, one a query, not {len(filters)}")
    for one in [allowed] if one_for_all else filters:
        if one is not None and not isinstance(one, RowFilter):
            raise TypeError(f"allowed must hold RowFilter or None, not {type(one).__name__}")
        if one is not None and one.n_rows != n_rows:
            raise ValueError(f"allowed must be for {n_rows} rows to match the blocks, not {one.n_rows}")
    return filters
