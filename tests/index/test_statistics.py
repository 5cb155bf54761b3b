from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
from changing import reopened
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import float_codebooks, forge, integer_codebooks, made_up_codes, make_index
from safetensors.numpy import save

from spdq.errors import DamagedError
from spdq.index import Index, statistics
from spdq.index.statistics import DRIFT
from spdq.quantizers import ProductQuantizer
from spdq.quantizers.codebooks import Codebooks


def vectors(seed, n, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, 12)) + shift).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    return ProductQuantizer(n_codebooks=4, n_words=16, random_state=0).fit(vectors(0, 900))


def exact_error(codebooks, rows):
    decoded = codebooks.decode(codebooks.encode(rows))
    return float(((rows - decoded).astype(np.float64) ** 2).sum(axis=1).mean())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 700), st.sampled_from([1, 2, 3, 256]), st.integers(1, 3))
def test_words_used_is_what_numpy_counts(seed, n_items, n_words, n_parts):
    rng = np.random.default_rng(seed)
    index = Index(integer_codebooks(n_codebooks=2, n_words=n_words))
    for codes in np.array_split(rng.integers(0, n_words, (n_items, 2)), n_parts):
        index.add_codes(codes)
    index.remove(rng.permutation(n_items)[: n_items // 4])
    expected = [len(np.unique(index.codes[:, m])) for m in range(2)]
    assert index.stats()["words_used"] == expected


def test_neither_padding_nor_removed_items_use_words(monkeypatch):
    index = Index(integer_codebooks())
    index.add_codes([[1, 2, 3]] * 300)
    assert index.stats()["words_used"] == [1, 1, 1]
    index.add_codes([[4, 4, 4]] * 4, range(300, 304))
    index.add_codes([[0, 2, 4]], [304])
    assert index.stats()["words_used"] == [3, 2, 2]
    index.remove([303])
    assert index.stats()["words_used"] == [3, 2, 2]
    for blocks_at_once in (1, 2):
        monkeypatch.setattr(statistics, "_BLOCKS_AT_ONCE", blocks_at_once)
        assert index.stats()["words_used"] == [3, 2, 2]
    index.remove([300, 301, 302])
    assert index.stats()["words_used"] == [2, 1, 2]


def test_many_blocks_are_counted_some_at_a_time(monkeypatch):
    codes = np.zeros((1000, 3), np.uint8)
    codes[[0, 255, 256, 511, 512, 999]] = [[1, 0, 0], [2, 0, 0], [0, 1, 0], [0, 2, 0], [0, 0, 1], [0, 0, 2]]
    for blocks_at_once in (1, 2, 3, 4096):
        monkeypatch.setattr(statistics, "_BLOCKS_AT_ONCE", blocks_at_once)
        index = Index(integer_codebooks())
        index.add_codes(codes)
        assert index.stats()["words_used"] == [3, 3, 3]
        index.remove([255, 512, 999])
        assert index.stats()["words_used"] == [2, 3, 1]


def test_nothing_is_known_of_codes(new_index):
    index = new_index()
    for _ in range(2):
        stats = index.stats()
        assert [stats[name] for name in ("error", "training_error", "drift", "advice")] == [None] * 4
        index.add_codes(made_up_codes(range(3)))
    index.add(np.empty((0, 6)))
    assert index.stats()["error"] is None


def test_error_is_that_of_the_vectors(fitted, tmp_path):
    index = Index.create(tmp_path / "i", fitted)
    index.add_codes([[0, 0, 0, 0]], [10_000])
    index.add(vectors(1, 70))
    index.add(vectors(2, 30), range(70, 100))
    both = np.concatenate([vectors(1, 70), vectors(2, 30)])
    for _ in range(2):
        stats = index.stats()
        assert stats["error"] == pytest.approx(exact_error(fitted.codebooks_, both), rel=1e-5)
        assert stats["drift"] == pytest.approx(stats["error"] / stats["training_error"])
        index = reopened(index)
    index.compact()
    assert index.stats()["error"] == pytest.approx(stats["error"])


def test_error_of_many_vectors_is_that_of_some(fitted):
    many = vectors(3, 2500)
    index = Index(fitted)
    index.add(many)
    assert index.stats()["error"] == pytest.approx(exact_error(fitted.codebooks_, many[::3]), rel=1e-5)
    index.update(many[:10], range(10))
    total = 834 * exact_error(fitted.codebooks_, many[::3]) + 10 * exact_error(fitted.codebooks_, many[:10])
    assert index.stats()["error"] == pytest.approx(total / 844, rel=1e-5)


def test_advice_when_the_vectors_are_others(fitted):
    index = Index(fitted)
    index.add(vectors(4, 500))
    stats = index.stats()
    assert 0.8 < stats["drift"] < DRIFT
    assert stats["advice"] is None
    index.add(vectors(5, 500, shift=4))
    stats = index.stats()
    assert stats["drift"] > 2
    assert stats["advice"] == (
        f"items are coded with {stats['drift']:.2f} times the error at training time: "
        "train anew on what is in the index"
    )
    index.remove(range(500, 1000))
    assert index.stats()["advice"] is None


@pytest.mark.parametrize(("factor", "advises"), [(0.79, True), (0.81, False), (0.0, False)])
def test_when_there_is_advice(factor, advises):
    codebooks = float_codebooks()
    rows = vectors(6, 50)
    error = exact_error(codebooks, rows)
    index = Index(dataclasses.replace(codebooks, training_error=error * factor))
    index.add(rows)
    stats = index.stats()
    assert stats["training_error"] == error * factor
    assert (stats["advice"] is not None) == advises
    # Codebooks that made no error at all were learned from no more vectors than words: a ratio says nothing.
    assert stats["drift"] == (pytest.approx(1 / factor, rel=1e-5) if factor else None)


def test_the_training_error_is_kept(fitted, tmp_path):
    error = fitted.codebooks_.training_error
    assert error == pytest.approx(exact_error(fitted.codebooks_, vectors(0, 900)), rel=1e-5)
    assert Index(fitted).stats()["training_error"] == error
    Index.create(tmp_path / "i", fitted).close()
    with Index.open(tmp_path / "i") as index:
        assert index.stats()["training_error"] == index.codebooks.training_error == error
        stored = index.codebooks
    again = Codebooks.from_tensors(stored.tensors(), stored.metadata())
    assert Index(again).stats()["training_error"] == error


def test_codebooks_that_differ_in_nothing_else_are_the_same(fitted):
    bare = dataclasses.replace(fitted.codebooks_, training_error=None)
    index, other = Index(bare), Index(fitted)
    other.add(vectors(7, 5))
    index.merge_from(other)
    assert index.stats()["error"] == other.stats()["error"]
    assert (index.stats()["drift"], other.stats()["drift"] is None) == (None, False)


@pytest.mark.parametrize("stored", ["nan", "-1", "much", "inf", ""])
def test_a_damaged_training_error(tmp_path, stored):
    path = make_index(tmp_path / "i")
    codebooks = integer_codebooks()
    content = save(codebooks.tensors(), codebooks.metadata() | {"training_error": stored})
    (path / "codebooks.safetensors").unlink()
    (path / "codebooks.safetensors").write_bytes(content)
    forge(
        path,
        "UPDATE meta SET value = ? WHERE key = 'codebooks_sha256'",
        hashlib.sha256(content).hexdigest(),
    )
    message = (
        rf"codebooks\.safetensors: cannot be read \(training error .* not '{stored}'\)\. Restore the file"
    )
    with pytest.raises(DamagedError, match=message):
        Index.open(path)


def test_bytes_and_items(new_index):
    index = new_index(attributes={"label": "str"})
    index.add_codes(made_up_codes(range(300)), attributes={"label": ["x" * 50] * 300})
    before = index.stats()
    index.remove([7])
    stats = index.stats()
    assert (stats["items"], stats["removed"], stats["segments"], stats["generation"]) == (299, 1, 1, 2)
    assert stats["bytes"] >= before["bytes"] > 300 * 50
    assert stats["bytes_per_item"] == round(stats["bytes"] / 299, 2)
    assert stats["attributes"] == {"label": "str"}
    index.update_codes(made_up_codes([8]), [8])
    assert (index.stats()["items"], index.stats()["removed"], index.stats()["segments"]) == (299, 2, 2)
