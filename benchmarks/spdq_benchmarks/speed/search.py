"""What is raced: collections of codes with our search and, where it is asked for, the peers' indexes over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.speed import peers
from spdq_benchmarks.speed.checks import Rows
from spdq_benchmarks.speed.data import DIM, Clusters, CodeKind, Codes, Floats, fit_words
from spdq_kernels import encode_product, hamming_scan, pack_codes, product_tables, scan
from spdq_kernels.row_filter import Allowed


@dataclass(frozen=True)
class Coded:
    """Codes (n, M) uint8 of one kind, and everything that searches them."""

    kind: CodeKind
    words: Floats
    codes: Codes

    @cached_property
    def blocks(self) -> Codes:
        """The codes in scan order."""
        return pack_codes(self.codes, self.kind.bits)

    @cached_property
    def index_pq(self) -> Any:
        """Faiss's IndexPQ over these codes."""
        return peers.index_pq(self.words, self.codes, self.kind)

    @cached_property
    def fast_scan(self) -> Any:
        """Faiss's IndexPQFastScan over these codes, which are of 4 bits."""
        return peers.fast_scan(self.index_pq)

    def tables(self, queries: Floats, threads: int = 1) -> Floats:
        """Lookup tables of queries (nq, 64) float32."""
        return product_tables(queries, self.words, "l2", threads, bits=self.kind.bits)

    def search(
        self, queries: Floats, k: int, threads: int = 1, allowed: Allowed = None
    ) -> tuple[Floats, Rows]:
        """Our search, from vectors on."""
        tables = self.tables(queries, threads)
        return scan(tables, self.blocks, len(self.codes), k, threads, allowed=allowed)


@dataclass(frozen=True)
class Bits:
    """Packed bits (n, 8) uint8 and their Hamming search."""

    bits: Codes

    @cached_property
    def blocks(self) -> Codes:
        """The bits in scan order."""
        return pack_codes(self.bits)

    def search(self, queries: Codes, k: int) -> tuple[NDArray[np.int32], Rows]:
        """Our search by packed bits (nq, 8) uint8."""
        return hamming_scan(queries, self.blocks, len(self.bits), k, 1)


def _by_columns(words: Floats) -> Floats:
    """The same words in memory as ``Codebooks`` keeps them: tables are then made without rearranging them."""
    return np.ascontiguousarray(words.transpose(0, 2, 1)).transpose(0, 2, 1)


class Collections:
    """The first n rows of one made collection, coded in each way that is asked for."""

    def __init__(self, seed: int, codes: Sequence[str], with_bits: bool, n_rows: int, n_queries: int) -> None:
        self.clusters = Clusters(seed)
        self.queries = self.clusters.queries(n_queries)
        training = self.clusters.training()
        self._words = {name: _by_columns(fit_words(training, CodeKind.named(name), seed)) for name in codes}
        self._codes = {name: np.empty((n_rows, len(words)), np.uint8) for name, words in self._words.items()}
        self._bits = np.empty((n_rows, 8) if with_bits else (0, 8), np.uint8)
        self._made: dict[tuple[str, int], Any] = {}
        for rows, vectors in self.clusters.chunks(n_rows):
            for name, words in self._words.items():
                self._codes[name][rows] = encode_product(vectors, words)
            if with_bits:
                self._bits[rows] = self.clusters.bits(vectors)

    def coded(self, code: str, n_rows: int) -> Coded:
        """The first n_rows coded as "8x8" or so; kept until another size is asked for."""

        def make() -> Coded:
            return Coded(CodeKind.named(code), self._words[code], self._codes[code][:n_rows])

        made: Coded = self._keep(code, n_rows, make)
        return made

    def bits(self, n_rows: int) -> Bits:
        """The packed bits of the first n_rows."""
        made: Bits = self._keep("bits", n_rows, lambda: Bits(self._bits[:n_rows]))
        return made

    def vectors(self, n_rows: int) -> Floats:
        """The first n_rows themselves, (n_rows, 64) float32, drawn anew."""
        drawn = np.empty((n_rows, DIM), np.float32)
        for rows, vectors in self.clusters.chunks(n_rows):
            drawn[rows] = vectors
        return drawn

    def _keep(self, name: str, n_rows: int, make: Callable[[], Any]) -> Any:
        for other in [key for key in self._made if key[1] != n_rows]:
            del self._made[other]
        if (name, n_rows) not in self._made:
            self._made[name, n_rows] = make()
        return self._made[name, n_rows]
