"""Made data for the speed benchmark: clustered vectors, drawn in chunks, and their codes.

A chunk has a seed of its own, so the first rows of a large collection are those of a small one and memory holds
one chunk of vectors at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spdq_kernels import encode_product

DIM = 64
N_CLUSTERS = 4000
N_FACTORS = 24
"""Rank of most of the spread inside a cluster."""
FACTOR_SCALE = 0.17
NOISE_SCALE = 0.2
CHUNK_ROWS = 1 << 17
TRAINING_ROWS = 1 << 14
TRAINING_ROUNDS = 8

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class CodeKind:
    """A product code: ``n_codebooks`` codes of ``bits`` bits."""

    n_codebooks: int
    bits: int

    @staticmethod
    def named(name: str) -> CodeKind:
        """The kind of a name such as "8x8"."""
        n_codebooks, bits = name.split("x")
        return CodeKind(int(n_codebooks), int(bits))

    @property
    def name(self) -> str:
        """As in "8x8": codebooks x bits."""
        return f"{self.n_codebooks}x{self.bits}"


class Clusters:
    """Vectors (n, 64) float32 around 4,000 centres: low-rank spread plus noise in every direction."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        random = np.random.default_rng([seed, 0])
        self._centres = random.standard_normal((N_CLUSTERS, DIM), np.float32)
        self._factors = random.standard_normal((N_FACTORS, DIM), np.float32) * np.float32(FACTOR_SCALE)
        self._turn = np.linalg.qr(random.standard_normal((DIM, DIM)))[0].astype(np.float32)

    def queries(self, count: int) -> Floats:
        """Return (count, 64): draws that no database row is."""
        return self._draw(np.random.default_rng([self.seed, 1]), count)

    def training(self) -> Floats:
        """Return the vectors that codebooks are fitted to."""
        return self._draw(np.random.default_rng([self.seed, 2]), TRAINING_ROWS)

    def chunks(self, n_rows: int) -> Iterator[tuple[slice, Floats]]:
        """Yield the database of n_rows vectors piece by piece, each with the rows it is."""
        for start in range(0, n_rows, CHUNK_ROWS):
            random = np.random.default_rng([self.seed, 3, start // CHUNK_ROWS])
            rows = slice(start, min(start + CHUNK_ROWS, n_rows))
            yield rows, self._draw(random, CHUNK_ROWS)[: rows.stop - rows.start]

    def bits(self, vectors: Floats) -> Codes:
        """Return (n, 8) uint8: the signs of the vectors' 64 coordinates after a random turn."""
        return np.packbits(vectors @ self._turn > 0, axis=1)

    def _draw(self, random: np.random.Generator, count: int) -> Floats:
        vectors = self._centres[random.integers(N_CLUSTERS, size=count)]
        vectors += random.standard_normal((count, N_FACTORS), np.float32) @ self._factors
        vectors += random.standard_normal((count, DIM), np.float32) * np.float32(NOISE_SCALE)
        return vectors


def fit_words(vectors: Floats, kind: CodeKind, seed: int) -> Floats:
    """Return words (M, K, 64 / M) float32: a few rounds of k-means in each part of vectors (n, 64)."""
    n_words, width = 1 << kind.bits, DIM // kind.n_codebooks
    parts = vectors.reshape(len(vectors), kind.n_codebooks, width)
    first = np.random.default_rng([seed, 4]).choice(len(vectors), n_words, replace=False)
    words = np.ascontiguousarray(parts[first].transpose(1, 0, 2))
    for _ in range(TRAINING_ROUNDS):
        codes = encode_product(vectors, words, threads=1)
        for m in range(kind.n_codebooks):
            counts = np.bincount(codes[:, m], minlength=n_words)
            used = counts > 0
            for d in range(width):
                sums = np.bincount(codes[:, m], parts[:, m, d], n_words)
                words[m, used, d] = sums[used] / counts[used]
    return words
