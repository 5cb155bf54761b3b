"""What a coarse index is made of: centroids, codes in lists, tables of lists. Checked once, when they are made."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import CACHE_LINE, MAX_CODEBOOKS, MAX_ROWS, NIBBLE_WORDS, TABLE_WORDS
from spdq_kernels.dispatch import product_tables
from spdq_kernels.reference import Floats
from spdq_kernels.row_filter import RowFilter

LIST_ROWS = 64
"""Rows of one block of a list."""

LEAST_PART = -1e35
"""Smallest entry of a list's tables and smallest offset: beside the smallest entries of a query's, no sum is -inf."""


class Centroids:
    """The centroids of lists; immutable.

    Parameters
    ----------
    centres
        (n_lists, d) float32, finite; copied.

    Raises
    ------
    TypeError, ValueError
        Not such an array, or one without lists.
    """

    def __init__(self, centres: Floats) -> None:
        contract.typed(centres, "centres", np.float32, 2)
        if 0 in centres.shape:
            raise ValueError(f"centres must not be empty, not shape {centres.shape}")
        finite = np.isfinite(centres).all(axis=1)
        if not finite.all():
            raise ValueError(f"centres must be finite, but that of list {finite.argmin()} is not")
        self.columns: Floats = np.array(centres.T, order="C")
        """(d, n_lists) float32: in the order in which they are compared."""
        self.columns.flags.writeable = False
        self.dim, self.n_lists = self.columns.shape

    @property
    def centres(self) -> Floats:
        """(n_lists, d) float32, not contiguous."""
        return self.columns.T


class CodeLists:
    """Codes in lists; immutable. Arrays are kept, not copied, and must not change.

    Parameters
    ----------
    blocks
        (n_blocks, bytes, 64) uint8: the blocks of one list after those of another, ceil(size / 64) each; bytes as in
        ``pack_codes``.
    rows
        (n_blocks * 64,) uint32: the number of the row in each slot, among all rows. Where a list ends before its last
        block, anything.
    sizes
        (n_lists,) int64: rows of each list.

    Raises
    ------
    TypeError, ValueError
        Arrays that do not belong together.
    """

    def __init__(self, blocks: NDArray[np.uint8], rows: NDArray[np.uint32], sizes: NDArray[np.int64]) -> None:
        contract.array(blocks, "blocks", np.uint8, 3)
        contract.array(rows, "rows", np.uint32, 1)
        contract.array(sizes, "sizes", np.int64, 1)
        if len(sizes) == 0 or sizes.min() < 0 or sizes.max() > MAX_ROWS:
            raise ValueError(f"sizes must be of one list or more, each from 0 to {MAX_ROWS} rows")
        self.n_lists, self.n_rows = len(sizes), int(sizes.sum())
        if self.n_rows > MAX_ROWS:
            raise ValueError(
                f"sizes must add up to at most {MAX_ROWS} rows, not {self.n_rows}: scan parts and merge"
            )
        self.blocks, self.rows, self.sizes = blocks, rows, sizes
        n_blocks = -(-sizes // LIST_ROWS)
        self.starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(n_blocks)]).astype(np.int64)
        """(n_lists + 1,) int64: the first block of each list."""
        expected, n_bytes = int(self.starts[-1]), blocks.shape[1]
        if blocks.shape != (expected, n_bytes, LIST_ROWS) or not 1 <= n_bytes <= MAX_CODEBOOKS:
            raise ValueError(
                f"blocks of these sizes must have shape ({expected}, M, {LIST_ROWS}) with M in 1..{MAX_CODEBOOKS}, "
                f"not {blocks.shape}"
            )
        if len(rows) != expected * LIST_ROWS:
            raise ValueError(
                f"rows must have {expected * LIST_ROWS} entries, {LIST_ROWS} a block, not {len(rows)}"
            )
        self.words: NDArray[np.uint64] = self._filled()
        """(n_blocks,) uint64: bit s of a word is set where slot s of the block holds a row."""
        self._check_rows()

    @property
    def n_bytes(self) -> int:
        """Bytes of a code."""
        return int(self.blocks.shape[1])

    def _filled(self) -> NDArray[np.uint64]:
        within = np.arange(len(self.blocks)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        left = np.repeat(self.sizes, np.diff(self.starts)) - within * LIST_ROWS
        unused = (LIST_ROWS - np.minimum(left, LIST_ROWS)).astype(np.uint64)
        words: NDArray[np.uint64] = np.full(len(self.blocks), (1 << 64) - 1, np.uint64) >> unused
        return words

    def _check_rows(self) -> None:
        filled = np.unpackbits(self.words.astype("<u8").view(np.uint8), bitorder="little").astype(np.bool_)
        numbers = self.rows[filled]
        if self.n_rows and int(numbers.max()) >= self.n_rows:
            raise ValueError(f"rows must be below {self.n_rows}, the number of rows, not {numbers.max()}")
        there = np.zeros(self.n_rows, np.bool_)
        there[numbers] = True
        if not there.all():
            raise ValueError(f"rows must name each row once, but row {there.argmin()} is missing")

    def allowed(self, one: RowFilter) -> NDArray[np.uint64]:
        """The words (n_blocks,) uint64 of a filter of rows; kept with the filter for the next search."""
        with one.lock:
            if one.listed is None or one.listed[0] is not self:
                # Of slots that hold no row the number may be anything.
                mask = np.append(one.mask(), False)[np.minimum(self.rows, self.n_rows)]
                words = np.packbits(mask, bitorder="little").view("<u8").astype(np.uint64, copy=False)
                one.listed = self, words & self.words
            return one.listed[1]


class ListTables:
    """What each list adds to a query's tables; immutable. The array is kept, not copied, and must not change.

    Parameters
    ----------
    values
        (n_lists, M, 256) float32, or (n_lists, M, 16) for 4-bit codes with M even: no NaN, nothing below -1e35.

    Raises
    ------
    TypeError, ValueError
        Not such an array.
    """

    def __init__(self, values: Floats) -> None:
        contract.array(values, "values", np.float32, 3)
        n_lists, n_tables, n_words = values.shape
        nibbles = n_words == NIBBLE_WORDS and n_tables % 2 == 0
        if not n_lists or not n_tables or not (nibbles or n_words == TABLE_WORDS):
            raise ValueError(
                f"values must have shape (n_lists, M, {TABLE_WORDS}), or (n_lists, even M, {NIBBLE_WORDS}) "
                f"where codes are of 4 bits, not {values.shape}"
            )
        if not values.min() >= LEAST_PART:
            raise ValueError(f"values must not contain NaN or entries below {LEAST_PART:g}")
        self.values = values

    @classmethod
    def of_products(
        cls, centroids: Centroids, words: Floats, *, bits: int = 8, threads: int | None = None
    ) -> ListTables:
        """Those of residuals from product codebooks (M, K, d / M) float32 for metric "l2"."""
        products = product_tables(np.ascontiguousarray(centroids.centres), words, "ip", threads, bits=bits)
        n_lists, n_codebooks, n_columns = products.shape
        values = np.zeros(
            (n_lists, n_codebooks + (n_codebooks % 2 if bits == 4 else 0), n_columns), np.float32
        )
        squares = product_tables(np.zeros((1, centroids.dim), np.float32), words, "l2", 1, bits=bits)
        np.multiply(products, np.float32(-2), out=products)
        products[products == -np.inf] = np.inf  # behind the last word
        np.add(products, squares, out=values[:, :n_codebooks])
        return cls(values)


def pack(codes: NDArray[np.uint8], lists: NDArray[np.int64], n_lists: int, bits: int = 8) -> CodeLists:
    """Put codes (n, M) uint8 into the lists (n,) int64 they belong to; inside of a list rows ascend.

    Raises
    ------
    TypeError, ValueError
        Not such arrays, or a list outside 0..n_lists-1.
    """
    contract.codes(codes, bits)
    contract.array(lists, "lists", np.int64, 1)
    contract.integer(n_lists, "n_lists", 1)
    if len(lists) != len(codes):
        raise ValueError(f"lists must have {len(codes)} entries, one a code, not {len(lists)}")
    if len(lists) and not 0 <= lists.min() <= lists.max() < n_lists:
        raise ValueError(f"lists must be from 0 to {n_lists - 1}, not {lists.min()} to {lists.max()}")
    if bits == 4:
        low = codes[:, ::2].copy()
        low[:, : codes.shape[1] // 2] |= codes[:, 1::2] << 4
        codes = low
    sizes = np.bincount(lists, minlength=n_lists).astype(np.int64)
    order = np.argsort(lists, kind="stable")
    n_blocks = -(-sizes // LIST_ROWS)
    moved = np.repeat(
        np.cumsum(n_blocks) * LIST_ROWS - n_blocks * LIST_ROWS - np.cumsum(sizes) + sizes, sizes
    )
    slots = np.arange(len(codes)) + moved
    total, n_bytes = int(n_blocks.sum()), codes.shape[1]
    blocks = _empty(total, n_bytes)
    blocks[:] = 0
    blocks.transpose(0, 2, 1)[slots // LIST_ROWS, slots % LIST_ROWS] = codes[order]
    rows = np.zeros(total * LIST_ROWS, np.uint32)
    rows[slots] = order
    return CodeLists(blocks, rows, sizes)


def _empty(n_blocks: int, n_bytes: int) -> NDArray[np.uint8]:
    """Room for blocks that begins on a cache line."""
    room = np.empty(n_blocks * n_bytes * LIST_ROWS + CACHE_LINE, np.uint8)
    start: Any = -room.ctypes.data % CACHE_LINE
    return room[start : start + room.size - CACHE_LINE].reshape(n_blocks, n_bytes, LIST_ROWS)
