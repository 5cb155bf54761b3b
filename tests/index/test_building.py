from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from oracles_index import float_codebooks, integer_codebooks, made_up_codes

from spdq.errors import DataError, NotFoundError, StorageError, UsageError
from spdq.index import Index, building
from spdq.index.building import ArraySource, Batch, build


def made_up_source(count, batch=40, **facts):
    source = ArraySource(codes=made_up_codes(range(count)), facts=facts)
    source.batch_items = batch
    return source


class Interrupting(ArraySource):
    """Stops at an item, as Ctrl-C or an error would."""

    def __init__(self, count, at, error):
        super().__init__(codes=made_up_codes(range(count)))
        self.batch_items = 40
        self.at = at
        self.error = error
        self.starts = []

    def batch(self, start, stop):
        self.starts.append(start)
        if self.at is not None and start >= self.at:
            raise self.error
        return super().batch(start, stop)


def assert_built(path, count):
    with Index.open(path) as index:
        index.verify()
        assert index.ids.tolist() == list(range(count))
        np.testing.assert_array_equal(index.codes, made_up_codes(range(count)))
        assert len(index.code_blocks) == 1
    assert os.listdir(path.parent) == [path.name]
    assert sorted(os.listdir(path)) == ["catalog.db", "codebooks.safetensors", "segments", "writer.lock"]


def test_a_build_in_batches_with_progress(tmp_path):
    told = []
    build(
        tmp_path / "i",
        integer_codebooks,
        made_up_source(110),
        progress=lambda *done: told.append(done),
        metric="ip",
    )
    assert_built(tmp_path / "i", 110)
    assert told == [(40, 110), (80, 110), (110, 110)]
    assert Index.open(tmp_path / "i").metric == "ip"


def test_vectors_ids_and_attributes(tmp_path):
    codebooks = float_codebooks()
    vectors = np.random.default_rng(0).normal(size=(90, 12)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    ids = np.array([f"item {number:03}" for number in range(90)])
    source = ArraySource(
        np.load(tmp_path / "v.npy", mmap_mode="r"), ids=ids, attributes={"n": list(range(90))}
    )
    source.batch_items = 25
    build(tmp_path / "i", lambda: codebooks, source, ids="str", attributes={"n": "int"})
    with Index.open(tmp_path / "i") as index:
        index.verify()
        assert index.ids.tolist() == ids.tolist()
        np.testing.assert_array_equal(index.codes, codebooks.encode(vectors))
        assert [one["n"] for one in index.attributes_of(index.ids)] == list(range(90))
        assert index.stats()["error"] > 0


def test_an_empty_source(tmp_path):
    build(tmp_path / "i", integer_codebooks, made_up_source(0))
    with Index.open(tmp_path / "i") as index:
        assert len(index) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("full")])
def test_an_interrupted_build_goes_on(tmp_path, error):
    path = tmp_path / "i"
    first = Interrupting(200, 100, error)
    with pytest.raises(type(error)):
        build(path, integer_codebooks, first)
    assert not path.exists()
    assert os.listdir(tmp_path) == [".i.partial"]

    def no_codebooks():
        raise AssertionError("they are there already")

    second = Interrupting(200, None, None)
    build(path, no_codebooks, second, resume=True)
    assert second.starts == [120, 160]
    assert_built(path, 200)


def test_what_cannot_go_on_leaves_nothing(tmp_path):
    with pytest.raises(DataError):
        build(tmp_path / "i", integer_codebooks, Interrupting(200, 100, DataError("row 107")))
    assert os.listdir(tmp_path) == []
    for error in (KeyboardInterrupt(), DataError("row 7")):
        with pytest.raises(type(error)):
            build(tmp_path / "i", integer_codebooks, Interrupting(200, 0, error))
        assert os.listdir(tmp_path) == []

    def broken():
        raise DataError("too few vectors")

    with pytest.raises(DataError, match="too few"):
        build(tmp_path / "i", broken, made_up_source(10))
    assert os.listdir(tmp_path) == []


def test_a_build_killed_before_its_last_step_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "i"

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(building.os, "unlink", refuse)
        with pytest.raises(StorageError, match=r"no space left .*go on with it"):
            build(path, integer_codebooks, made_up_source(50))
    build(path, integer_codebooks, made_up_source(50), resume=True)
    assert_built(path, 50)


def test_going_on_with_something_else_is_refused(tmp_path):
    path = tmp_path / "i"
    with pytest.raises(KeyboardInterrupt):
        build(path, integer_codebooks, Interrupting(200, 100, KeyboardInterrupt()))
    for source, settings in ((made_up_source(201), {}), (made_up_source(200), {"metric": "ip"})):
        with pytest.raises(
            UsageError, match="of another input or other settings: build anew without resuming"
        ):
            build(path, integer_codebooks, source, resume=True, **settings)
    build(path, integer_codebooks, made_up_source(10))
    assert_built(path, 10)


def test_resuming_nothing_begins(tmp_path):
    build(tmp_path / "i", integer_codebooks, made_up_source(10), resume=True)
    assert_built(tmp_path / "i", 10)


def test_where_an_index_can_be_built(tmp_path):
    with pytest.raises(UsageError, match="already exists: choose another directory"):
        build(tmp_path, integer_codebooks, made_up_source(1))
    with pytest.raises(NotFoundError, match="folder not found"):
        build(tmp_path / "no" / "i", integer_codebooks, made_up_source(1))


def test_what_a_source_is_made_of():
    with pytest.raises(UsageError, match="expected vectors or codes, and not both"):
        ArraySource()
    with pytest.raises(UsageError, match="codes cannot be learned from"):
        made_up_source(3).sample(2, 0)
    vectors = np.arange(20.0).reshape(10, 2)
    source = ArraySource(vectors)
    np.testing.assert_array_equal(source.sample(10, 0), vectors)
    sampled = source.sample(4, 1)
    assert sampled.shape == (4, 2)
    assert (np.diff(sampled[:, 0]) > 0).all()
    np.testing.assert_array_equal(sampled, source.sample(4, 1))
    assert ArraySource(np.zeros((4, 1 << 26), np.int8)).batch_items == 2


def test_batches_that_replace():
    index = Index(integer_codebooks())
    index.add_codes(made_up_codes(range(5)))
    Batch(range(3, 8), codes=made_up_codes(range(13, 18))).put_into(index)
    assert index.ids.tolist() == list(range(8))
    np.testing.assert_array_equal(index.codes[3:], made_up_codes(range(13, 18)))
    Batch(range(8), vectors=np.zeros((8, 6))).put_into(index)
    np.testing.assert_array_equal(index.codes, np.repeat(index.codes[:1], 8, axis=0))
    with pytest.raises(UsageError, match="items are replaced by id"):
        Batch(None, codes=made_up_codes([1])).put_into(index)
