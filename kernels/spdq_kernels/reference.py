"""The definition of right: what each kernel computes, in plain NumPy, down to the order of every addition.

Same names and signatures as the public functions, without their checks; ``threads`` means nothing here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq_kernels.contract import BLOCK_ROWS, TABLE_WORDS, additive_words
from spdq_kernels.layout import pack_codes, unpack_codes

__all__ = [
    "additive_tables",
    "assign",
    "encode_additive",
    "encode_product",
    "pack_codes",
    "product_tables",
    "project",
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


def product_tables(queries: Floats, words: Floats, metric: str, threads: int | None = None) -> Floats:
    """Return (nq, M, 256): each part of a query against the K words of its codebook, +inf beyond them."""
    n_codebooks, n_words, dim = words.shape
    tables = np.full((len(queries), n_codebooks, TABLE_WORDS), np.inf, np.float32)
    for m in range(n_codebooks):
        part = queries[:, m * dim : (m + 1) * dim]
        tables[:, m, :n_words] = (
            squared_distances(part, words[m]) if metric == "l2" else -project(part, words[m].T)
        )
    return tables


def additive_tables(queries: Floats, words: Floats, metric: str, threads: int | None = None) -> Floats:
    """Return (nq, M, 256): the negated inner products of a query with all words, +inf beyond column K."""
    n_codebooks, n_words, _ = words.shape
    tables = np.full((len(queries), n_codebooks, TABLE_WORDS), np.inf, np.float32)
    for m in range(n_codebooks):
        tables[:, m, :n_words] = -project(queries, words[m].T)
    return tables


def scan(
    tables: Floats, blocks: NDArray[np.uint8], n_rows: int, k: int, threads: int | None = None
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the k smallest sums of table entries and their rows, in the order (distance, row)."""
    distances = np.empty((len(tables), n_rows), np.float32)
    for start in range(0, n_rows, BLOCK_ROWS):
        block, stop = blocks[start // BLOCK_ROWS], min(start + BLOCK_ROWS, n_rows)
        sums = tables[:, 0, block[0]]
        for m in range(1, block.shape[0]):
            sums = sums + tables[:, m, block[m]]
        distances[:, start:stop] = sums[:, : stop - start]
    rows = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, rows, axis=1), rows


def assign(vectors: Floats, centres: Floats, threads: int | None = None) -> NDArray[np.int64]:
    """Return the nearest centre of each vector in squared Euclidean distance, the lowest among equals."""
    nearest: NDArray[np.int64] = squared_distances(vectors, centres).argmin(axis=1)
    return nearest


def encode_product(vectors: Floats, words: Floats, threads: int | None = None) -> NDArray[np.uint8]:
    """Return, codebook by codebook, the word nearest to that part of the vector."""
    codes: NDArray[np.uint8] = product_tables(vectors, words, "l2").argmin(axis=2).astype(np.uint8)
    return codes


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
    products: WordProducts | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Return codes (n, M) uint8: beam search over the codebooks in order, then ICM sweeps over the best path.

    Both minimise half the squared error less the constant half norm of the vector, in float64.
    """
    half_norms, pairs = products or word_products(words)
    n_codebooks, n_words, dim = words.shape
    products4 = pairs.reshape(n_codebooks, n_words, n_codebooks, n_words)
    codes = np.empty((len(vectors), n_codebooks), np.uint8)
    for i, vector in enumerate(vectors.astype(np.float64)):
        inner = np.zeros((n_codebooks, n_words))
        for d in range(dim):
            inner += vector[d] * words[:, :, d]
        unary = half_norms - inner
        path = _beam_search(unary, products4, beam)
        codes[i] = _icm(unary, products4, path, sweeps)
    return codes


def _costs(unary: NDArray[np.float64], products: Floats, m: int, path: dict[int, int]) -> NDArray[np.float64]:
    """What each word of codebook m adds to the error, given the words chosen in other codebooks."""
    costs: NDArray[np.float64] = unary[m].copy()
    for other, word in path.items():
        costs += products[other, word, m]
    return costs


def _beam_search(unary: NDArray[np.float64], products: Floats, beam: int) -> list[int]:
    paths: list[list[int]] = [[]]
    errors = np.zeros(1)
    for m, n_words in enumerate([unary.shape[1]] * unary.shape[0]):
        costs = np.array([_costs(unary, products, m, dict(enumerate(path))) for path in paths])
        candidates = (errors[:, None] + costs).ravel()
        best = np.argsort(candidates, kind="stable")[:beam]
        paths = [[*paths[at // n_words], int(at % n_words)] for at in best]
        errors = candidates[best]
    return paths[0]


def _icm(unary: NDArray[np.float64], products: Floats, path: list[int], sweeps: int) -> list[int]:
    for _ in range(sweeps):
        before = list(path)
        for m in range(len(path)):
            others = {other: word for other, word in enumerate(path) if other != m}
            path[m] = int(_costs(unary, products, m, others).argmin())
        if path == before:
            break
    return path
