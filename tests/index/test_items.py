"""What an index says of single items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_index import (
    float_codebooks,
    integer_codebooks,
    random_index,
)

from spdq.errors import DataError, UsageError
from spdq.index import Index


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_explained_shares_add_up_to_the_distance(metric):
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0].astype(np.float32)
    kinds = [float_codebooks(), replace(float_codebooks(), rotation=rotation)]
    if metric == "ip":
        kinds.append(integer_codebooks(kind="additive"))
    for codebooks in kinds:
        index, names, _ = random_index(codebooks, 300, 3, metric)
        queries = np.random.default_rng(6).normal(size=(2, codebooks.dim))
        for some, mix in (
            (queries[0], None),
            (queries[:1], None),
            (queries, [0.7, -0.3]),
            (queries, [[1, 2]]),
        ):
            if mix is None:
                distances, ids = index.search(some, 300)
            else:
                distances, ids = index.search(some, 300, mix=mix)
            shares = index.explain(some, ids[0], mix)
            assert (shares.shape, shares.dtype) == ((300, codebooks.n_codebooks), np.float32)
            np.testing.assert_allclose(shares.sum(axis=1), distances[0], rtol=1e-5, atol=1e-5)
        tables = codebooks.lookup_tables(queries[:1], metric)[0]
        one = index.explain(queries[0], [names[7], names[7]])
        share = tables[np.arange(codebooks.n_codebooks), index.codes[7]]
        np.testing.assert_array_equal(one, np.array([share, share]) * (1 if metric == "l2" else -1))


def test_bad_questions_about_items():
    index, names, _ = random_index(float_codebooks(), 20, 2)
    index.remove(names[:1])
    query, gone = np.zeros(12), names[0]
    for ask in (lambda ids: index.explain(query, ids), index.reconstruct, index.attributes_of):
        with pytest.raises(DataError, match=f"no item has the id {gone}"):
            ask([names[3], gone])
        with pytest.raises(DataError, match="no item has the id 1000"):
            ask([1000])
        with pytest.raises(DataError, match="expected integers, got <U1"):
            ask(["a"])
        with pytest.raises(DataError, match=r"expected a list of ids, got shape \(\)"):
            ask(names[3])
        assert len(ask([])) == 0
    with pytest.raises(UsageError, match="expected one query to explain, got 2"):
        index.explain(np.zeros((2, 12)), names[1:])
    with pytest.raises(UsageError, match="expected one query to explain, got 0"):
        index.explain(np.zeros((0, 12)), names[1:])
    with pytest.raises(UsageError, match="expected one query to explain, got 3"):
        index.explain(np.zeros((2, 12)), names[1:], np.ones((3, 2)))
    with pytest.raises(DataError, match="mix has weights for 3 queries, got 2"):
        index.explain(np.zeros((2, 12)), names[1:], [1, 1, 1])
    with pytest.raises(DataError, match="12 columns"):
        index.explain(np.zeros(11), names[1:])
    texts = Index(float_codebooks(), ids="str")
    with pytest.raises(DataError, match='no item has the id "é"'):
        texts.reconstruct(["é"])


def test_reconstructed_vectors_are_those_of_the_codes():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0].astype(np.float32)
    for codebooks in (float_codebooks(), replace(float_codebooks(), rotation=rotation)):
        vectors = np.random.default_rng(7).normal(size=(50, 12))
        index = Index(codebooks)
        ids = np.random.default_rng(8).permutation(50)
        for part in (slice(0, 20), slice(20, 50)):
            index.add(vectors[part], ids[part])
        np.testing.assert_array_equal(index.reconstruct(ids), codebooks.decode(codebooks.encode(vectors)))
        some = np.array([3, 3, 1], np.uint16)
        np.testing.assert_array_equal(index.reconstruct(some), codebooks.decode(index.codes[[3, 3, 1]]))
        assert (index.reconstruct([]).shape, index.reconstruct([]).dtype) == ((0, 12), np.float32)


def test_what_is_in_an_index():
    index, names, _ = random_index(float_codebooks(), 300, 3)
    index.remove(names[10:20])
    kept = names[:10] + names[20:]
    assert list(index) == kept
    assert {type(item) for item in index} == {int}
    assert len(index) == 290
    for kind in (int, np.int64, np.int32, np.int16):
        assert all(kind(item) in index for item in kept)
        assert not any(kind(item) in index for item in names[10:20])
    assert all(item in index for item in index.search(np.zeros(12), 300)[1][0])
    item = kept[0]
    others = (
        float(item),
        str(item),
        None,
        True,
        [item],
        (item, item),
        np.array([item]),
        {},
        b"",
        2**63,
        -(2**70),
        1j,
    )
    assert not any(other in index for other in others)
    texts, names, _ = random_index(float_codebooks(), 30, 2, ids="str")
    assert list(texts) == names == sorted(names, key=str.encode)
    assert all(name in texts for name in (*names, np.str_(names[0])))
    assert not any(
        other in texts
        for other in ("", "é", "x" * 2000, "\ud800", "a\0", 5, None, names[0].encode(), [names[0]])
    )


def test_items_that_are_iterated_while_they_go():
    index, names, _ = random_index(float_codebooks(), 30, 2)
    for item in index:
        index.remove([item])
    assert len(index) == 0
    assert len(names) == 30


def test_a_closed_index_answers_nothing(tmp_path):
    for path in (None, tmp_path / "i"):
        index = random_index(float_codebooks(), 5, 1, path=path)[0]
        index.close()
        for use in (
            lambda index: index.range_search(np.zeros(12), 1),
            lambda index: index.search(np.zeros((2, 12)), mix=[1, 1]),
            lambda index: index.explain(np.zeros(12), []),
            lambda index: index.reconstruct([]),
            lambda index: index.attributes_of([]),
            lambda index: index.code_blocks,
            lambda index: 5 in index,
            lambda index: list(index),
        ):
            with pytest.raises(UsageError, match="the index is closed"):
                use(index)


def test_id_blocks_name_the_rows_of_code_blocks(tmp_path):
    index = Index.create(tmp_path / "i", integer_codebooks())
    codes = np.random.default_rng(0).integers(0, 5, (8, 3), np.uint8)
    index.add_codes(codes[:3], [5, 1, 9])
    index.add_codes(codes[3:], [20, 21, 22, 23, 24])
    index.remove([21])
    scattered, consecutive = index.id_blocks
    assert (scattered.tolist(), consecutive.tolist()) == ([1, 5, 9], [20, 21, 22, 23, 24])
    assert not scattered.flags.writeable
    assert not scattered.flags.owndata
    for ids, blocks, expected in zip(
        index.id_blocks, index.code_blocks, (codes[[1, 0, 2]], codes[3:]), strict=True
    ):
        np.testing.assert_array_equal(blocks[0, :, : len(ids)].T, expected)
    texts = Index(integer_codebooks(), ids="str")
    texts.add_codes(codes[:2], ["b", "a"])
    assert [block.tolist() for block in texts.id_blocks] == [["a", "b"]]
