"""Tables, rotations, encoding and texts: check the arguments, split the work over threads, run the kernels.

Every result is the same for any number of threads and any batch size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import contract
from spdq_kernels.contract import TABLE_WORDS
from spdq_kernels.reference import Floats, WordProducts, word_products
from spdq_kernels.threads import pieces, run, workers

SCANNING = (
    *("scan_bytes", "scan_halves", "range_bytes", "range_halves"),
    *("gather", "rank_of", "evaluate_rows"),
)
"""What searches with lookup tables call, with filters and without."""
KERNELS = (
    *SCANNING,
    *("tables", "scan_bits", "project", "assign", "encode_additive", "find_texts"),
    *("nearest_lists", "bad_probe", "lists_bytes", "lists_halves"),
    *("range_lists_bytes", "range_lists_halves"),
)
"""All that is called from outside the kernels."""

_compiled: dict[str, Any] = {}

VECTORS_PER_THREAD = 64
"""Fewest vectors to encode that are worth a thread of their own."""
TEXTS_PER_THREAD = 4096
"""The same of texts to find."""


def product_tables(
    queries: Floats, words: Floats, metric: str, threads: int | None = None, *, bits: int = 8
) -> Floats:
    """Return the lookup tables (nq, M, 2**bits) float32 of queries (nq, D) float32 for words (M, K, D/M) float32.

    Smaller is closer: squared Euclidean distances for metric "l2", negated inner products for "ip", +inf in
    columns K and above. ``bits`` is 8, or 4 for at most 16 words a codebook. Words may have any memory layout;
    columns ``(M, D/M, K)`` transposed back are taken without a copy.
    """
    contract.code_bits(bits)
    contract.words(words, bits)
    contract.metric(metric)
    contract.vectors(queries, "queries", words.shape[0] * words.shape[2])
    return _tables(queries, words, words.shape[2], metric == "l2", 1 << bits, threads)


def additive_tables(
    queries: Floats,
    words: Floats,
    metric: str,
    norms: Floats | None = None,
    threads: int | None = None,
) -> Floats:
    """Return the lookup tables of queries (nq, D) float32 for words (M, K, D) float32 that add up to an item.

    Metric "ip": (nq, M, 256) float32, negated inner products. Metric "l2": (nq, M + 1, 256), squared Euclidean
    distances: twice the negated inner products, and one table more for a byte that names the squared norm of the
    item; ``norms`` (at most 256,) float32 are the squared norms it can name. Columns beyond are +inf.
    """
    contract.words(words)
    contract.metric(metric)
    contract.norms(norms, metric)
    contract.vectors(queries, "queries", words.shape[2])
    products = _tables(queries, words, 0, False, TABLE_WORDS, threads)
    if norms is None:
        return products
    n_queries, n_codebooks, n_words = len(queries), *words.shape[:2]
    tables = np.full((n_queries, n_codebooks + 1, TABLE_WORDS), np.inf, np.float32)
    np.multiply(products[:, :, :n_words], np.float32(2), out=tables[:, :n_codebooks, :n_words])
    origin = np.zeros((1, 1, words.shape[2]), np.float32)
    squares = _tables(queries, origin, 0, True, 1, threads)
    np.add(squares[:, 0], norms, out=tables[:, n_codebooks, : len(norms)])
    return tables


def project(vectors: Floats, matrix: Floats, threads: int | None = None) -> Floats:
    """Return vectors (n, D) float32 times matrix (D, E) float32, (n, E) float32.

    Unlike a BLAS product the result of a row does not depend on the rows beside it.
    """
    contract.array(matrix, "matrix", np.float32, 2)
    contract.vectors(vectors, width=matrix.shape[0])
    result = np.empty((len(vectors), matrix.shape[1]), np.float32)
    _by_rows("project", vectors, (matrix,), result, threads)
    return result


def assign(vectors: Floats, centres: Floats, threads: int | None = None) -> NDArray[np.int64]:
    """Return (n,) int64: which of centres (K, d) float32 is nearest to each of vectors (n, d) float32.

    Nearest in squared Euclidean distance, added in float32 in the order of the dimensions; ties go to the
    lowest centre.
    """
    contract.array(centres, "centres", np.float32, 2)
    if 0 in centres.shape:
        raise ValueError(f"centres must not be empty, not shape {centres.shape}")
    contract.vectors(vectors, width=centres.shape[1])
    result = np.empty(len(vectors), np.int64)
    _by_rows("assign", vectors, (np.ascontiguousarray(centres.T),), result, threads)
    return result


def encode_product(vectors: Floats, words: Floats, threads: int | None = None) -> NDArray[np.uint8]:
    """Return codes (n, M) uint8 of vectors (n, D) float32 for words (M, K, D/M) float32.

    Each part of a vector gets the nearest word of its codebook, the lowest among equals.
    """
    contract.words(words)
    n_codebooks, _, dim = words.shape
    contract.vectors(vectors, width=n_codebooks * dim)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    nearest = np.empty(len(vectors), np.int64)
    for m, columns in enumerate(_columns(words)):
        part = np.ascontiguousarray(vectors[:, m * dim : (m + 1) * dim])
        _by_rows("assign", part, (columns,), nearest, threads)
        codes[:, m] = nearest
    return codes


def encode_additive(
    vectors: Floats,
    words: Floats,
    beam: int = 8,
    sweeps: int = 3,
    *,
    along: float = 1.0,
    products: WordProducts | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return codes (n, M) uint8 of vectors (n, D) float32 for words (M, K, D) float32.

    A code names one word of each codebook; their sum stands for the vector. A beam search over the
    codebooks in order, then at most ``sweeps`` sweeps of ICM (SPDQ equation 23: each codebook in turn takes
    its best word beside the others'). Both minimise the squared error, in which the part along the vector counts
    ``along`` times: above 1, inner products with queries close to the vector are kept better (Guo et al., ICML 2020,
    equation 4). Ties go to the lowest word. ``products`` saves computing ``word_products(words)`` anew.
    """
    contract.additive_words(words)
    n_codebooks, n_words, dim = words.shape
    contract.vectors(vectors, width=dim)
    contract.integer(beam, "beam", 1)
    contract.integer(sweeps, "sweeps", 0)
    contract.along(along)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    if len(vectors) == 0:
        return codes
    half_norms, pairs = word_products(words) if products is None else products
    contract.word_products(half_norms, pairs, n_codebooks, n_words)
    shared = (_columns(words), half_norms, pairs, int(beam), int(sweeps), float(along))
    _by_rows("encode_additive", vectors, shared, codes, threads)
    return codes


def find_texts(
    utf8: NDArray[np.uint8],
    borders: NDArray[np.int64],
    wanted_utf8: NDArray[np.uint8],
    wanted_borders: NDArray[np.int64],
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Return (q,) int64: the row of each wanted text among sorted texts, -1 for one that is not there.

    Text r of n is ``utf8[borders[r]:borders[r + 1]]``: utf8 (b,) uint8, borders (n + 1,) int64 that ascend from
    0 to b. The wanted texts are given likewise, in any order; any bytes are a text. That texts 0 to n - 1 ascend
    strictly, as Python orders bytes, and that their borders do, is the caller's promise and not checked (a list may
    be long, and a look-up reads little of it): broken, a text that is there may be missed.
    """
    contract.texts(utf8, borders)
    contract.texts(wanted_utf8, wanted_borders, "wanted_")
    contract.ascending(wanted_borders, "wanted_borders")
    rows = np.empty(len(wanted_borders) - 1, np.int64)
    kernel = compiled("find_texts")

    def find(piece: slice) -> None:
        kernel(utf8, borders, wanted_utf8, wanted_borders[piece.start : piece.stop + 1], rows[piece])

    run(find, pieces(len(rows), workers(threads, len(rows), TEXTS_PER_THREAD)))
    return rows


def warmup(kernels: Iterable[str] = KERNELS) -> None:
    """Compile every kernel, or some by their names (``SCANNING``), or load them from the cache."""
    for name in kernels:
        compiled(name)


def compiled(name: str) -> Any:
    """The kernel of that name; the first one imports Numba."""
    if name not in _compiled:
        from spdq_kernels import cpu

        _compiled[name] = cpu.compiled(name)
    return _compiled[name]


def _tables(
    queries: Floats, words: Floats, step: int, squared: bool, columns: int, threads: int | None
) -> Floats:
    result = np.empty((len(queries), len(words), columns), np.float32)
    _by_rows("tables", queries, (_columns(words), step, int(squared)), result, threads)
    return result


def _by_rows(
    name: str, vectors: Floats, shared: tuple[Any, ...], result: NDArray[Any], threads: int | None
) -> None:
    """Run a kernel that treats each vector by itself, a run of rows in each thread."""
    count = workers(threads, len(vectors), VECTORS_PER_THREAD)
    kernel = compiled(name)
    if count == 1:
        kernel(vectors, *shared, result)
        return
    run(lambda piece: kernel(vectors[piece], *shared, result[piece]), pieces(len(vectors), count))


def _columns(words: Floats) -> Floats:
    return np.ascontiguousarray(words.transpose(0, 2, 1))
