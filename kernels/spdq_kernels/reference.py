"""The definition of right: what each kernel computes, in plain NumPy, down to the order of every addition.

Same names and signatures as the public functions, without their checks; ``threads`` means nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels.contract import NO_BIT_DISTANCE, TABLE_WORDS, additive_words
from spdq_kernels.layout import pack_codes, unpack_codes
from spdq_kernels.row_filter import Allowed, RowFilter, row_filters

__all__ = [
    "additive_tables",
    "assign",
    "encode_additive",
    "encode_product",
    "find_texts",
    "hamming_scan",
    "pack_codes",
    "product_tables",
    "project",
    "range_scan",
    "scan",
    "unpack_codes",
    "word_products",
]

Floats = NDArray[np.float32]


def project(vectors: Floats, matrix: Floats, threads: int | None = None) -> Floats:
    """Return vectors (n, D) times matrix (D, E): float32 additions in the order of the dimensions."""
    result = np.zeros((len(vectors), matrix.shape[1]), np.float32)
    for dim in range(matrix.shape[0]):
        result += vectors[:, dim, None] * matrix[dim]
    return result


def squared_distances(vectors: Floats, centres: Floats) -> Floats:
    """Return squared Euclidean distances (n, K): float32 additions in the order of the dimensions."""
    result = np.zeros((len(vectors), len(centres)), np.float32)
    for dim in range(centres.shape[1]):
        result += (vectors[:, dim, None] - centres[:, dim]) ** 2
    return result


def product_tables(
    queries: Floats, words: Floats, metric: str, threads: int | None = None, *, bits: int = 8
) -> Floats:
    """Return (nq, M, 2**bits): each part of a query against the K words of its codebook, +inf beyond them."""
    n_codebooks, n_words, dim = words.shape
    tables = np.full((len(queries), n_codebooks, 1 << bits), np.inf, np.float32)
    for m in range(n_codebooks):
        part = queries[:, m * dim : (m + 1) * dim]
        tables[:, m, :n_words] = (
            squared_distances(part, words[m]) if metric == "l2" else -project(part, words[m].T)
        )
    return tables


def additive_tables(
    queries: Floats, words: Floats, metric: str, norms: Floats | None = None, threads: int | None = None
) -> Floats:
    """Return (nq, M, 256), +inf beyond column K: negated inner products of a query with all words; or, for "l2",
    (nq, M + 1, 256): twice those, and the query's squared norm plus each value of the norm byte."""
    n_codebooks, n_words, _ = words.shape
    tables = np.full((len(queries), n_codebooks + (metric == "l2"), TABLE_WORDS), np.inf, np.float32)
    for m in range(n_codebooks):
        tables[:, m, :n_words] = -project(queries, words[m].T)
    if norms is not None:
        tables[:, :n_codebooks, :n_words] *= 2
        squares = squared_distances(queries, np.zeros((1, queries.shape[1]), np.float32))
        tables[:, n_codebooks, : len(norms)] = squares + norms
    return tables


def distances(tables: Floats, blocks: NDArray[np.uint8], n_rows: int) -> Floats:
    """Return (nq, n_rows): the sums of table entries in float32, from +0 on in the order of the codebooks."""
    codes = unpack_codes(blocks, n_rows, 8 if tables.shape[2] == TABLE_WORDS else 4)
    sums = np.zeros((len(tables), n_rows), np.float32)
    for m in range(tables.shape[1]):
        sums += tables[:, m, codes[:, m]]
    return sums


def bit_distances(queries: NDArray[np.uint8], blocks: NDArray[np.uint8], n_rows: int) -> NDArray[np.int32]:
    """Return (nq, n_rows) int32: the number of bits in which a row differs from a query."""
    differing = queries[:, None, :] ^ unpack_codes(blocks, n_rows)
    counts: NDArray[np.int32] = np.unpackbits(differing, axis=2).sum(axis=2, dtype=np.int32)
    return counts


def nearest(
    found: NDArray[Any], k: int, allowed: Allowed, nothing: float
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return of distances (nq, n) the k' smallest allowed ones and their rows, in the order (distance, row)."""
    n_queries, n_rows = found.shape
    filters = row_filters(allowed, n_queries, n_rows)
    counts = [n_rows if one is None else one.count for one in filters]
    k = min(k, allowed.count if isinstance(allowed, RowFilter) else max(counts, default=n_rows))
    distances = np.full((n_queries, k), nothing, found.dtype)
    rows = np.full((n_queries, k), -1, np.int64)
    for i, one in enumerate(filters):
        candidates = np.arange(n_rows) if one is None else np.flatnonzero(one.mask())
        best = candidates[np.argsort(found[i, candidates], kind="stable")[:k]]
        distances[i, : len(best)], rows[i, : len(best)] = found[i, best], best
    return distances, rows


def scan(
    tables: Floats,
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
    bounds: Floats | None = None,
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the k nearest allowed rows by ``distances``, those beyond a query's bound replaced by +inf and -1."""
    found, rows = nearest(distances(tables, blocks, n_rows), k, allowed, np.inf)
    if bounds is not None:
        beyond = found > bounds[:, None]
        found[beyond], rows[beyond] = np.inf, -1
    return found, rows


def hamming_scan(
    queries: NDArray[np.uint8],
    blocks: NDArray[np.uint8],
    n_rows: int,
    k: int,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the k nearest allowed rows by ``bit_distances``."""
    return nearest(bit_distances(queries, blocks, n_rows), k, allowed, NO_BIT_DISTANCE)


def range_scan(
    tables: Floats,
    blocks: NDArray[np.uint8],
    n_rows: int,
    radius: float,
    threads: int | None = None,
    *,
    allowed: Allowed = None,
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return all allowed rows nearer than the radius, query after query, each in the order (distance, row)."""
    found, rows = nearest(distances(tables, blocks, n_rows), n_rows, allowed, np.inf)
    inside = (found.astype(np.float64) < radius) & (rows >= 0)
    limits = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int64)
    return limits, found[inside], rows[inside]


def assign(vectors: Floats, centres: Floats, threads: int | None = None) -> NDArray[np.int64]:
    """Return the nearest centre of each vector in squared Euclidean distance, the lowest among equals."""
    nearest: NDArray[np.int64] = squared_distances(vectors, centres).argmin(axis=1)
    return nearest


def encode_product(vectors: Floats, words: Floats, threads: int | None = None) -> NDArray[np.uint8]:
    """Return, codebook by codebook, the word nearest to that part of the vector."""
    codes: NDArray[np.uint8] = product_tables(vectors, words, "l2").argmin(axis=2).astype(np.uint8)
    return codes


def find_texts(
    utf8: NDArray[np.uint8],
    borders: NDArray[np.int64],
    wanted_utf8: NDArray[np.uint8],
    wanted_borders: NDArray[np.int64],
    threads: int | None = None,
) -> NDArray[np.int64]:
    """Return the row of each wanted text, -1 for one that is not there."""
    rows = {text: row for row, text in enumerate(texts(utf8, borders))}
    return np.array([rows.get(text, -1) for text in texts(wanted_utf8, wanted_borders)], np.int64)


def texts(utf8: NDArray[np.uint8], borders: NDArray[np.int64]) -> list[bytes]:
    """Return text r = utf8[borders[r]:borders[r + 1]] for all r."""
    return [utf8[start:end].tobytes() for start, end in pairwise(borders)]


class WordProducts(NamedTuple):
    """What additive encoding needs to know about the words alone."""

    half_norms: NDArray[np.float64]
    """(M, K) float64: half the squared norm of each word."""

    products: Floats
    """(M * K, M * K) float32: inner products of all words with all words."""


def word_products(words: Floats) -> WordProducts:
    """Return the norms and inner products of words (M, K, D) float32, M * K at most 8192.

    They take 4 * (M * K)**2 bytes (16 MiB at 8 x 256 words) and some 50 ms; a caller that encodes few vectors
    at a time keeps them.
    """
    additive_words(words)
    n_codebooks, n_words, _ = words.shape
    wide = words.astype(np.float64)
    products = np.empty((n_codebooks, n_words, n_codebooks, n_words), np.float32)
    for m in range(n_codebooks):
        for other in range(m + 1):
            block = wide[m] @ wide[other].T
            products[m, :, other] = block
            products[other, :, m] = block.T
    return WordProducts((wide * wide).sum(axis=2) / 2, products.reshape(n_codebooks * n_words, -1))


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
    """Return codes (n, M) uint8: beam search over the codebooks in order, then ICM sweeps over the best path.

    Both minimise, in float64, half the squared error, in which the part along the vector counts ``along`` times, less
    what is the same for all codes.
    """
    half_norms, pairs = products or word_products(words)
    n_codebooks, n_words, dim = words.shape
    products4 = pairs.reshape(n_codebooks, n_words, n_codebooks, n_words)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    for i, vector in enumerate(vectors.astype(np.float64)):
        inner = np.zeros((n_codebooks, n_words))
        squared = 0.0
        for d in range(dim):
            inner += vector[d] * words[:, :, d]
            squared += vector[d] * vector[d]
        pull = (along - 1) / squared if along != 1 and squared else 0.0
        unary = half_norms - inner
        if pull > 0:
            unary += pull * (inner * (inner / 2 - squared))
        problem = _Problem(unary, products4, inner, pull)
        path = _beam_search(problem, beam)
        codes[i] = _icm(problem, path, sweeps)
    return codes


@dataclass
class _Problem:
    """What words cost: unary (M, K) by themselves, products (M, K, M, K) and pull * inner * inner' in pairs."""

    unary: NDArray[np.float64]
    products: Floats
    inner: NDArray[np.float64]
    pull: float

    def costs(self, m: int, path: dict[int, int]) -> NDArray[np.float64]:
        """What each word of codebook m adds to the error, given the words chosen in other codebooks."""
        costs: NDArray[np.float64] = self.unary[m].copy()
        reached = 0.0
        for other, word in path.items():
            costs += self.products[other, word, m]
            reached += self.inner[other, word]
        if self.pull > 0:
            costs += (reached * self.pull) * self.inner[m]
        return costs


def _beam_search(problem: _Problem, beam: int) -> list[int]:
    paths: list[list[int]] = [[]]
    errors = np.zeros(1)
    n_codebooks, n_words = problem.unary.shape
    for m in range(n_codebooks):
        costs = np.array([problem.costs(m, dict(enumerate(path))) for path in paths])
        candidates = (errors[:, None] + costs).ravel()
        best = np.argsort(candidates, kind="stable")[:beam]
        paths = [[*paths[at // n_words], int(at % n_words)] for at in best]
        errors = candidates[best]
    return paths[0]


def _icm(problem: _Problem, path: list[int], sweeps: int) -> list[int]:
    for _ in range(sweeps):
        before = list(path)
        for m in range(len(path)):
            others = {other: word for other, word in enumerate(path) if other != m}
            path[m] = int(problem.costs(m, others).argmin())
        if path == before:
            break
    return path
