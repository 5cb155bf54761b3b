"""Changing shards: each change reaches the right shard, and readers go on by generation."""

from __future__ import annotations

import os
import shutil
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_shards import CODEBOOKS, assert_same, codes_of, make_shards
from oracles_index import float_codebooks, forge, integer_codebooks, made_up_values

from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.shard_folder import shard_index
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import (
    DamagedError,
    DataError,
    IncompatibleError,
    LockedError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from spdq.index import Index

QUERIES = np.random.default_rng(0).integers(-2, 3, (3, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def workers(local_ray):
    with ScanWorkers(2) as workers:
        yield workers


@pytest.fixture
def pair(workers, tmp_path):
    """Three writable shards of 30 items and one index of the same."""
    whole = make_shards(tmp_path / "s", range(30), np.arange(30) % 3, 3)
    with ShardedIndex.open(tmp_path / "s", workers=workers, writable=True) as shards:
        yield shards, whole


def assert_equal(shards, whole):
    assert_same((shards.ids, shards.codes), (whole.ids, whole.codes))
    assert shards.attributes_of(shards.ids) == whole.attributes_of(whole.ids)
    assert_same(shards.search(QUERIES, 12), whole.search(QUERIES, 12))
    assert_same(shards.search(QUERIES, 12, "label = 'l1'"), whole.search(QUERIES, 12, "label = 'l1'"))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_changes_in_any_order(workers, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any") / "s"
    whole = make_shards(folder, range(12), np.arange(12) % 2, 2)
    with (
        ShardedIndex.open(folder, workers=workers, writable=True) as shards,
        ShardedIndex.open(folder, workers=workers) as reader,
    ):
        for _ in range(data.draw(st.integers(1, 6), "changes")):
            some = data.draw(st.lists(st.integers(-5, 40), unique=True, min_size=1, max_size=6), "numbers")
            what = data.draw(st.sampled_from(["add", "numbered", "update", "remove", "compact"]))
            given_ids = None if what == "numbered" else some
            values = made_up_values(some)
            before = reader.generation
            known = set(whole.ids.tolist()) & set(some)
            if what == "add" and known:
                for index in (whole, shards):
                    with pytest.raises(DataError, match="duplicate id"):
                        index.add_codes(codes_of(some), some, values)
                continue
            for index in (whole, shards):
                if what in ("add", "numbered"):
                    index.add_codes(codes_of(some), given_ids, values)
                elif what == "update":
                    index.update(CODEBOOKS.decode(codes_of([n + 1 for n in some])), some, values, "add")
                elif what == "remove":
                    assert index.remove(some, "ignore") == len(known)
                else:
                    index.compact()
            assert_equal(shards, whole)
            assert reader.generation == before
            assert reader.refresh() is (shards.generation > before)
            assert_equal(reader, whole)
        shards.verify()


def test_new_items_go_to_the_shard_with_the_fewest(pair):
    shards, _ = pair
    shards.remove([1, 4, 7])
    shards.add_codes(codes_of([100, 101]), [100, 101])
    assert [one["items"] for one in shards.stats()["shards"]] == [10, 9, 10]
    shards.add_codes(codes_of(range(200, 205)), range(200, 205))
    assert [one["items"] for one in shards.stats()["shards"]] == [10, 14, 10]
    shards.add_codes(codes_of([300]), [300])
    assert [one["items"] for one in shards.stats()["shards"]] == [11, 14, 10]
    assert shards.stats()["items"] == 35


def test_numbers_go_on_after_the_largest_of_all_shards(pair):
    shards, whole = pair
    for index in (shards, whole):
        index.add_codes(codes_of([5]), [1000])
        index.remove([1000])
        index.add_codes(codes_of([1, 2]))
        assert index.ids[-2:].tolist() == [1001, 1002]


def test_an_update_stays_where_the_items_are(pair):
    shards, whole = pair
    for index in (shards, whole):
        index.update_codes(codes_of([7, 8, 9]), [0, 1, 2], made_up_values([7, 8, 9]))
        with pytest.raises(DataError, match="no item has the id 77"):
            index.update_codes(codes_of([7, 8]), [3, 77])
    assert_equal(shards, whole)
    assert [one["items"] for one in shards.stats()["shards"]] == [10, 10, 10]


def test_all_of_another_index_is_added(pair):
    shards, whole = pair
    other = Index(CODEBOOKS, attributes=whole.attributes)
    other.add_codes(codes_of([50, 51]), [50, 51], made_up_values([50, 51]))
    for index in (shards, whole):
        index.merge_from(other)
        with pytest.raises(DataError, match="duplicate id 50"):
            index.merge_from(other)
        with pytest.raises(UsageError, match="expected an index to merge, got int"):
            index.merge_from(3)
    assert_equal(shards, whole)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: x.add_codes(codes_of([1]), [29]), DataError, "duplicate id 29"),
        (lambda x: x.add_codes(codes_of([1, 1]), [90, 90]), DataError, "duplicate id 90"),
        (lambda x: x.add_codes(codes_of([1]), [90, 91]), DataError, "expected 1 ids"),
        (lambda x: x.add_codes(codes_of([1]), ["a"]), DataError, "int ids"),
        (lambda x: x.add_codes(codes_of([1]), [90], {"year": ["x"]}), DataError, "year"),
        (lambda x: x.update_codes(codes_of([1]), [0], missing="no"), UsageError, "missing must be"),
        (lambda x: x.update_codes(codes_of([1, 1]), [0, 29], {"year": [1, "x"]}), DataError, "year"),
        (lambda x: x.remove([0, 0]), DataError, "duplicate id 0"),
        (lambda x: x.remove([0, 99]), DataError, "no item has the id 99"),
        (lambda x: x.remove([0], "no"), UsageError, "missing must be"),
    ],
)
def test_what_is_refused_changes_no_shard(pair, call, error, match):
    for index in pair:
        generation = index.generation
        with pytest.raises(error, match=match):
            call(index)
        assert index.generation == generation
        assert len(index) == 30


def test_readers_change_nothing(workers, tmp_path):
    make_shards(tmp_path / "s", range(4), [0, 0, 1, 1], 2)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as shards:
        for call in (
            lambda: shards.remove([1]),
            shards.compact,
            lambda: shards.add_codes(codes_of([9]), [9]),
        ):
            with pytest.raises(UsageError, match="open for reading"):
                call()
        shards.reopen()


def test_one_writer_a_shard(pair):
    path = pair[0].stats()["shards"][1]["path"]
    with pytest.raises(LockedError, match="writing"):
        Index.open(path, writable=True)


def test_a_stale_generation_is_refreshed(workers, tmp_path):
    """A reader answers from its own generation, also when the files of it are replaced, until it goes on."""
    whole = make_shards(tmp_path / "s", range(30), np.arange(30) % 3, 3)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as reader:
        with Index.open(tmp_path / "s" / "shard-2-of-3", writable=True) as one:
            one.remove([1, 4, 7, 10])
            one.compact()
        assert_equal(reader, whole)
        assert reader.refresh()
        whole.remove([1, 4, 7, 10])
        assert_equal(reader, whole)
        assert not reader.refresh()


def test_a_worker_started_anew_cannot_map_what_was_replaced(workers, tmp_path, local_ray):
    whole = make_shards(tmp_path / "s", range(30), np.arange(30) % 3, 3)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as reader:
        with Index.open(tmp_path / "s" / "shard-2-of-3", writable=True) as one:
            one.remove([1, 4, 7, 10])
            one.compact()
        # Ray would end them in its own time, after the next question perhaps.
        for process in local_ray.get(
            [one.__ray_call__.remote(lambda _: os.getpid()) for one in workers._actors]
        ):
            os.kill(process, signal.SIGKILL)
        with pytest.raises(UnavailableError, match=r"shard-2-of-3.*is gone.*refresh\(\)"):
            reader.search(QUERIES)
        reader.refresh()
        whole.remove([1, 4, 7, 10])
        assert_equal(reader, whole)


def test_an_id_in_two_shards_is_refused(workers, tmp_path):
    make_shards(tmp_path / "s", range(30), np.arange(30) % 3, 3)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as reader:
        with Index.open(tmp_path / "s" / "shard-3-of-3", writable=True) as one:
            one.add_codes(codes_of([4]), [4])
        with pytest.raises(DataError, match=r"the id 4 is in several shards: .*2-of-3, .*3-of-3"):
            reader.refresh()
    with pytest.raises(DataError, match="the id 4 is in several shards"):
        ShardedIndex.open(tmp_path / "s", workers=workers)
    with (
        ShardedIndex.open(tmp_path / "s", workers=workers, verify=False) as deferred,
        pytest.raises(DamagedError, match="two items have the id 4"),
    ):
        deferred.verify()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("codebook fingerprint", {"quantizer": integer_codebooks(seed=1)}),
        ("metric", {"metric": "ip"}),
        ("ids", {"ids": "str"}),
        ("attributes", {"attributes": {"a": "int"}}),
        ("model fingerprint", {"model_fingerprint": "beef"}),
    ],
)
def test_shards_that_do_not_belong_together(workers, tmp_path, name, settings):
    Index.create(tmp_path / "a", CODEBOOKS).close()
    Index.create(tmp_path / "b", **{"quantizer": CODEBOOKS, **settings}).close()
    with pytest.raises(IncompatibleError, match=f"the shards differ in {name}: .* in .*a, .* in .*b"):
        ShardedIndex.open(tmp_path, workers=workers)
    Index.open(tmp_path / "a", writable=True).close()  # Nothing stays locked.


def test_shards_that_are_not_there(workers, tmp_path):
    make_shards(tmp_path / "s", range(4), [0, 0, 1, 1], 2)
    one, other = tmp_path / "s" / "shard-1-of-2", tmp_path / "s" / "shard-2-of-2"
    with ShardedIndex.open([one], workers=workers) as alone:
        assert alone.ids.tolist() == [0, 1]
    for paths, error, match in [
        ([], UsageError, "expected at least one shard, got none"),
        ([one, one], UsageError, "given twice"),
        ([one, tmp_path / "no"], NotFoundError, "index not found"),
        (tmp_path / "no", NotFoundError, "folder of shards not found"),
        (one, UsageError, "is an index, not a folder of shards"),
        (tmp_path, NotFoundError, "holds no index directories"),
    ]:
        with pytest.raises(error, match=match):
            ShardedIndex.open(paths, workers=workers)
    with pytest.raises(UsageError, match="timeout must be more than 0"):
        ShardedIndex.open(tmp_path / "s", workers=workers, timeout=0)
    shutil.rmtree(other)
    with pytest.raises(NotFoundError, match="shard-2-of-2: this shard is missing"):
        ShardedIndex.open(tmp_path / "s", workers=workers)


def test_a_damaged_segment_is_found_by_the_worker(workers, tmp_path):
    make_shards(tmp_path / "s", range(40), np.arange(40) % 2, 2)
    (file,) = (tmp_path / "s" / "shard-2-of-2" / "segments").glob("*.safetensors")
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedError, match=f"{file.name}: checksum mismatch") as caught:
        ShardedIndex.open(tmp_path / "s", workers=workers)
    assert "\n" not in str(caught.value)
    with (
        ShardedIndex.open(tmp_path / "s", workers=workers, verify=False) as deferred,
        pytest.raises(DamagedError, match=file.name),
    ):
        deferred.verify()
    file.unlink()
    with pytest.raises(DamagedError, match=f"{file.name}: missing"):
        ShardedIndex.open(tmp_path / "s", workers=workers)


def test_damaged_attributes_are_found_here(workers, tmp_path):
    make_shards(tmp_path / "s", range(40), np.arange(40) % 2, 2)
    (file,) = (tmp_path / "s" / "shard-1-of-2" / "segments").glob("*.db")
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamagedError, match=f"{file.name}: checksum mismatch"):
        ShardedIndex.open(tmp_path / "s", workers=workers)


def test_a_damaged_catalogue(workers, tmp_path):
    make_shards(tmp_path / "s", range(4), [0, 0, 1, 1], 2)
    forge(tmp_path / "s" / "shard-1-of-2", "UPDATE meta SET value = 99 WHERE key = 'min_reader'", None)
    with pytest.raises(IncompatibleError, match="needs a spdq of format"):
        ShardedIndex.open(tmp_path / "s", workers=workers)


def test_created_shards_are_empty_and_writable(workers, tmp_path):
    settings = {"metric": "ip", "ids": "str", "attributes": {"year": "int"}, "workers": workers}
    with ShardedIndex.create(tmp_path / "s", float_codebooks(), 3, **settings) as shards:
        assert shards.search(np.zeros((2, 12)))[0].shape == (2, 0)
        assert shards.range_search(np.zeros((2, 12)), 1)[0].tolist() == [0, 0, 0]
        shards.add(np.ones((4, 12)), list("abcd"), {"year": [1, 2, 3, None]})
        assert shards.search(np.ones(12), 9, "year > 1")[1].tolist() == [["b", "c"]]
        assert shards.stats()["error"] is not None
        assert shards.stats()["path"] == str(tmp_path / "s")
    with pytest.raises(UsageError, match="already exists"):
        ShardedIndex.create(tmp_path / "s", float_codebooks(), 3, workers=workers)


def test_an_index_is_cut_into_shards(workers, tmp_path):
    whole = make_shards(tmp_path / "one", range(100), [0] * 100, 1, removed=[*range(50, 60), 99])
    done = []
    shard_index(tmp_path / "one" / "shard-1-of-1", tmp_path / "s", 11, lambda *at: done.append(at))
    assert done[-1] == (89, 89)
    with ShardedIndex.open(tmp_path / "s", workers=workers, writable=True) as shards:
        assert_equal(shards, whole)
        sizes = [one["items"] for one in shards.stats()["shards"]]
        assert max(sizes) - min(sizes) == 1
        shards.add_codes(codes_of([1]))
        assert shards.ids[-1] == 100  # 99 was there.
    for call, error, match in [
        (
            lambda: shard_index(tmp_path / "one" / "shard-1-of-1", tmp_path / "s", 2),
            UsageError,
            "already exists",
        ),
        (lambda: shard_index(tmp_path / "no", tmp_path / "t", 2), NotFoundError, "index not found"),
        (
            lambda: shard_index(tmp_path / "one" / "shard-1-of-1", tmp_path / "a" / "t", 2),
            NotFoundError,
            "folder",
        ),
        (lambda: shard_index(tmp_path / "one" / "shard-1-of-1", tmp_path / "t", 0), UsageError, "at least 1"),
    ]:
        with pytest.raises(error, match=match):
            call()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "s"]


def test_an_interrupted_cut_leaves_nothing(tmp_path):
    make_shards(tmp_path / "one", range(100), [0] * 100, 1)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shard_index(tmp_path / "one" / "shard-1-of-1", tmp_path / "s", 2, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_an_empty_index_is_cut_into_empty_shards(workers, tmp_path):
    Index.create(tmp_path / "one", CODEBOOKS).close()
    shard_index(tmp_path / "one", tmp_path / "s", 3)
    with ShardedIndex.open(tmp_path / "s", workers=workers) as shards:
        assert (len(shards), len(shards.stats()["shards"])) == (0, 3)
        assert shards.search(np.zeros(6))[1].shape == (1, 0)
