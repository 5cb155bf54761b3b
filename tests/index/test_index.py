from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import float_codebooks, integer_codebooks, nearest

from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)


@st.composite
def collections(draw, metrics=("l2", "ip")):
    """Codebooks with many ties, a metric, codes and ids, and where to cut them into adds."""
    kind = draw(st.sampled_from(["product", "additive"]))
    metric = "ip" if kind == "additive" else draw(st.sampled_from(metrics))
    codebooks = integer_codebooks(kind=kind, seed=draw(st.integers(0, 5)))
    ids = draw(st.lists(draw(st.sampled_from([TEXTS, NUMBERS])), unique=True, max_size=40))
    seed = draw(st.integers(0, 1000))
    codes = np.random.default_rng(seed).integers(0, 5, (len(ids), 3), np.uint8)
    cuts = sorted(draw(st.lists(st.integers(0, len(ids)), max_size=4)))
    return codebooks, metric, codes, ids, cuts


def id_kind(ids):
    return "str" if ids and isinstance(ids[0], str) else "int"


def fill(index, codes, ids, cuts):
    for start, end in zip([0, *cuts], [*cuts, len(ids)], strict=True):
        index.add_codes(codes[start:end], ids[start:end])


def assert_found(found, expected, kind="int"):
    distances, ids = found
    assert distances.dtype == np.float32
    assert ids.dtype == (object if kind == "str" else np.int64)
    np.testing.assert_array_equal(distances, expected[0])
    assert not np.signbit(distances[distances == 0]).any()
    assert ids.tolist() == expected[1]


@settings(max_examples=60, deadline=None)
@given(collections(), st.integers(1, 50), st.sampled_from([1, 2, 4, None]))
def test_search_is_the_exact_order_of_distance_and_id(collection, k, threads):
    codebooks, metric, codes, ids, cuts = collection
    queries = np.random.default_rng(k).integers(-2, 3, (3, codebooks.dim)).astype(np.float32)
    index = Index(codebooks, metric, ids=id_kind(ids))
    fill(index, codes, ids, cuts)
    expected = nearest(codebooks, metric, codes, ids, queries, k)
    assert_found(index.search(queries, k, threads=threads), expected, id_kind(ids))


@settings(max_examples=15, deadline=None)
@given(collections())
def test_on_disk_and_reopened_as_in_memory(tmp_path_factory, collection):
    codebooks, metric, codes, ids, cuts = collection
    queries = np.random.default_rng(0).normal(size=(2, codebooks.dim))
    memory = Index(codebooks, metric, ids=id_kind(ids))
    fill(memory, codes, ids, cuts)
    path = tmp_path_factory.mktemp("index") / "i.spdq"
    with Index.create(path, codebooks, metric, ids=id_kind(ids)) as disk:
        fill(disk, codes, ids, cuts)
        disk.verify()
        found = [disk.search(queries, 7)]
    for writable in (False, True):
        with Index.open(path, writable=writable) as index:
            index.verify()
            assert len(index) == len(ids)
            assert index.ids.tolist() == memory.ids.tolist()
            np.testing.assert_array_equal(index.codes, memory.codes)
            found.append(index.search(queries, 7))
    expected = memory.search(queries, 7)
    for distances, hits in found:
        np.testing.assert_array_equal(distances, expected[0])
        assert hits.tolist() == expected[1].tolist()


@settings(max_examples=20, deadline=None)
@given(collections(), st.integers(1, 20), st.integers(0, 20))
def test_a_larger_k_begins_with_the_smaller(collection, k, more):
    codebooks, metric, codes, ids, cuts = collection
    index = Index(codebooks, metric, ids=id_kind(ids))
    fill(index, codes, ids, cuts)
    queries = np.ones((2, codebooks.dim))
    few, many = index.search(queries, k), index.search(queries, k + more)
    np.testing.assert_array_equal(few[0], many[0][:, :k])
    assert few[1].tolist() == many[1][:, :k].tolist()


def test_real_valued_distances_over_several_blocks_and_segments():
    codebooks = float_codebooks()
    rng = np.random.default_rng(1)
    codes, ids = rng.integers(0, 16, (1500, 4), np.uint8), rng.permutation(1500) - 700
    queries = rng.normal(size=(4, 12)).astype(np.float32)
    for metric in ("l2", "ip"):
        expected = nearest(codebooks, metric, codes, ids, queries, 30)
        for cuts in ([], [700], [1, 2, 258, 1499]):
            index = Index(codebooks, metric)
            fill(index, codes, ids, cuts)
            for threads in (1, 2, 4):
                assert_found(index.search(queries, 30, threads=threads), expected)


def test_the_batch_changes_nothing():
    codebooks = float_codebooks()
    rng = np.random.default_rng(2)
    index = Index(codebooks)
    index.add_codes(rng.integers(0, 16, (600, 4), np.uint8))
    queries = rng.normal(size=(300, 12))
    distances, ids = index.search(queries, 5)
    assert distances.shape == ids.shape == (300, 5)
    for row in (0, 255, 256, 299):
        alone = index.search(queries[row], 5)
        np.testing.assert_array_equal(alone[0], distances[row : row + 1])
        np.testing.assert_array_equal(alone[1], ids[row : row + 1])


def test_positive_and_negative_zero_are_one_distance():
    words = np.array([[[0.0], [-0.0], [1.0]], [[0.0], [-0.0], [1.0]]], np.float32)
    index = Index(Codebooks(words, "product"), "ip")
    index.add_codes([[1, 1], [0, 0]], [1, 2])
    index.add_codes([[0, 1], [1, 1]], [0, 3])
    for sign in (1, -1):
        distances, ids = index.search([[sign * 1.0, sign * 1.0]], 4)
        assert ids.tolist() == [[0, 1, 2, 3]]
        assert not np.signbit(distances).any()


def test_strings_are_ordered_by_their_utf8_bytes():
    ids = ["\U0001f600", "￿", "é", "z", "a", "aa", "A"]  # UTF-16 would put the emoji before U+FFFF.
    index = Index(integer_codebooks(), ids="str")
    for item in ids:
        index.add_codes([[0, 0, 0]], [item])
    expected = sorted(ids, key=str.encode)
    assert index.ids.tolist() == expected
    assert index.search(np.zeros(6), 9)[1].tolist() == [expected]


def test_add_encodes_and_decoding_comes_back():
    codebooks = float_codebooks()
    vectors = np.random.default_rng(3).normal(size=(20, 12))
    index = Index(codebooks)
    index.add(vectors)
    np.testing.assert_array_equal(index.codes, codebooks.encode(vectors))
    assert index.ids.tolist() == list(range(20))
    distances, _ = index.search(vectors[0], 20)
    exact = ((codebooks.decode(index.codes) - vectors[0]) ** 2).sum(axis=1)
    np.testing.assert_allclose(distances[0], np.sort(exact), rtol=1e-5)


def test_a_fitted_quantizer_serves_as_its_codebooks():
    class Fitted:
        codebooks_ = integer_codebooks()

    index = Index(Fitted())
    assert index.codebooks is Fitted.codebooks_
    assert (index.metric, index.dim) == ("l2", 6)


def test_ids_continue_after_the_largest():
    index = Index(integer_codebooks())
    index.add_codes(np.zeros((2, 3), np.uint8), [-5, 40])
    index.add_codes(np.zeros((2, 3), np.uint8))
    assert index.ids.tolist() == [-5, 40, 41, 42]


def test_empty_index_empty_add_and_no_queries():
    for ids, dtype in (("int", np.int64), ("str", object)):
        index = Index(integer_codebooks(), ids=ids)
        index.add_codes(np.empty((0, 3), np.uint8), [])
        assert len(index) == 0
        assert index.stats()["generation"] == 0
        assert index.codes.shape == (0, 3)
        assert index.ids.dtype == dtype
        assert index.code_blocks == []
        distances, found = index.search(np.zeros((2, 6)), 3)
        assert (distances.shape, found.shape, found.dtype) == ((2, 0), (2, 0), dtype)
        index.verify()
        index.add_codes(np.zeros((2, 3), np.uint8), [1, 2] if ids == "int" else ["a", "b"])
        distances, found = index.search(np.zeros((0, 6)), 3)
        assert (distances.shape, found.shape, found.dtype) == ((0, 2), (0, 2), dtype)


def test_code_blocks_are_read_only_views_and_codes_a_copy(tmp_path):
    index = Index.create(tmp_path / "i", integer_codebooks())
    index.add_codes(np.ones((300, 3), np.uint8))
    index.add_codes(np.ones((1, 3), np.uint8))
    assert [blocks.shape for blocks in index.code_blocks] == [(2, 3, 256), (1, 3, 256)]
    assert not any(blocks.flags.writeable or blocks.flags.owndata for blocks in index.code_blocks)
    codes = index.codes
    codes[:] = 0
    assert index.codes.min() == 1


def test_stats(tmp_path):
    codebooks = integer_codebooks()
    index = Index.create(
        tmp_path / "i", codebooks, "ip", ids="str", model_fingerprint="9c1e", model_path=tmp_path / "model"
    )
    index.add_codes([[1, 2, 3]], ["a"])
    stats = index.stats()
    on_disk = sum(file.stat().st_size for file in (tmp_path / "i").rglob("*") if file.is_file())
    size = stats.pop("bytes")
    assert abs(size - on_disk) < 500  # The headers of the codebooks' file and the lock's number.
    assert stats.pop("bytes_per_item") == size
    assert stats == {
        "path": str(tmp_path / "i"),
        "items": 1,
        "removed": 0,
        "segments": 1,
        "bits": 9,
        "code_bytes": 3,
        "kind": "product",
        "attributes": {},
        "words_used": [1, 1, 1],
        "error": None,
        "training_error": None,
        "drift": None,
        "advice": None,
        "writable": True,
        "metric": "ip",
        "ids": "str",
        "n_codebooks": 3,
        "n_words": 5,
        "dim": 6,
        "codebook_fingerprint": codebooks.fingerprint,
        "model_fingerprint": "9c1e",
        "model_path": str(tmp_path / "model"),
        "generation": 1,
        "format": 1,
    }
    assert (index.model_fingerprint, index.model_path) == ("9c1e", str(tmp_path / "model"))


def test_check_model(tmp_path):
    index = Index.create(tmp_path / "i", integer_codebooks(), model_fingerprint="9c1e" * 16)
    index.check_model("9c1e" * 16)
    with pytest.raises(
        IncompatibleError,
        match=r"built with model 9c1e9c1e9c1e, this is 77ab\. Rebuild or pass the right model",
    ):
        index.check_model("77ab")
    with pytest.raises(IncompatibleError, match="built without a model"):
        Index(integer_codebooks()).check_model("77ab")


def test_duplicate_ids_change_nothing():
    for kind, ids, shown in (("int", [3, 7], "7"), ("str", ["b", "a7"], '"a7"')):
        index = Index(integer_codebooks(), ids=kind)
        index.add_codes(np.zeros((2, 3), np.uint8), ids)
        before = index.stats()
        fresh = [100, 7, -4] if kind == "int" else ["z", "a7", "A"]
        with pytest.raises(DataError, match=f"duplicate id {shown}"):
            index.add_codes(np.zeros((3, 3), np.uint8), fresh)
        with pytest.raises(DataError, match=f'duplicate id {fresh[0]}|duplicate id "z"'):
            index.add_codes(np.zeros((2, 3), np.uint8), [fresh[0], fresh[0]])
        assert index.stats() == before
        index.add_codes(np.zeros((1, 3), np.uint8), fresh[:1])
        index.verify()
        assert len(index) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": -3}, "k must be at least 1, got -3"),
        ({"k": 2.0}, "k must be an integer, got 2.0"),
        ({"k": True}, "k must be an integer, got True"),
        ({"k": 1, "threads": 0}, "threads must be at least 1, got 0"),
    ],
)
def test_bad_numbers_for_search(arguments, message):
    with pytest.raises(UsageError, match=message):
        Index(integer_codebooks()).search(np.zeros((1, 6)), **arguments)


def test_bad_queries():
    index = Index(integer_codebooks())
    index.add_codes([[0, 0, 0]])
    many = np.zeros((300, 6))
    many[280, 1] = np.nan
    with pytest.raises(DataError, match=r"queries.* row 280"):
        index.search(many)
    with pytest.raises(DataError, match=r"6 columns.* not 5"):
        index.search(np.zeros((1, 5)))
    with pytest.raises(DataError, match=r"\(1, 1, 6\)"):
        index.search(np.zeros((1, 1, 6)))
    for queries in ([[1.0, 2.0], [1.0]], "text", None):
        with pytest.raises(DataError, match="queries must be"):
            index.search(queries)
    huge = Index(Codebooks(np.full((1, 2, 2), 1e35, np.float32), "product"), "ip")
    huge.add_codes([[0]])
    with pytest.raises(DataError, match="too large to multiply"):
        huge.search([1e6, 1e6])


def test_bad_items():
    index = Index(integer_codebooks())
    with pytest.raises(DataError, match=r"vectors must be finite.* row 1"):
        index.add([[0.0] * 6, [np.inf] * 6])
    with pytest.raises(DataError, match="expected 2 ids, one for each item, got shape"):
        index.add(np.zeros((2, 6)), [1])
    with pytest.raises(DataError, match=r"expected codes of shape \(n, 3\), got \(2, 4\)"):
        index.add_codes(np.zeros((2, 4), np.uint8))
    with pytest.raises(DataError, match="expected codes as integers, got float64"):
        index.add_codes(np.zeros((2, 3)))
    with pytest.raises(DataError, match="codes row 1 has byte 5, these codebooks have 5 words"):
        index.add_codes([[4, 4, 4], [4, 5, 4]])
    with pytest.raises(DataError, match="row 0 has byte -1"):
        index.add_codes([[-1, 0, 0]])
    assert len(index) == 0
    with pytest.raises(UsageError, match="str ids needs the ids"):
        Index(integer_codebooks(), ids="str").add_codes([[0, 0, 0]])
    index.add_codes([[0, 0, 0]], [2**63 - 1])
    with pytest.raises(DataError, match="no 1 int64 ids are left after 9223372036854775807"):
        index.add_codes([[0, 0, 0]])


def test_bad_making():
    with pytest.raises(UsageError, match="expected a fitted quantizer or Codebooks, got dict"):
        Index({})
    with pytest.raises(UsageError, match='metric must be "l2" or "ip"'):
        Index(integer_codebooks(), "cosine")
    with pytest.raises(UsageError, match='ids must be "int" or "str", got \'uuid\''):
        Index(integer_codebooks(), ids="uuid")
    with pytest.raises(UsageError, match=r'"l2" of additive codes needs norms, .* use metric "ip"'):
        Index(integer_codebooks(kind="additive"), "l2")


def test_a_closed_index_says_so(tmp_path):
    for index in (Index(integer_codebooks()), Index.create(tmp_path / "i", integer_codebooks())):
        index.close()
        index.close()
        for use in (
            lambda index: index.search(np.zeros(6)),
            lambda index: index.add_codes([[0, 0, 0]]),
            lambda index: index.ids,
            lambda index: index.codes,
            lambda index: index.verify(),
            lambda index: index.stats(),
            len,
        ):
            with pytest.raises(UsageError, match="the index is closed"):
                use(index)


def test_threads_search_while_one_adds():
    codebooks = float_codebooks()
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 16, (40, 50, 4), np.uint8)
    query = rng.normal(size=12).astype(np.float32)
    index = Index(codebooks)
    index.add_codes(codes[0])
    states, faults = {}, []
    for count in range(1, 41):
        states[count * 50] = nearest(
            codebooks, "l2", codes[:count].reshape(-1, 4), range(count * 50), [query], 3
        )

    def search():
        while len(index) < 2000:
            before = len(index)
            distances, ids = index.search(query, 3)
            seen = [(d, i) for size, (d, i) in states.items() if before <= size <= len(index)]
            if not any(np.array_equal(distances, d) and ids.tolist() == i for d, i in seen):
                faults.append((before, ids))

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for part in codes[1:]:
        index.add_codes(part)
    for thread in threads:
        thread.join()
    assert not faults


def test_import_is_light():
    code = "import sys, spdq.index; print(*{'torch', 'sklearn', 'h5py', 'numba', 'scipy'} & set(sys.modules))"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("\n", "")
