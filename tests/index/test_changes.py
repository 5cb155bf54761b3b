from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from changing import LABELLED, facts, holds, reopened, unchanged
from oracles_index import (
    float_codebooks,
    integer_codebooks,
    made_up_codes,
    make_index,
    nearest,
)

from spdq.errors import DataError
from spdq.index import Index


def test_removed_items_are_gone(new_index):
    index = new_index()
    index.add_codes(made_up_codes(range(5)))
    index.add_codes(made_up_codes(range(5, 300)))
    assert index.remove([299, 0, 7]) == 3
    assert holds(index, *range(1, 7), *range(8, 299))
    assert (len(index), 7 in index, 8 in index) == (297, False, True)
    assert list(index) == index.ids.tolist()
    distances, ids = index.search(np.zeros(6), 999)
    expected = nearest(
        index.codebooks, "l2", made_up_codes(index.ids), index.ids, np.zeros((1, 6), np.float32), 999
    )
    np.testing.assert_array_equal(distances, expected[0])
    assert ids.tolist() == expected[1]
    assert set(index.range_search(np.zeros(6), np.inf)[2].tolist()) == set(index)
    for ask in (index.reconstruct, index.attributes_of, lambda ids: index.explain(np.zeros(6), ids)):
        with pytest.raises(DataError, match="no item has the id 7"):
            ask([1, 7])
    assert index.remove([]) == 0
    assert reopened(index).generation == 3


def test_strings_are_removed(new_index):
    index = new_index(ids="str")
    index.add_codes(made_up_codes(range(4)), ["b", "é", "a", "\U0001f600"])
    assert index.remove(["é", "nowhere", "é"], missing="ignore") == 1
    assert index.remove(np.array(["a"])) == 1
    assert index.remove([], missing="raise") == 0
    assert index.ids.tolist() == ["b", "\U0001f600"]
    np.testing.assert_array_equal(index.codes, made_up_codes([0, 3]))


def test_what_is_ignored_changes_nothing(new_index):
    index = new_index()
    index.add_codes(made_up_codes(range(3)))
    with unchanged(index):
        assert index.remove([3, -1, 3], missing="ignore") == 0
    index = reopened(index)
    assert index.remove([3, 1, 1], missing="ignore") == 1
    assert holds(index, 0, 2)


def test_an_update_replaces_codes_and_attributes(new_index):
    index = new_index(attributes=LABELLED)
    index.add_codes(made_up_codes(range(4)), attributes={"label": list("abcd"), "tags": [["x"]] * 4})
    index.update_codes(made_up_codes([9, 8]), [2, 0], attributes={"label": ["new", None]})
    assert index.ids.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(index.codes, made_up_codes([8, 1, 9, 3]))
    labels = [(item["label"], item["tags"]) for item in index.attributes_of([0, 1, 2, 3])]
    assert labels == [(None, None), ("b", ["x"]), ("new", None), ("d", ["x"])]
    index.update_codes(made_up_codes([5, 6]), [7, 1], missing="add")
    assert index.ids.tolist() == [0, 1, 2, 3, 7]
    np.testing.assert_array_equal(index.codes, made_up_codes([8, 6, 9, 3, 5]))
    index = reopened(index)
    assert index.stats()["items"] == 5
    assert index.attributes_of([1, 7]) == [{"label": None, "tags": None}] * 2
    index.add_codes(made_up_codes([8]))
    assert index.ids.tolist() == [0, 1, 2, 3, 7, 8]


def test_an_update_of_everything_or_nothing(new_index):
    index = new_index()
    index.add_codes(made_up_codes(range(300)))
    index.update_codes(made_up_codes(range(300, 0, -1)), range(300))
    np.testing.assert_array_equal(index.codes, made_up_codes(range(300, 0, -1)))
    assert [index.stats()[name] for name in ("segments", "removed", "items")] == [1, 0, 300]
    with unchanged(index):
        index.update_codes(np.empty((0, 3), np.uint8), [])
        index.update(np.empty((0, 6)), [], missing="add")


def test_vectors_are_updated_as_they_are_added():
    codebooks = float_codebooks()
    vectors = np.random.default_rng(0).normal(size=(20, 12))
    added, updated = Index(codebooks), Index(codebooks)
    added.add(vectors)
    updated.add(vectors[::-1], range(20))
    updated.update(vectors[:15], range(15))
    updated.update(vectors[15:], range(15, 20), missing="add")
    np.testing.assert_array_equal(updated.codes, added.codes)
    assert updated.stats()["error"] == pytest.approx(added.stats()["error"])


def test_removed_and_added_again(new_index):
    index = new_index()
    index.add_codes(made_up_codes(range(40)))
    for step in range(12):
        index.remove([step, 39])
        assert (step in index, 39 in index, len(index)) == (False, False, 38)
        index.add_codes(made_up_codes([39, step]), [39, step])
        assert holds(index, *range(40))
    index = reopened(index)
    assert holds(index, *range(40))
    index.update_codes(made_up_codes([1]), [0])
    assert index.codes[0].tolist() == made_up_codes([1])[0].tolist()


def test_numbers_are_not_given_twice(new_index):
    index = new_index()
    index.add_codes(made_up_codes(range(3)))
    assert index.remove([2]) == 1
    index.compact()
    index = reopened(index)
    index.add_codes(made_up_codes([3]))
    assert holds(index, 0, 1, 3)
    index.remove([0, 1, 3])
    index.compact()
    index = reopened(index)
    index.add_codes(made_up_codes([4]))
    assert holds(index, 4)
    index.update_codes(made_up_codes([90]), [90], missing="add")
    index.remove([90])
    other = Index(index.codebooks)
    other.add_codes(made_up_codes([200]), [200])
    index.merge_from(other)
    index.remove([200])
    index.add_codes(made_up_codes([201]))
    assert holds(reopened(index), 4, 201)


def test_removing_everything(new_index):
    index = new_index(attributes=LABELLED)
    index.add_codes(made_up_codes(range(3)))
    index.add_codes(made_up_codes(range(3, 300)))
    assert index.remove(range(300)) == 300
    for _ in range(2):
        assert (len(index), index.ids.tolist(), index.codes.shape, index.code_blocks) == (0, [], (0, 3), [])
        assert index.search(np.zeros((2, 6)), 5)[1].shape == (2, 0)
        assert index.stats()["bytes_per_item"] is None
        assert index.stats()["words_used"] == [0, 0, 0]
        index.compact()
        index.verify()
        index = reopened(index)
    if path := index.stats()["path"]:
        assert os.listdir(os.path.join(path, "segments")) == []
    with pytest.raises(DataError, match="no item has the id 0"):
        index.remove([0])
    index.add_codes(made_up_codes([300]))
    assert holds(index, 300)


def test_the_borders_of_int64(new_index):
    first, last = -(2**63), 2**63 - 1
    index = new_index()
    index.add_codes(made_up_codes([0, 1]), [first, first + 1])
    index.add_codes(made_up_codes([2, 3]), [last, last - 1])
    index.add_codes(made_up_codes([4, 5, 6]), [first + 2, 0, last - 2])
    expected = [first, first + 1, first + 2, 0, last - 2, last - 1, last]
    for _ in range(2):
        assert index.ids.tolist() == expected
        np.testing.assert_array_equal(index.codes, made_up_codes([0, 1, 4, 5, 6, 3, 2]))
        assert [one in index for one in (first, last, 0, -1, last - 3)] == [True, True, True, False, False]
        assert sorted(index.search(np.zeros(6), 9)[1][0].tolist()) == expected
        with pytest.raises(DataError, match=f"no 1 int64 ids are left after {last}: pass ids"):
            index.add_codes([[0, 0, 0]])
        index.add_codes(np.empty((0, 3), np.uint8))
        index = reopened(index)
    assert index.remove([first, last]) == 2
    with pytest.raises(DataError, match=f"no 1 int64 ids are left after {last}"):
        index.add_codes([[0, 0, 0]])
    index.update_codes(made_up_codes([7, 8]), [first, last], missing="add")
    index.compact()
    np.testing.assert_array_equal(index.codes, made_up_codes([7, 1, 4, 5, 6, 3, 8]))
    assert reopened(index).ids.tolist() == expected


def test_numbers_of_numpy_are_ids(new_index):
    index = new_index()
    index.add_codes(made_up_codes([5, 7]), np.array([5, np.int16(7)], object))
    assert all(kind(5) in index for kind in (int, np.int64, np.uint8))
    assert index.ids[1] in index
    assert not any(
        one in index for one in (5.0, np.float64(5), True, "5", None, 2**64, [5], np.uint64(2**63))
    )
    assert index.remove(np.array([5], np.uint64)) == 1
    assert holds(index, 7)


def test_many_small_additions_are_merged(new_index):
    index = new_index()
    segments = []
    for step in range(1, 102):
        index.add_codes(made_up_codes([-step]), [-step])
        segments.append(len(index.code_blocks))
        assert index.generation == step + sum(b < a for a, b in pairwise(segments))
    assert segments[:34] == [*range(1, 34), 19]
    assert max(segments) == 33
    assert holds(index, *range(-101, 0))
    if path := index.stats()["path"]:
        assert len(os.listdir(os.path.join(path, "segments"))) == segments[-1]


def test_what_was_removed_is_cleared_away_above_30_percent(new_index):
    index = new_index(attributes=LABELLED)
    index.add_codes(made_up_codes(range(10)), attributes={"label": list("abcdefghij")})
    index.add_codes(made_up_codes([10]))
    kept = index._snapshot.segments[1]
    index.remove([0, 4, 9])
    assert (index.generation, index.stats()["removed"]) == (3, 3)
    assert index.remove([5]) == 1
    assert (index.generation, index.stats()["removed"], len(index.code_blocks)) == (5, 0, 2)
    assert kept in index._snapshot.segments
    assert holds(index, 1, 2, 3, 6, 7, 8, 10)
    labels = [item["label"] for item in index.attributes_of([1, 2, 3, 6, 7, 8, 10])]
    assert labels == [*"bcdghi", None]


def test_compact(new_index):
    index = new_index(attributes=LABELLED)
    for start in range(0, 900, 300):
        index.add_codes(made_up_codes(range(start, start + 300)), attributes={"label": ["x"] * 300})
    index.remove(range(0, 900, 7))
    before = index.stats()
    index.compact()
    after = index.stats()
    assert (after["segments"], after["removed"], after["items"]) == (1, 0, before["items"])
    assert after["bytes"] < before["bytes"]
    assert after["generation"] == before["generation"] + 1
    with unchanged(index):
        index.compact()
    index = reopened(index)
    assert holds(index, *(one for one in range(900) if one % 7))
    assert index.attributes_of([1, 899]) == [{"label": "x", "tags": None}] * 2


def test_compacting_an_empty_index_is_nothing(new_index):
    index = new_index()
    with unchanged(index):
        index.compact()


def test_merge_from(new_index, tmp_path):
    index = new_index(attributes=LABELLED)
    index.add_codes(made_up_codes([3, 100]), [3, 100], {"label": ["c", "z"]})
    path = make_index(tmp_path / "other", adds=(), attributes=LABELLED)
    with Index.open(path, writable=True) as other:
        other.add_codes(made_up_codes([1, 3, 4]), [1, 3, 4], {"tags": [["x"], None, []]})
        other.add_codes(made_up_codes([2, 300, 5]), [2, 300, 5])
        other.remove([3, 300])
        before = facts(other)
        index.merge_from(other)
        assert facts(other) == before
    assert holds(index, 1, 2, 3, 4, 5, 100)
    tags = [(item["label"], item["tags"]) for item in index.attributes_of([1, 2, 3, 4, 100])]
    assert tags == [(None, ["x"]), (None, None), ("c", None), (None, []), ("z", None)]
    with unchanged(index), Index.open(path) as reader, pytest.raises(DataError, match="duplicate id 1"):
        index.merge_from(reader)
    index = reopened(index)
    with unchanged(index):
        index.merge_from(Index(integer_codebooks(), attributes=LABELLED))
    empty = new_index()
    with unchanged(empty):
        empty.merge_from(empty)


def test_strings_are_merged(new_index):
    index, other = new_index(ids="str"), Index(integer_codebooks(), ids="str")
    index.add_codes(made_up_codes([0, 2]), ["b", "d"])
    other.add_codes(made_up_codes([3, 1]), ["é", "c"])
    index.merge_from(other)
    assert reopened(index).ids.tolist() == ["b", "c", "d", "é"]
