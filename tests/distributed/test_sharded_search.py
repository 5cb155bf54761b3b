"""Shards searched together give to the bit what one index of the same items gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_shards import CODEBOOKS, assert_same, codes_of, make_shards, names_of
from oracles_index import float_codebooks, kernel_distances, nearest_of, random_codes

from spdq.distributed import sharded_snapshot
from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.shard_folder import shard_index
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import DataError, UsageError
from spdq.index import Index

CONDITIONS = [
    "label = 'l1'",
    "year >= 2003 and has(tags, 'odd')",
    "score < 0",
    "year is null or label = 'l0'",
]


@pytest.fixture(scope="module")
def workers(local_ray):
    with ScanWorkers(2) as workers:
        yield workers


def drawn_filter(data, indexes, numbers, kind):
    """One filter as each of the indexes makes it, or None."""
    how = data.draw(st.sampled_from(["none", "text", "allow", "deny", "mask", "all"]))
    some = data.draw(st.lists(st.sampled_from([*numbers, 77, -99]), max_size=20))
    ids = names_of(some, kind)
    where = data.draw(st.sampled_from(CONDITIONS))
    seed = data.draw(st.integers(0, 9))
    made = []
    for index in indexes:
        mask = np.random.default_rng(seed).random(len(index)) < 0.4
        made.append(
            {
                "none": None,
                "text": where,
                "allow": index.filter(allow=ids),
                "deny": index.filter(deny=ids),
                "mask": index.filter(mask=mask),
                "all": index.filter(where, None, ids, mask),
            }[how]
        )
    return made


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_shards_any_question(workers, data):
    n_shards = data.draw(st.sampled_from([1, 2, 7]), "shards")
    kind, metric = data.draw(st.sampled_from(["int", "str"])), data.draw(st.sampled_from(["l2", "ip"]))
    numbers = data.draw(st.lists(st.integers(-20, 60), unique=True, max_size=50))
    one_shard = st.integers(0, n_shards - 1) | st.just(0)
    shard_of = data.draw(st.lists(one_shard, min_size=len(numbers), max_size=len(numbers)))
    removed = data.draw(st.lists(st.sampled_from(numbers), unique=True)) if numbers else []
    n_queries = data.draw(st.integers(0, 4), "queries")
    queries = np.random.default_rng(n_queries).integers(-2, 3, (n_queries, 6)).astype(np.float32)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "s"
        whole = make_shards(
            folder, numbers, shard_of, n_shards, removed, kind, metric, data.draw(st.integers(1, 3))
        )
        with ShardedIndex.open(folder, workers=workers) as shards:
            both = whole, shards
            for _ in range(3):
                k = data.draw(st.sampled_from([1, 2, 10, 100]), "k")
                threads = data.draw(st.sampled_from([None, 1, 2]))
                if data.draw(st.booleans(), "a filter each"):
                    each = [drawn_filter(data, both, numbers, kind) for _ in range(n_queries)]
                    filters = [[one[which] for one in each] for which in (0, 1)]
                else:
                    filters = drawn_filter(data, both, numbers, kind)
                mix = None
                if data.draw(st.booleans(), "a mix") and not isinstance(filters[0], list):
                    mix = np.random.default_rng(k).integers(-2, 3, (3, n_queries))
                radius = data.draw(st.sampled_from([-3, 0, 5.5, 12, np.inf]), "radius")
                assert_same(
                    *(x.search(queries, k, f, threads, mix) for x, f in zip(both, filters, strict=True))
                )
                assert_same(
                    *(
                        x.range_search(queries, radius, f, threads, mix)
                        for x, f in zip(both, filters, strict=True)
                    )
                )
                *found, missing = shards.search(queries, k, filters[1], threads, mix, allow_partial=True)
                assert_same(found, whole.search(queries, k, filters[0], threads, mix))
                *found, also = shards.range_search(queries, radius, filters[1], threads, mix, True)
                assert_same(found, whole.range_search(queries, radius, filters[0], threads, mix))
                assert missing == also == ()
            assert_holds_the_same(shards, whole)


def assert_holds_the_same(shards, whole):
    assert len(shards) == len(whole)
    assert_same((shards.ids, shards.codes), (whole.ids, whole.codes))
    ids = whole.ids
    assert list(shards) == list(whole)
    assert shards.attributes_of(ids) == whole.attributes_of(ids)
    assert shards.facets() == whole.facets()
    assert_same(
        (shards.reconstruct(ids), shards.codes_of(ids)), (whole.reconstruct(ids), whole.codes_of(ids))
    )
    for where in CONDITIONS:
        assert shards.select(where).tolist() == whole.select(where).tolist()
    query = np.arange(6)
    assert_same((shards.explain(query, ids),), (whole.explain(query, ids),))
    assert [one in shards for one in [*ids[:3].tolist(), 999, "no"]] == [True] * len(ids[:3]) + [False] * 2
    for name in ("metric", "dim", "id_kind", "attributes", "model_fingerprint", "model_path"):
        assert getattr(shards, name) == getattr(whole, name)


@pytest.fixture(scope="module")
def large(workers, tmp_path_factory):
    """Three shards of real values, so many that bounds are guessed, some rows removed; one index; its items."""
    codebooks = float_codebooks(4, 16)
    codes = np.tile(random_codes(codebooks, 7500), (2, 1))
    names = np.random.default_rng(1).permutation(40_000)[:15_000]
    path = tmp_path_factory.mktemp("large")
    with Index.create(path / "one", codebooks) as whole:
        whole.add_codes(codes, names)
        whole.remove(names[::5])
    kept = np.arange(15_000) % 5 > 0
    shard_index(path / "one", path / "shards", 3)
    with (
        Index.open(path / "one") as whole,
        ShardedIndex.open(path / "shards", workers=workers, writable=True) as shards,
    ):
        first = shards.ids[:4000:9]
        shards.remove(first)
        kept &= ~np.isin(names, first)
        yield shards, codebooks, codes[kept], names[kept].tolist()


@pytest.mark.parametrize("k", [1, 10, 400])
def test_bounds_from_a_sample_change_nothing(large, k):
    shards, codebooks, codes, names = large
    queries = np.random.default_rng(k).normal(size=(40, 12)).astype(np.float32)
    distances = kernel_distances(codebooks, "l2", codes, queries)
    expected = nearest_of(distances, names, k, [None] * 40)
    found = shards.search(queries, k)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1].tolist() == expected[1]


@pytest.mark.parametrize("guess", [-1.0, 0.0, 2.0, 5.0, np.inf])
def test_bounds_too_low_are_found_out(large, monkeypatch, guess):
    shards = large[0]
    queries = np.random.default_rng(2).normal(size=(30, 12)).astype(np.float32)
    expected = shards.search(queries, 20)
    asked = []

    def guessed(tables, *_, **__):
        asked.append(len(tables))
        return np.where(np.arange(len(tables)) % 3, np.float32(guess), np.float32(np.inf))

    monkeypatch.setattr(sharded_snapshot, "sample_bounds", guessed)
    assert_same(shards.search(queries, 20), expected)
    assert asked == [30]


def test_more_queries_than_go_at_once(large):
    shards = large[0]
    queries = np.random.default_rng(3).normal(size=(300, 12)).astype(np.float32)
    distances, ids = shards.search(queries, 5)
    for row in (0, 255, 256, 299):
        assert_same(shards.search(queries[row], 5), (distances[row : row + 1], ids[row : row + 1]))


def test_a_filter_that_is_kept_is_sent_once(large, monkeypatch):
    shards = large[0]
    made = []
    monkeypatch.setattr(
        sharded_snapshot, "_bits", lambda *given, real=sharded_snapshot._bits: made.append(1) or real(*given)
    )
    one = shards.filter(allow=shards.ids[::3])
    query = np.zeros(12)
    first = shards.search(query, 9, one)
    assert len(made) == 2  # workers
    assert_same(shards.search(query, 9, one), first)
    assert_same(
        shards.search(np.zeros((5, 12)), 9, [one] * 5), [np.repeat(part, 5, axis=0) for part in first]
    )
    assert len(made) == 2
    for _ in range(70):  # So many that the workers have given it up.
        shards.search(query, 1, shards.filter(allow=[1]))
    assert_same(shards.search(query, 9, one), first)
    assert len(made) == 2 + 2 * 70 + 2


def test_more_filters_in_a_call_than_workers_keep(large):
    shards = large[0]
    ids = shards.ids
    filters = [shards.filter(allow=ids[start::80]) for start in range(80)]
    together = shards.search(np.zeros((80, 12)), 4, filters)
    for query in (0, 40, 79):
        alone = shards.search(np.zeros(12), 4, filters[query])
        assert_same(alone, [part[query : query + 1] for part in together])


@pytest.mark.parametrize(
    ("question", "error", "match"),
    [
        ({"k": 0}, UsageError, "k must be at least 1"),
        ({"threads": 0}, UsageError, "threads must be at least 1, got 0"),
        ({"filter": "nothing = 1"}, UsageError, "nothing"),
        ({"filter": [None] * 3}, UsageError, "expected one filter or 1, one a query, got 3"),
        ({"mix": [1.0, 2.0]}, DataError, "mix has weights for 2 queries, got 1"),
        ({"queries": np.zeros(5)}, DataError, "6 columns.* not 5"),
        ({"queries": [np.nan] * 6}, DataError, "queries.* row 0"),
    ],
)
def test_refuses_what_an_index_refuses(workers, tmp_path, question, error, match):
    whole = make_shards(tmp_path / "s", range(20), np.arange(20) % 2, 2)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as shards:
        for index in (whole, shards):
            with pytest.raises(error, match=match):
                index.search(**{"queries": np.zeros(6), **question})


def test_sums_too_large_are_a_data_error_from_the_worker(workers, tmp_path):
    from spdq.quantizers.codebooks import Codebooks

    huge = Codebooks(np.full((1, 2, 2), 1e35, np.float32), "product")
    with ShardedIndex.create(tmp_path / "s", huge, 2, metric="ip", workers=workers) as shards:
        shards.add_codes([[0]])
        with pytest.raises(DataError, match="too large to multiply"):
            shards.search([1e6, 1e6])
        with pytest.raises(DataError, match="too large to multiply"):
            shards.range_search([1e6, 1e6], 0)


def test_a_mask_of_another_index_is_refused(workers, tmp_path):
    whole = make_shards(tmp_path / "s", range(20), np.arange(20) % 2, 2)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as shards:
        theirs = whole.filter(mask=np.ones(20, bool))
        with pytest.raises(UsageError, match="mask of the filter"):
            shards.search(np.zeros(6), filter=theirs)


def test_closed(workers, tmp_path):
    make_shards(tmp_path / "s", range(4), [0, 0, 1, 1], 2)
    shards = ShardedIndex.open(tmp_path / "s", workers=workers)
    shards.close()
    shards.close()
    for call in (lambda: shards.search(np.zeros(6)), lambda: len(shards), shards.refresh, shards.stats):
        with pytest.raises(UsageError, match="the index is closed"):
            call()


def test_codes_are_made_as_the_test_says():
    assert codes_of([0, 1, -7]).tolist() == [[0, 0, 0], [1, 2, 3], [2, 4, 1]]
    assert CODEBOOKS.n_words == 5
