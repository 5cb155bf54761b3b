"""What every kernel may rely on: the checks that stand between a caller and code without bounds checks.

A wrong type of array is a ``TypeError``, a wrong shape, layout or value a ``ValueError``; both say what was
expected and what came. Nothing is converted silently: a hidden copy of a large array is a fault, too.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

BLOCK_ROWS = 256
"""Rows of one block of the scan layout."""

TABLE_WORDS = 256
"""Columns of every lookup table: with all 256 values of a byte present no code can read past its table."""

MAX_CODEBOOKS = 256
MAX_ADDITIVE_WORDS = 8192
"""Most words (M * K) that can be encoded additively: their pairwise products take 4 * (M * K)**2 bytes."""

LOWEST_DISTANCE = -1e36
"""Smallest table entry: no sum of MAX_CODEBOOKS such entries is -inf, hence none is NaN beside a +inf."""

MAX_THREADS = 256
"""Threads used at most, however many are asked for; no result depends on their number."""

METRICS = ("l2", "ip")


def array(value: Any, name: str, dtype: type, ndim: int) -> None:
    """Check that ``value`` is an aligned C-contiguous array of ``dtype`` with ``ndim`` dimensions."""
    typed(value, name, dtype, ndim)
    if not value.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous: pass numpy.ascontiguousarray({name})")


def typed(value: Any, name: str, dtype: type, ndim: int) -> None:
    """Check type, dtype, number of dimensions and alignment; any memory layout."""
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, not {type(value).__name__}")
    if value.dtype != np.dtype(dtype):
        raise TypeError(f"{name} must have dtype {np.dtype(dtype)}, not {value.dtype}")
    if value.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, not shape {value.shape}")
    if not value.flags.aligned:
        raise ValueError(f"{name} must be aligned in memory: pass {name}.copy()")


def vectors(value: Any, name: str = "vectors", width: int | None = None) -> None:
    """Check a (n, width) float32 array; its values may be anything."""
    array(value, name, np.float32, 2)
    if width is not None and value.shape[1] != width:
        raise ValueError(f"{name} must have {width} columns to match the words, not {value.shape[1]}")


def words(value: Any) -> None:
    """Check (M, K, d) float32 words, none of the three zero, M and K at most 256, in any memory layout."""
    typed(value, "words", np.float32, 3)
    n_codebooks, n_words, dim = value.shape
    if not (1 <= n_codebooks <= MAX_CODEBOOKS and 1 <= n_words <= TABLE_WORDS and dim >= 1):
        raise ValueError(
            f"words must be (M, K, d) with M in 1..{MAX_CODEBOOKS}, K in 1..{TABLE_WORDS}, d >= 1, "
            f"not {value.shape}"
        )


def additive_words(value: Any) -> None:
    """Check words that are to be encoded additively: their pairwise products must fit in memory."""
    words(value)
    if value.shape[0] * value.shape[1] > MAX_ADDITIVE_WORDS:
        raise ValueError(
            f"additive encoding takes at most {MAX_ADDITIVE_WORDS} words in all, "
            f"not {value.shape[0]} codebooks of {value.shape[1]}"
        )


def word_products(half_norms: Any, products: Any, n_codebooks: int, n_words: int) -> None:
    """Check that the products belong to (n_codebooks, n_words) words."""
    array(half_norms, "half_norms", np.float64, 2)
    array(products, "products", np.float32, 2)
    total = n_codebooks * n_words
    if half_norms.shape != (n_codebooks, n_words) or products.shape != (total, total):
        raise ValueError(
            f"word products must have shapes {(n_codebooks, n_words)} and {(total, total)} "
            f"to match the words, not {half_norms.shape} and {products.shape}"
        )


def codes(value: Any) -> None:
    """Check (n, M) uint8 codes with 1 <= M <= 256."""
    array(value, "codes", np.uint8, 2)
    if not 1 <= value.shape[1] <= MAX_CODEBOOKS:
        raise ValueError(f"codes must have 1..{MAX_CODEBOOKS} columns, not shape {value.shape}")


def blocks(value: Any, n_rows: int) -> None:
    """Check (ceil(n_rows / 256), M, 256) uint8 blocks."""
    array(value, "blocks", np.uint8, 3)
    integer(n_rows, "n_rows", 0)
    n_blocks = -(-n_rows // BLOCK_ROWS)
    n_codebooks = value.shape[1]
    if value.shape != (n_blocks, n_codebooks, BLOCK_ROWS) or not 1 <= n_codebooks <= MAX_CODEBOOKS:
        raise ValueError(
            f"blocks of {n_rows} rows must have shape ({n_blocks}, M, {BLOCK_ROWS}) "
            f"with M in 1..{MAX_CODEBOOKS}, not {value.shape}"
        )


def tables(value: Any, n_codebooks: int) -> None:
    """Check (nq, n_codebooks, 256) float32 lookup tables: no NaN, nothing below LOWEST_DISTANCE."""
    array(value, "tables", np.float32, 3)
    if value.shape[1:] != (n_codebooks, TABLE_WORDS):
        raise ValueError(
            f"tables must have shape (nq, {n_codebooks}, {TABLE_WORDS}) to match the blocks, "
            f"not {value.shape}"
        )
    if value.size and not value.min() >= LOWEST_DISTANCE:
        raise ValueError(f"tables must not contain NaN or entries below {LOWEST_DISTANCE:g}")


def metric(value: Any) -> None:
    """Check that the metric is known."""
    if value not in METRICS:
        raise ValueError(f'metric must be "l2" or "ip", not {value!r}')


def additive_metric(value: Any) -> None:
    """Check a metric of additive tables, which have no term for the norm of the sum of words."""
    metric(value)
    if value == "l2":
        raise ValueError(
            'additive tables have no "l2" metric: it needs a byte for the norm of each item; use metric="ip"'
        )


def integer(value: Any, name: str, lowest: int) -> None:
    """Check a whole number of at least ``lowest``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {value}")


def thread_count(value: Any) -> int:
    """Return the number of threads asked for; None is every core this process may use."""
    if value is None:
        return len(os.sched_getaffinity(0))
    integer(value, "threads", 1)
    return min(int(value), MAX_THREADS)
