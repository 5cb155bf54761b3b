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

CACHE_LINE = 64
"""Bytes a processor reads at once."""

TABLE_WORDS = 256
"""Columns of a lookup table for 8-bit codes: with all values of a byte present no code can read past its table."""

NIBBLE_WORDS = 16
"""Columns of a lookup table for 4-bit codes."""

BYTES, HALVES, BITS = 0, 1, 2
"""What a byte of code is: a word of 8 bits, two words of 4, or plain bits."""
KINDS = ("bytes", "halves", "bits")

MAX_ROWS = (1 << 32) - 1
"""Most rows of one scan: a row and its distance share 64 bits."""

MAX_CODEBOOKS = 256
MAX_ADDITIVE_WORDS = 8192
"""Most words (M * K) that can be encoded additively: their pairwise products take 4 * (M * K)**2 bytes."""

LOWEST_DISTANCE = -1e36
"""Smallest table entry: no sum of MAX_CODEBOOKS such entries is -inf, hence none is NaN beside a +inf."""

NO_BIT_DISTANCE = 2**31 - 1
"""Stands where a filter leaves one query fewer rows than another; with float distances that is +inf."""

MAX_THREADS = 256
"""Threads used at most, however many are asked for; no result depends on their number."""

MAX_ALONG = 1e6
"""How often the error along a vector counts at most: beyond, that across it is lost in rounding."""

METRICS = ("l2", "ip")


def array(value: Any, name: str, dtype: type, ndim: int) -> None:
    """Check that ``value`` is an aligned C-contiguous array of ``dtype`` with ``ndim`` dimensions."""
    # What is right is found out by few look-ups: a single query takes little longer than its checks.
    if type(value) is np.ndarray and value.dtype == dtype and value.ndim == ndim:
        flags = value.flags
        if flags.c_contiguous and flags.aligned:
            return
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


def words(value: Any, bits: int = 8) -> None:
    """Check (M, K, d) float32 words, none of the three zero, M at most 256 and K 2**bits, in any memory layout."""
    typed(value, "words", np.float32, 3)
    n_codebooks, n_words, dim = value.shape
    if not (1 <= n_codebooks <= MAX_CODEBOOKS and 1 <= n_words <= 1 << bits and dim >= 1):
        raise ValueError(
            f"words must be (M, K, d) with M in 1..{MAX_CODEBOOKS}, K in 1..{1 << bits}, d >= 1, "
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


def code_bits(value: Any) -> None:
    """Check the size of one code."""
    if value not in (4, 8):
        raise ValueError(f"bits must be 4 or 8, not {value!r}")


def codes(value: Any, bits: Any = 8) -> None:
    """Check (n, M) uint8 codes with 1 <= M <= 256, below 16 where they are of 4 bits."""
    code_bits(bits)
    array(value, "codes", np.uint8, 2)
    if not 1 <= value.shape[1] <= MAX_CODEBOOKS:
        raise ValueError(f"codes must have 1..{MAX_CODEBOOKS} columns, not shape {value.shape}")
    if bits == 4 and value.size and value.max() >= NIBBLE_WORDS:
        raise ValueError(f"codes of 4 bits must be below {NIBBLE_WORDS}, not {value.max()}")


def blocks(value: Any, n_rows: int) -> None:
    """Check (ceil(n_rows / 256), bytes, 256) uint8 blocks."""
    array(value, "blocks", np.uint8, 3)
    integer(n_rows, "n_rows", 0)
    if n_rows > MAX_ROWS:
        raise ValueError(f"n_rows must be at most {MAX_ROWS}, not {n_rows}: scan parts and merge them")
    n_blocks = -(-n_rows // BLOCK_ROWS)
    n_bytes = value.shape[1]
    if value.shape != (n_blocks, n_bytes, BLOCK_ROWS) or not 1 <= n_bytes <= MAX_CODEBOOKS:
        raise ValueError(
            f"blocks of {n_rows} rows must have shape ({n_blocks}, M, {BLOCK_ROWS}) "
            f"with M in 1..{MAX_CODEBOOKS}, not {value.shape}"
        )


def tables(value: Any, n_bytes: int) -> None:
    """Check float32 lookup tables (nq, n_bytes, 256), or (nq, 2 * n_bytes or one less, 16) for 4-bit codes.

    No NaN, nothing below LOWEST_DISTANCE.
    """
    array(value, "tables", np.float32, 3)
    n_tables, n_words = value.shape[1:]
    nibbles = n_words == NIBBLE_WORDS and n_tables in (2 * n_bytes - 1, 2 * n_bytes)
    if not nibbles and (n_tables, n_words) != (n_bytes, TABLE_WORDS):
        raise ValueError(
            f"tables must have shape (nq, {n_bytes}, {TABLE_WORDS}) to match the blocks, "
            f"or (nq, {2 * n_bytes}, {NIBBLE_WORDS}) where codes are of 4 bits, not {value.shape}"
        )
    if value.size and not np.minimum.reduce(value, axis=None) >= LOWEST_DISTANCE:
        raise ValueError(f"tables must not contain NaN or entries below {LOWEST_DISTANCE:g}")


def bit_queries(value: Any, n_bytes: int) -> None:
    """Check (nq, n_bytes) uint8 packed bits."""
    array(value, "queries", np.uint8, 2)
    if value.shape[1] != n_bytes:
        raise ValueError(f"queries must have {n_bytes} bytes to match the blocks, not {value.shape[1]}")


def texts(utf8: Any, borders: Any, prefix: str = "") -> None:
    """Check (b,) uint8 texts and their (n + 1,) int64 borders: text r is utf8[borders[r]:borders[r + 1]].

    Borders between the first and the last are not looked at. ``prefix`` stands before the names of the two.
    """
    array(utf8, f"{prefix}utf8", np.uint8, 1)
    array(borders, f"{prefix}borders", np.int64, 1)
    if len(borders) == 0:
        raise ValueError(
            f"{prefix}borders must have an entry more than there are texts, at least [0], not none"
        )
    if (borders[0], borders[-1]) != (0, len(utf8)):
        raise ValueError(
            f"{prefix}borders must go from 0 to {len(utf8)}, the size of {prefix}utf8, "
            f"not from {borders[0]} to {borders[-1]}"
        )


def ascending(borders: Any, name: str) -> None:
    """Check that borders (n + 1,) ascend."""
    falls = borders[1:] < borders[:-1]
    if falls.any():
        row = falls.argmax()
        raise ValueError(
            f"{name} must ascend, but text {row} would go from {borders[row]} to {borders[row + 1]}"
        )


def radius(value: Any) -> None:
    """Check a number that is not NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"radius must be a number, not {type(value).__name__}")
    if value != value:
        raise ValueError("radius must not be NaN")


def bounds(value: Any, n_queries: int) -> None:
    """Check the (nq,) float32 bounds of queries, none of them NaN."""
    if value is None:
        return
    array(value, "bounds", np.float32, 1)
    if len(value) != n_queries:
        raise ValueError(f"bounds must be {n_queries}, one a query, not {len(value)}")
    if np.isnan(value).any():
        raise ValueError("bounds must not be NaN")


def metric(value: Any) -> None:
    """Check that the metric is known."""
    if value not in METRICS:
        raise ValueError(f'metric must be "l2" or "ip", not {value!r}')


def norms(value: Any, metric: str) -> None:
    """Check the (K,) float32 squared norms a norm byte stands for; metric "l2" cannot do without."""
    if value is None:
        if metric == "l2":
            raise ValueError(
                'metric "l2" of additive codes needs norms, for a byte of each item that names its squared norm: '
                'pass them or use metric "ip"'
            )
        return
    array(value, "norms", np.float32, 1)
    if metric == "ip":
        raise ValueError('norms are for metric "l2": an inner product has no use for them')
    if not 1 <= len(value) <= TABLE_WORDS:
        raise ValueError(f"norms must have 1..{TABLE_WORDS} entries, not {len(value)}")


def integer(value: Any, name: str, lowest: int) -> None:
    """Check a whole number of at least ``lowest``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    if value < lowest:
        raise ValueError(f"{name} must be at least {lowest}, not {value}")


def along(value: Any) -> None:
    """Check how often the error along a vector counts."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"along must be a number, not {type(value).__name__}")
    if not 1 <= value <= MAX_ALONG:
        raise ValueError(f"along must be from 1 to {MAX_ALONG:g}, not {value}")


def thread_count(value: Any) -> int:
    """Return the number of threads asked for; None is every core this process may use."""
    if value is None:
        return len(os.sched_getaffinity(0))
    integer(value, "threads", 1)
    return min(int(value), MAX_THREADS)
