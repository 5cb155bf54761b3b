from __future__ import annotations

import math
import random
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import integer_codebooks, made_up_codes

from spdq.errors import DamagedError
from spdq.index import Index
from spdq.index.attribute_table import AttributeTable, pack_attributes
from spdq.index.compaction import MAX_REMOVED, MAX_SEGMENTS, merged, worth_merging
from spdq.index.id_lists import Texts, list_of
from spdq.index.ids import accept_ids
from spdq.index.segments import Segment, SegmentRow, checksum, container, in_memory
from spdq_kernels import pack_codes

COLUMNS = {"number": "int", "text": "str"}


def segment(ids, removed=(), measured=(0.0, 0), attributes=True, codes=None):
    """A real segment of items whose codes and attributes follow from their place in the alphabet or number."""
    strings = isinstance(ids[0], str)
    accepted = accept_ids(ids, len(ids), "str" if strings else "int")
    numbers = [ord(one[0]) for one in ids] if strings else list(ids)
    codes = made_up_codes(numbers) if codes is None else codes
    raw = in_memory(container(pack_codes(codes), list_of(accepted), {}))
    marked = np.isin(np.arange(len(ids)), list(removed))
    bitmap = np.packbits(marked, bitorder="little").tobytes() if marked.any() else None
    row = SegmentRow(1, "0" * 32, len(ids), len(raw), checksum(raw.data), 0, "", *measured, bitmap)
    meta = {"n_codebooks": codes.shape[1], "n_words": 5, "ids": "str" if strings else "int"}
    table = None
    if attributes:
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        rows = ((row, (number, f"n{number}")) for row, number in enumerate(numbers))
        connection.deserialize(pack_attributes(COLUMNS, rows))
        table = AttributeTable(connection, COLUMNS, len(ids), "attributes")
    return Segment(raw, row, meta, "segment", table)


def sized(*sizes):
    return [segment(range(size), attributes=False) for size in sizes]


def thinned(size, n_removed):
    return segment(range(size), range(n_removed), attributes=False)


def test_nothing_is_worth_merging_most_of_the_time():
    assert (MAX_SEGMENTS, MAX_REMOVED) == (32, 0.3)
    assert worth_merging([]) == []
    assert worth_merging(sized(1)) == []
    assert worth_merging(sized(*range(1, 33))) == []


def test_too_many_segments():
    segments = sized(*range(40, 7, -1))
    assert [len(one) for one in worth_merging(segments)] == list(range(8, 24))
    alike = sized(*[5] * 33)
    assert worth_merging(alike) == alike[:16]


def test_size_is_what_is_left_of_a_segment():
    segments = sized(*[9] * 32)
    small = thinned(10, 3)
    assert worth_merging([*segments, small]) == [small, *segments[:15]]


@pytest.mark.parametrize("size", [1, 2, 3, 10, 30, 257, 1000])
def test_removed_items(size):
    for n_removed in {1, size // 2, 3 * size // 10, 3 * size // 10 + 1, size - 1} - {0, size}:
        one = thinned(size, n_removed)
        assert worth_merging([one]) == ([one] if n_removed / size > 0.3 else [])


def test_removed_items_among_others():
    many = [thinned(10, 4), thinned(500, 499), thinned(10, 9)]
    few = sized(*range(1, 30))
    assert worth_merging([*few[:3], many[0], *few[3:], *many[1:]]) == many
    # Merged they are one more than the 31 others, which is not too much; with 32 others it is.
    others = sized(*[7] * 31)
    assert worth_merging([*many, *others]) == many
    smallest = sized(6)
    assert worth_merging([*many, *others, *smallest]) == [*many, *smallest, *others[:15]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 11)), max_size=80))
def test_after_a_merge_nothing_is_worth_merging(sizes):
    segments = [thinned(size, min(n_removed, size - 1)) for size, n_removed in sizes]
    chosen = worth_merging(segments)
    assert len(set(map(id, chosen))) == len(chosen)
    rest = [one for one in segments if one not in chosen]
    assert all(one.n_live >= 0.7 * len(one) for one in rest)
    if chosen:
        rest.append(*sized(sum(one.n_live for one in chosen)))
    if len(segments) <= MAX_SEGMENTS + 1:
        assert worth_merging(rest) == []
        assert len(rest) <= MAX_SEGMENTS
    assert len(chosen) != 1 or chosen[0].row.removed


@pytest.mark.parametrize("batch", [1, 7])
def test_items_are_rewritten_as_often_as_segments_double(batch):
    index = Index(integer_codebooks())
    rewritten, n_items = 0, 300 * batch
    for start in range(0, n_items, batch):
        before = index._snapshot.segments
        index.add_codes(made_up_codes(range(start, start + batch)))
        fresh = [one for one in index._snapshot.segments if one not in before]
        rewritten += sum(map(len, fresh)) - batch
    assert 0 < rewritten < n_items * math.log2(300)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.sampled_from(["int", "str"]))
def test_merged_is_what_is_left(data, kind):
    one = st.integers(-50, 300) if kind == "int" else st.characters(min_codepoint=97, max_codepoint=400)
    ids = data.draw(st.lists(one, unique=True, min_size=1, max_size=40))
    n_segments = data.draw(st.integers(1, 4))
    parts = [sorted(ids[part::n_segments]) for part in range(n_segments)]
    parts = [part for part in parts if part]
    gone = [data.draw(st.lists(st.integers(0, len(part) - 1), max_size=len(part) - 1)) for part in parts]
    segments = [segment(part, removed) for part, removed in zip(parts, gone, strict=True)]
    kept = sorted(
        one
        for part, removed in zip(parts, gone, strict=True)
        for row, one in enumerate(part)
        if row not in removed
    )
    numbers = [one if kind == "int" else ord(one) for one in kept]
    items = merged(segments)
    assert items.ids.tolist() == kept
    np.testing.assert_array_equal(items.codes, made_up_codes(numbers))
    assert sorted(items.attributes) == [(row, (number, f"n{number}")) for row, number in enumerate(numbers)]
    assert (items.squared_error, items.n_measured) == (0, 0)


def test_without_attributes_there_are_none():
    assert merged([segment([3, 4], attributes=False)]).attributes is None


def test_several_blocks():
    rng = random.Random(0)
    ids = rng.sample(range(10_000), 1500)
    parts = [sorted(ids[:300]), sorted(ids[300:600]), sorted(ids[600:])]
    removed = [rng.sample(range(len(part)), len(part) // 4) for part in parts]
    items = merged([segment(part, rows) for part, rows in zip(parts, removed, strict=True)])
    assert np.all(np.diff(items.ids) > 0)
    assert len(items.ids) == 1125
    np.testing.assert_array_equal(items.codes, made_up_codes(items.ids))
    assert dict(items.attributes) == {row: (one, f"n{one}") for row, one in enumerate(items.ids.tolist())}


@pytest.mark.parametrize(
    ("size", "n_measured"), [(49, 49), (49, 48), (22, 22), (1000, 1), (3, 1), (2000, 1000)]
)
def test_the_mean_error_stays(size, n_measured):
    for n_live in {1, size // 2, size - 1, size}:
        one = segment(range(size), range(size - n_live), (0.25 * n_measured, n_measured), attributes=False)
        items = merged([one])
        assert items.squared_error / items.n_measured == pytest.approx(0.25)
        assert n_measured * n_live / size <= items.n_measured < n_measured * n_live / size + 1


def test_errors_add_up():
    items = merged(
        [
            segment(range(10), range(5), (8.0, 10)),
            segment(range(10, 15), (), (3.0, 2)),
            segment(range(20, 24), (), (0.0, 0)),
        ]
    )
    assert (items.squared_error, items.n_measured) == (7.0, 7)


def test_an_index_without_vectors_has_no_error():
    index = Index(integer_codebooks())
    index.add_codes(made_up_codes(range(4)))
    assert index.stats()["error"] is None
    index.add(np.ones((1, 6)))
    error = index.stats()["error"]
    assert error > 0
    for change in (lambda: index.remove([0]), index.compact, lambda: index.remove([1]), index.compact):
        change()
        assert index.stats()["error"] == pytest.approx(error)
    index.remove(index.ids)
    assert index.stats()["error"] is None


def test_an_id_that_is_none():
    utf8, borders = np.frombuffer(b"a\xffb", np.uint8), np.arange(4)
    raw = in_memory(container(pack_codes(made_up_codes(range(3))), Texts(utf8, borders), {}))
    row = SegmentRow(1, "0" * 32, 3, len(raw), checksum(raw.data))
    damaged = Segment(raw, row, {"n_codebooks": 3, "n_words": 5, "ids": "str"}, "segment x")
    with pytest.raises(DamagedError, match="segment x: an id is not UTF-8"):
        merged([segment(["a", "b"]), damaged])
