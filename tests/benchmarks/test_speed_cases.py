"""Each case races two right searches; where one of them is wrong nothing is raced."""

from __future__ import annotations

import numpy as np
import pytest

from spdq_benchmarks.speed import peers, search
from spdq_benchmarks.speed.cases import Ring
from spdq_benchmarks.speed.checks import WrongAnswerError
from spdq_benchmarks.speed.results import TurnSizes
from spdq_benchmarks.speed.rows import plan
from spdq_benchmarks.speed.search import Bits, Coded, Collections
from spdq_benchmarks.speed.timing import race
from spdq_kernels import RowFilter, reference

N_ROWS = 3000
SIZES = TurnSizes(batch=6, large_batch=3, singles=4, cold_bytes=1000)
WITHOUT_FAISS = ("bandwidth", "filters", "order", "threads")
WITH_FAISS = ("pq", "single", "cold", "fastscan", "equal-bytes", "hamming", "avx2")


@pytest.fixture(scope="module")
def collections():
    return Collections(0, ["2x8", "4x8", "8x8", "16x8", "16x4"], with_bits=True, n_rows=N_ROWS, n_queries=8)


@pytest.fixture
def ring(collections):
    return Ring(collections, SIZES, seed=0)


class PlainIndex:
    """A slow twin of a Faiss index."""

    def __init__(self, coded_or_bits):
        self.coded = coded_or_bits

    def search(self, queries, k):
        if isinstance(self.coded, Bits):
            return reference.hamming_scan(queries, self.coded.blocks, len(self.coded.bits), k)
        return reference.scan(self.coded.tables(queries), self.coded.blocks, len(self.coded.codes), k)


@pytest.fixture
def plain_peers(monkeypatch):
    monkeypatch.setattr(peers, "index_pq", lambda words, codes, kind: PlainIndex(Coded(kind, words, codes)))
    monkeypatch.setattr(peers, "fast_scan", lambda index: index)
    monkeypatch.setattr(peers, "binary_flat", lambda bits: PlainIndex(Bits(bits)).search)


@pytest.fixture
def fresh(collections):
    """Indexes made by a test are not those of the next."""
    collections._made.clear()
    yield collections
    collections._made.clear()


def rows(*cases):
    """One row of each kind: small k, so that the slow twins are done soon."""
    return [row for row in plan([N_ROWS], cases) if row.k < 1000]


@pytest.mark.parametrize("row", rows(*WITHOUT_FAISS, *WITH_FAISS), ids=lambda row: row.name)
def test_both_sides_of_every_row_run(fresh, ring, plain_peers, row):
    duel = ring.duel(row)
    assert duel.above.name != duel.below.name
    for side in (duel.above, duel.below):
        answer = side.run(side.prepare(0))
        if side.check is not None:
            side.check(answer)
        side.run(side.prepare(1))
        assert side.units >= 1
    assert (duel.above.check or duel.below.check) is not None or row.case == "order"
    assert duel.clock == ("wall" if row.case == "threads" else "cpu")
    assert duel.threads == (2 if row.case == "threads" else 1)
    assert duel.agreement == (1 if row.case == "fastscan" else None)


@pytest.mark.parametrize(
    "row", rows("pq", "single", "cold")[:12:3] + rows("cold")[:1], ids=lambda row: row.name
)
def test_units_are_the_queries_of_a_turn(fresh, ring, plain_peers, row):
    duel = ring.duel(row)
    assert {duel.above.units, duel.below.units} == {{"batch": 6, "single": 4, "cold": 1}[row.queries]}


def wrong(search):
    """The search with its first two answers swapped, as a bug might."""

    def swapped(*args, **kwargs):
        distances, found = search(*args, **kwargs)
        return distances, np.concatenate([found[:, 1:2], found[:, :1], found[:, 2:]], axis=1)

    return swapped


@pytest.mark.parametrize("case", [*WITHOUT_FAISS, *WITH_FAISS])
def test_a_wrong_answer_of_ours_is_not_raced(fresh, ring, plain_peers, monkeypatch, case):
    row = next(row for row in rows(case) if row.k > 1)
    for name in ("scan", "hamming_scan"):
        monkeypatch.setattr(search, name, wrong(getattr(search, name)))
    with pytest.raises(WrongAnswerError, match=f"^{row.case} .* wrong answer, nothing is timed"):
        race(ring.duel(row), 1)


@pytest.mark.parametrize("queries", ["single", "batch"])
def test_what_is_timed_is_what_was_checked(fresh, ring, plain_peers, monkeypatch, queries):
    """A search that is wrong only for calls of one query, or only for calls of many, is found out."""
    right = search.scan

    def sometimes(tables, *args, **kwargs):
        wanted = len(tables) == 1 if queries == "single" else len(tables) == SIZES.batch
        return (wrong(right) if wanted else right)(tables, *args, **kwargs)

    monkeypatch.setattr(search, "scan", sometimes)
    for case in ("pq", "single", "cold", "fastscan", "equal-bytes", "bandwidth", "filters"):
        for row in rows(case):
            if row.k > 1 and (row.queries == "batch") == (queries == "batch"):
                with pytest.raises(WrongAnswerError, match="wrong answer"):
                    race(ring.duel(row), 1)


@pytest.mark.parametrize("case", ["pq", "equal-bytes", "hamming"])
def test_a_wrong_answer_of_an_exact_peer_is_not_raced(fresh, ring, plain_peers, monkeypatch, case):
    row = next(row for row in rows(case) if row.k > 1)
    exact = PlainIndex.search
    monkeypatch.setattr(PlainIndex, "search", lambda index, queries, k: exact(index, queries[::-1].copy(), k))
    with pytest.raises(WrongAnswerError, match=f"^{row.case} .* wrong answer"):
        race(ring.duel(row), 1)


def test_filters_are_new_in_every_turn_unless_kept(fresh, ring):
    for row in rows("filters"):
        duel = ring.duel(row)
        side = next(side for side in (duel.above, duel.below) if side.name == "spdq filtered")
        first, second = side.prepare(0), side.prepare(1)
        if row.queries == "single":
            assert not np.array_equal(first[0], second[0])
            first, second = first[1], second[1]
        own = row.detail.startswith("mask")
        filters = [*first, *second] if own else [first, second]
        different = 2 * SIZES.batch if own else 1 if row.detail.endswith("kept") else 2
        assert len({id(one) for one in filters}) == different
        share = np.mean([one.count for one in filters]) / N_ROWS
        assert share == pytest.approx(row.density, rel=0.5)
        assert all(isinstance(one, RowFilter) for one in filters)


def test_a_run_of_allowed_rows_is_one_run(ring):
    row = next(row for row in rows("filters") if row.detail == "mask 10 % in a run")
    mask = ring._mask(row)
    assert mask.sum() == N_ROWS // 10
    assert np.flatnonzero(np.diff(mask.astype(np.int8))).size == 2


def test_a_cold_turn_fills_the_caches_and_takes_another_query(fresh, ring, plain_peers):
    duel = ring.duel(rows("cold")[0])
    first = duel.below.prepare(0)
    filled = ring._large.copy()
    assert filled.size == SIZES.cold_bytes
    second = duel.below.prepare(1)
    assert first.shape == second.shape == (1, 64)
    assert not np.array_equal(first, second)
    assert np.array_equal(ring._large, filled + 1)


def test_numpy_s_brute_force_finds_the_nearest_vectors(fresh, ring, monkeypatch):
    monkeypatch.setattr(peers, "FLAT_ROWS", 700)
    row = next(row for row in plan([N_ROWS], ["peers"]) if row.detail == "NumPy vectors")
    duel = ring.duel(row)
    assert 0 < duel.agreement <= 1
    vectors = fresh.vectors(N_ROWS)
    queries = fresh.queries[:5]
    distances, found = peers.numpy_flat(vectors)(queries, 10)
    exact = ((queries[:, None] - vectors) ** 2).sum(axis=2)
    assert np.array_equal(found, np.argsort(exact, axis=1)[:, :10])
    assert np.allclose(distances, np.sort(exact, axis=1)[:, :10], rtol=1e-4)


def test_collections_of_another_size_share_their_codes(fresh):
    small, large = fresh.coded("8x8", 1000).codes, fresh.coded("8x8", N_ROWS).codes
    assert np.array_equal(small, large[:1000])
    assert np.array_equal(fresh.vectors(1000), fresh.vectors(N_ROWS)[:1000])
    assert len(fresh.bits(1000).bits) == 1000
    assert {n_rows for _, n_rows in fresh._made} == {1000}
