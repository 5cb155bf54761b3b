from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from spdq.errors import DataError, StorageError
from spdq.features import text_cache
from spdq.features.text_cache import CachedTextExtractor


class Counting:
    """Lengths and digests of texts; writes down how many it was given, call by call."""

    name, dim = "counting:1", 4

    def __init__(self):
        self.calls = []

    def settings(self):
        return {"name": self.name}

    def extract(self, texts, progress=None):
        if isinstance(texts, str):
            raise DataError("one text")
        self.calls.append(list(texts))
        if progress is not None:
            progress(len(texts), len(texts))
        digests = [hashlib.sha256(text.encode()).digest()[:3] for text in texts]
        return np.array([[len(t), *d] for t, d in zip(texts, digests, strict=True)], np.float32).reshape(
            -1, 4
        )


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def cached(counting, tmp_path):
    return CachedTextExtractor(counting, tmp_path / "deep" / "cache")


def test_a_second_run_extracts_only_what_is_new(cached, counting, tmp_path):
    first = ["a", "b", "a", "ç 木"]
    rows = cached.extract(first)
    np.testing.assert_array_equal(rows, Counting().extract(first))
    assert (rows.dtype, counting.calls) == (np.float32, [["a", "b", "ç 木"]])
    other = CachedTextExtractor(counting, tmp_path / "deep" / "cache")
    np.testing.assert_array_equal(other.extract(["c", "b", "d"]), Counting().extract(["c", "b", "d"]))
    assert counting.calls[1:] == [["c", "d"]]


def test_it_is_the_extractor_it_keeps_for(cached, counting):
    assert (cached.name, cached.dim, cached.settings()) == ("counting:1", 4, counting.settings())
    assert cached.extract([]).shape == (0, 4)
    with pytest.raises(DataError, match="one text"):
        cached.extract("a")


def test_large_sets_go_by_chunks_and_the_progress_is_told(cached, counting, monkeypatch):
    monkeypatch.setattr(text_cache, "CHUNK", 4)
    texts = [f"text {number}" for number in range(10)]
    calls = []
    rows = cached.extract(texts, progress=lambda *call: calls.append(call))
    np.testing.assert_array_equal(rows, Counting().extract(texts))
    assert [len(call) for call in counting.calls] == [4, 4, 2]
    assert calls[-1] == (10, 10)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_chunk_is_within_what_sqlite_takes(cached):
    texts = [str(number) for number in range(text_cache.CHUNK + 1)]
    np.testing.assert_array_equal(cached.extract(texts), Counting().extract(texts))


def test_a_damaged_row_is_extracted_anew(cached, counting, tmp_path):
    cached.extract(["a", "b"])
    (file,) = (tmp_path / "deep" / "cache").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection, connection:
        key = hashlib.sha256(b"a").digest()
        connection.execute("UPDATE rows SET features = zeroblob(16) WHERE picture = ?", [key])
    np.testing.assert_array_equal(cached.extract(["a", "b"]), Counting().extract(["a", "b"]))
    assert counting.calls == [["a", "b"], ["a"]]


def test_a_folder_that_refuses(counting, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="feature cache"):
        CachedTextExtractor(counting, tmp_path / "file").extract(["a"])
