"""Starting scan workers, what one of them has, and what it says it lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_shards import CODEBOOKS, make_shards

from spdq.distributed import shared_ids
from spdq.distributed.scan_worker import MAX_FILTERS, Lacking, Part, ScanWorker
from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.sharded_index import ShardedIndex
from spdq.distributed.sharded_snapshot import Settings, ShardedSnapshot
from spdq.distributed.shared_ids import shared_id
from spdq.errors import UnavailableError, UsageError
from spdq.index import Index


def test_no_room_for_workers(local_ray):
    with pytest.raises(UnavailableError, match=r"Ray has not started 1 scan workers of 9 CPUs in 0\.5 s"):
        ScanWorkers(1, threads=9, timeout=0.5)
    for bad in ({"count": 0}, {"threads": 0}):
        with pytest.raises(UsageError, match="must be at least 1, got 0"):
            ScanWorkers(**bad)


def test_workers_that_were_closed(local_ray, tmp_path):
    make_shards(tmp_path / "s", range(4), [0, 0, 1, 1], 2)
    with ScanWorkers(1) as closed, ShardedIndex.open(tmp_path / "s", workers=closed) as shards:
        closed.close()
        with pytest.raises(UsageError, match="the scan workers are closed"):
            shards.search(np.zeros(6))


def part_of(*indexes):
    """What one worker is told of a few indexes, and the snapshot of them."""
    settings = Settings(_NoWorkers(), 1, True, "i")
    paths = [Path(index.stats()["path"]) for index in indexes]
    snapshot = ShardedSnapshot(settings, paths, [index._opened() for index in indexes])
    return snapshot.shares[0].part, snapshot


class _NoWorkers:
    count = 1


def test_a_worker_answers_from_the_generation_it_is_asked_for_or_not_at_all(tmp_path):
    make_shards(tmp_path / "s", range(20), [0] * 20, 1)
    tables = CODEBOOKS.lookup_tables(np.zeros((1, 6), np.float32), "l2")
    worker = ScanWorker(1)
    with Index.open(tmp_path / "s" / "shard-1-of-1", writable=True) as index:
        parts = []
        for step in range(3):
            parts.append(part_of(index)[0])
            asked = ("i", parts[-1].key, tables, 30, None, None, {}, None)
            assert worker.search(*asked) == Lacking(True)
            worker.take(parts[-1])
            assert worker.search(*asked).counts.tolist() == [20 - step]
            index.remove([step])
        # The last two are there, the one before them is not any more.
        for part, expected in zip(parts, [None, 19, 18], strict=True):
            found = worker.search("i", part.key, tables, 30, None, None, {}, 1)
            assert found == Lacking(True) if expected is None else found.counts.tolist() == [expected]
        worker.take(parts[-1])
        assert worker.search_within("i", parts[-1].key, tables, np.inf, None, {}, None)[0].tolist() == [0, 18]
    worker.forget("i")
    worker.forget("never known")
    assert worker.search_within("i", parts[-1].key, tables, np.inf, None, {}, None) == Lacking(True)


def test_a_worker_says_which_filters_it_lacks(tmp_path):
    make_shards(tmp_path / "s", range(20), [0] * 20, 1)
    tables = CODEBOOKS.lookup_tables(np.zeros((2, 6), np.float32), "l2")
    worker = ScanWorker(1)
    with Index.open(tmp_path / "s" / "shard-1-of-1") as index:
        part = part_of(index)[0]
    worker.take(part)
    bits = {0: np.packbits(np.arange(20) % 4 == 0, bitorder="little")}

    def ask(names, sent):
        return worker.search("i", part.key, tables, 30, None, names, sent, None)

    assert ask(["a", "b"], {"a": bits}) == Lacking(False, ("b",))
    assert ask(["a", None], {"a": bits}).counts.tolist() == [5, 20]
    assert ask(["a"], {}).counts.tolist() == [5, 5]
    for number in range(MAX_FILTERS):
        ask([str(number)], {str(number): bits})
    assert ask(["a"], {}) == Lacking(False, ("a",))
    assert isinstance(part, Part)


@pytest.mark.parametrize("at_once", [1, 2, 7, 1000])
@pytest.mark.parametrize("kind", ["int", "str"])
def test_ids_in_two_shards_are_found_however_many_are_read_at_once(monkeypatch, at_once, kind):
    monkeypatch.setattr(shared_ids, "AT_ONCE", at_once)
    random = np.random.default_rng(at_once)

    def segments(*groups):
        found = []
        for group in groups:
            index = Index(CODEBOOKS, ids=kind)
            ids = list(group) if kind == "int" else [f"{one:03}" for one in group]
            index.add_codes(np.zeros((len(ids), 3), int), ids)
            found.append(index)
        return found

    def first(*indexes):
        return shared_id([segment for index in indexes for segment in index._opened().segments])

    order = random.permutation(100)
    three = segments(order[:20], order[20:70], order[70:])
    assert first(*three) is None
    assert first(*segments(range(10), range(10, 20))) is None
    assert first() is None
    (more,) = segments([int(order[5]), 500])
    assert first(*three, more) == more.ids[0]
    three[0].remove([more.ids[0]])
    assert first(*three, more) is None
    (last,) = segments([500])
    assert first(*three, more, last) == last.ids[0]
