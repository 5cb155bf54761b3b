"""Each case's two searches, made ready for ``timing`` to race, and what their answers must be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.speed import peers
from spdq_benchmarks.speed.bandwidth import reader
from spdq_benchmarks.speed.checks import agreement, check_equal, check_own, check_same, table_sums
from spdq_benchmarks.speed.results import TurnSizes
from spdq_benchmarks.speed.rows import NIBBLES, Row
from spdq_benchmarks.speed.search import Bits, Coded, Collections
from spdq_benchmarks.speed.timing import Contender, Duel
from spdq_kernels import RowFilter, reference
from spdq_kernels.row_filter import Allowed

CHECKED = 8
"""Queries of a call whose answer is compared with an exact peer's; all are recomputed from their codes."""
REFERENCED = 2
"""Queries whose answer is compared with the reference's, which takes seconds."""
COLD_TURNS = 3
"""Single cold queries for each repeat."""
ORDERS = 3
"""Row orders of which each is the worst for one query."""
OURS = "spdq"

Search = peers.Search


class Ring:
    """Sets up the duels of all cases over one made collection."""

    def __init__(self, collections: Collections, sizes: TurnSizes, seed: int) -> None:
        self._collections = collections
        self._sizes = sizes
        self._seed = seed
        self._large = np.zeros(0, np.uint8)
        self._made: dict[str, Callable[[Row], Duel]] = {
            "pq": self._against_index_pq,
            "single": self._against_index_pq,
            "cold": self._against_index_pq,
            "avx2": self._against_index_pq,
            "fastscan": self._against_fast_scan,
            "equal-bytes": self._against_fast_scan,
            "bandwidth": self._against_reading,
            "filters": self._filtered,
            "order": self._worst_first,
            "hamming": self._against_binary_flat,
            "threads": self._threads,
            "peers": self._against_peers,
        }

    def duel(self, row: Row) -> Duel:
        """The two searches of a row."""
        return self._made[row.case](row)

    def n_queries(self, row: Row) -> int:
        """Queries of one call."""
        if row.queries != "batch":
            return 1
        return self._sizes.batch if row.n_rows <= 1_000_000 else self._sizes.large_batch

    def _against_index_pq(self, row: Row) -> Duel:
        coded = self._coded(row)
        peer = peers.search_of(coded.index_pq)
        check = self._right(row, coded, peer(self._queries(row)[:CHECKED], row.k))
        return self._race(row, ("faiss IndexPQ", peer), (OURS, coded.search), check)

    def _against_fast_scan(self, row: Row) -> Duel:
        """Same 4-bit codes on both sides; or the peer's 16 x 4 bits against 8 x 8 of ours."""
        coded = self._coded(row)
        nibbles = self._collections.coded(NIBBLES.name, row.n_rows)
        queries = self._queries(row)[:CHECKED]
        exact = peers.search_of(coded.index_pq)(queries, row.k)
        peer = peers.search_of(nibbles.fast_scan)
        shared = agreement(exact[1], peer(queries, row.k)[1]) if coded is nibbles else None
        check = self._right(row, coded, exact)
        return self._race(row, ("faiss IndexPQFastScan", peer), (OURS, coded.search), check, shared)

    def _against_reading(self, row: Row) -> Duel:
        """Time a byte takes to be read over the time a single query takes for it."""
        coded = self._coded(row)
        check = self._right(row, coded, self._reference(row, coded, None))
        size = coded.blocks.size
        ours = self._contender(row, OURS, coded.search, check)
        return Duel(
            reader("DRAM" if row.queries == "cold" else size),
            dataclasses.replace(ours, units=ours.units * size),
            unit="byte",
            turns=COLD_TURNS if row.queries == "cold" else 1,
        )

    def _filtered(self, row: Row) -> Duel:
        """Filters that are not kept are new in every turn: whatever a scan makes of one is inside its time."""
        coded, mask = self._coded(row), self._mask(row)
        if row.queries == "single":
            return self._filtered_singly(row, coded, mask)
        queries = self._queries(row)
        own = row.detail.startswith("mask")

        def filters(turn: int) -> Allowed:
            """One for all; or one each, which leaves a scan no choice but to apply them as masks."""
            if not own:
                return RowFilter(mask)
            return [RowFilter(np.roll(mask, 1000 * i)) for i in range(len(queries))]

        def search(allowed: Allowed) -> object:
            return coded.search(queries, row.k, allowed=allowed)

        first = filters(0)
        some = first[:REFERENCED] if isinstance(first, list) else first
        check = self._right(row, coded, self._reference(row, coded, some))
        filtered = Contender("spdq filtered", search, filters, len(queries), check)
        plain = self._contender(row, "spdq unfiltered", coded.search)
        return Duel(filtered, plain) if own else Duel(plain, filtered)

    def _filtered_singly(self, row: Row, coded: Coded, mask: NDArray[np.bool_]) -> Duel:
        """One query a turn: a filter is new only once, unless it is to be kept."""
        kept = RowFilter(mask)

        def prepare(turn: int) -> tuple[NDArray[np.float32], RowFilter]:
            return self._one(turn), kept if row.detail.endswith("kept") else RowFilter(mask)

        def filtered(query_and_filter: tuple[NDArray[np.float32], RowFilter]) -> object:
            query, allowed = query_and_filter
            return coded.search(query, row.k, allowed=allowed)

        def plain(query: NDArray[np.float32]) -> object:
            return coded.search(query, row.k)

        check = self._right(row, coded, self._reference(row, coded, kept))
        return Duel(
            Contender("spdq unfiltered", plain, self._one, 1),
            Contender("spdq filtered", filtered, prepare, 1, check),
            turns=self._sizes.singles,
        )

    def _worst_first(self, row: Row) -> Duel:
        """One query at a time over rows that come ever nearer to it, against the same rows as they were drawn."""
        coded = self._coded(row)
        queries = self._queries(row)[:ORDERS]
        turned = []
        for i in range(len(queries)):
            tables = coded.tables(queries[i : i + 1])
            distances = reference.distances(tables, coded.blocks, row.n_rows)[0]
            order = np.argsort(-distances, kind="stable")
            worst = Coded(coded.kind, coded.words, coded.codes[order])
            expected = reference.nearest(distances[None, order], row.k, None, np.inf)
            check_equal(f"{row.name}, query {i}", *worst.search(queries[i : i + 1], row.k), *expected)
            turned.append(worst)

        def over(name: str, collections: list[Coded]) -> Contender:
            def search(turn: int) -> None:
                for i, one in enumerate(collections):
                    one.search(queries[i : i + 1], row.k)

            return Contender(name, search, lambda turn: turn, len(queries))

        drawn = [Coded(coded.kind, coded.words, coded.codes) for _ in turned]
        return Duel(over("spdq worst first", turned), over("spdq as drawn", drawn))

    def _against_binary_flat(self, row: Row) -> Duel:
        bits = self._collections.bits(row.n_rows)
        queries = self._bit_queries(row)
        peer = peers.binary_flat(bits.bits)
        check = self._right_bits(row, bits, peer(queries, row.k))
        return self._race(row, ("faiss IndexBinaryFlat", peer), (OURS, bits.search), check)

    def _threads(self, row: Row) -> Duel:
        coded, queries = self._coded(row), self._queries(row)
        expected = coded.search(queries, row.k, 1)
        check_own(row.name, *expected, table_sums(coded.tables(queries), coded.codes, expected[1]))

        def check(answer: Any) -> None:
            distances, rows = answer
            check_equal(row.name, distances, rows, *expected)

        def with_threads(name: str, threads: int) -> Contender:
            def search(some: NDArray[np.float32]) -> object:
                return coded.search(some, row.k, threads)

            return Contender(name, search, lambda turn: queries, len(queries), check)

        sides = with_threads("spdq, 1 thread", 1), with_threads("spdq, 2 threads", 2)
        return Duel(*sides, clock="wall", threads=2)

    def _against_peers(self, row: Row) -> Duel:
        """Searches of another kind: what they find is compared, not required."""
        if row.detail == "usearch":
            bits = self._collections.bits(row.n_rows)
            peer = peers.usearch_bits(bits.bits)
            bit_queries = self._bit_queries(row)
            check = self._right_bits(row, bits, peer(bit_queries, row.k))
            return self._race(row, ("usearch exact", peer), (OURS, bits.search), check)
        coded, queries = self._coded(row), self._queries(row)
        name, peer = self._vector_peer(row, coded)
        shared = agreement(coded.search(queries, row.k)[1], peer(queries, row.k)[1])
        check = self._right(row, coded, self._reference(row, coded, None))
        return self._race(row, (name, peer), (OURS, coded.search), check, shared)

    def _vector_peer(self, row: Row, coded: Coded) -> tuple[str, Search]:
        """A peer that is given the vectors, and codes them itself or not at all."""
        vectors = self._collections.vectors(row.n_rows)
        if row.detail == "NumPy vectors":
            return "NumPy, float vectors", peers.numpy_flat(vectors)
        if row.detail == "ScaNN":
            return "ScaNN", peers.scann_hashing(coded.kind, vectors, row.k)
        index = peers.cells_fast_scan(coded.words, coded.kind, vectors)
        return f"faiss IndexIVFPQFastScan, nprobe {peers.PROBES}", peers.search_of(index)

    def _right(
        self, row: Row, coded: Coded, expected: tuple[NDArray[Any], NDArray[np.int64]]
    ) -> Callable[[Any], None]:
        """Checks an answer of ours: all of it by its own codes, the first queries by an exact answer to them."""
        tables = coded.tables(self._queries(row))

        def check(answer: Any) -> None:
            if isinstance(answer, list):
                distances, rows = (np.concatenate(parts) for parts in zip(*answer, strict=True))
            else:
                distances, rows = answer
            check_own(row.name, distances, rows, table_sums(tables[: len(rows)], coded.codes, rows))
            some = min(len(rows), len(expected[0]))
            check_same(row.name, distances[:some], rows[:some], expected[0][:some], expected[1][:some])

        return check

    def _right_bits(
        self, row: Row, bits: Bits, expected: tuple[NDArray[Any], NDArray[np.int64]]
    ) -> Callable[[Any], None]:
        """``_right`` of packed bits."""
        queries = self._bit_queries(row)

        def check(answer: Any) -> None:
            distances, rows = answer
            check_own(row.name, distances, rows, _differing(queries, bits.bits, rows))
            check_same(row.name, distances, rows, *expected)

        return check

    def _reference(
        self, row: Row, coded: Coded, allowed: Allowed
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The reference's answer to the first queries, which takes seconds."""
        tables = coded.tables(self._queries(row)[:REFERENCED])
        return reference.scan(tables, coded.blocks, row.n_rows, row.k, allowed=allowed)

    def _race(
        self,
        row: Row,
        peer: tuple[str, Search],
        ours: tuple[str, Search],
        check: Callable[[Any], None],
        shared: float | None = None,
    ) -> Duel:
        turns = COLD_TURNS if row.queries == "cold" else 1
        sides = self._contender(row, *peer), self._contender(row, *ours, check)
        return Duel(*sides, turns=turns, agreement=shared)

    def _contender(
        self, row: Row, name: str, search: Search, check: Callable[[Any], None] | None = None
    ) -> Contender:
        """A search in the way the row asks for: all queries at once, one by one, or one after clearing the caches."""
        queries = self._bit_queries(row) if row.code.endswith("bits") else self._queries(row)
        if row.queries == "batch":
            return Contender(
                name, lambda some: search(some, row.k), lambda turn: queries, len(queries), check
            )
        if row.queries == "cold":
            return Contender(name, lambda one: search(one, row.k), self._cold, 1, check)
        ones = [queries[i : i + 1] for i in range(len(queries))]
        return Contender(
            name, lambda some: [search(one, row.k) for one in some], lambda turn: ones, len(ones), check
        )

    def _coded(self, row: Row) -> Coded:
        return self._collections.coded(row.code, row.n_rows)

    def _queries(self, row: Row) -> NDArray[np.float32]:
        """As many as one turn takes."""
        return self._collections.queries[
            : self.n_queries(row) if row.queries == "batch" else self._sizes.singles
        ]

    def _bit_queries(self, row: Row) -> NDArray[np.uint8]:
        return self._collections.clusters.bits(self._queries(row))

    def _one(self, turn: int) -> NDArray[np.float32]:
        """One query, another in every turn."""
        place = turn % self._sizes.singles
        return self._collections.queries[place : place + 1]

    def _cold(self, turn: int) -> NDArray[np.float32]:
        """One query, when something else has filled the caches."""
        if not self._large.size:
            self._large = np.zeros(self._sizes.cold_bytes, np.uint8)
        self._large += 1
        return self._one(turn)

    def _mask(self, row: Row) -> NDArray[np.bool_]:
        """(n_rows,) bool: the share of rows a filter allows, at random or in a run."""
        if row.detail.endswith("in a run"):
            mask = np.zeros(row.n_rows, np.bool_)
            mask[row.n_rows // 3 :][: int(row.n_rows * row.density)] = True
            return mask
        random = np.random.default_rng([self._seed, 5])
        return random.random(row.n_rows, np.float32) < row.density


def _differing(
    queries: NDArray[np.uint8], bits: NDArray[np.uint8], rows: NDArray[np.int64]
) -> NDArray[np.int32]:
    """(nq, k) int32: bits in which rows (nq, k) of packed bits differ from their query."""
    differing: NDArray[np.int32] = np.unpackbits(bits[rows] ^ queries[:, None], axis=2).sum(
        axis=2, dtype=np.int32
    )
    return differing
