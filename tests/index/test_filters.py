from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import (
    ATTRIBUTES,
    add_made_up,
    assert_found,
    assert_within,
    fill_in_parts,
    integer_codebooks,
    kernel_distances,
    made_up_codes,
    made_up_items,
    made_up_values,
    nearest_of,
    new_index,
    within,
)

from spdq.errors import UsageError
from spdq.index import Index, compaction

CONDITIONS = {
    "label = 'l1'": lambda one: one["label"] == "l1",
    "year < 2004": lambda one: one["year"] is not None and one["year"] < 2004,
    "has(tags, 'three') or year is null": lambda one: "three" in one["tags"] or one["year"] is None,
    "score < -1": lambda one: False,
    "1": lambda one: True,
}


def name_of(number, kind):
    return f"é{number}" if kind == "str" else number


def make(kind, numbers, n_parts, metric="l2", path=None):
    """An index of made-up items in no order, in so many segments."""
    ids = [name_of(number, kind) for number in numbers]
    index = new_index(path, integer_codebooks(), metric=metric, ids=kind, attributes=ATTRIBUTES)
    return fill_in_parts(index, made_up_codes(numbers), ids, n_parts, made_up_values(numbers))


def by_id(ids):
    return sorted(ids, key=lambda item: item.encode() if isinstance(item, str) else item)


PARTS = st.fixed_dictionaries(
    {},
    optional={
        "where": st.sampled_from(list(CONDITIONS)),
        "allow": st.lists(st.integers(-5, 110), max_size=60),
        "deny": st.lists(st.integers(-5, 110), max_size=60),
        "mask": st.integers(0, 1000),
    },
)
FILTERS = st.none() | st.sampled_from(list(CONDITIONS)) | PARTS


def filter_and_mask(index, drawn, kind, numbers):
    """What is drawn as an argument of a search, and as a mask over numbers (n,), the items in order."""
    mask = np.ones(len(numbers), bool)
    if drawn is None:
        return None, None
    parts = {"where": drawn} if isinstance(drawn, str) else drawn
    given = {}
    if "where" in parts:
        given["where"] = parts["where"]
        mask &= np.array([CONDITIONS[parts["where"]](one) for one in made_up_items(numbers)], bool)
    if "allow" in parts:
        given["allow"] = [name_of(number, kind) for number in parts["allow"]]
        mask &= np.isin(numbers, parts["allow"])
    if "deny" in parts:
        given["deny"] = [name_of(number, kind) for number in parts["deny"]]
        mask &= ~np.isin(numbers, parts["deny"])
    if "mask" in parts:
        drawn_mask = np.random.default_rng(parts["mask"]).random(len(numbers)) < 0.5
        given["mask"] = drawn_mask
        mask &= drawn_mask
    return drawn if isinstance(drawn, str) else index.filter(**given), mask


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_filters_against_brute_force(data):
    kind = data.draw(st.sampled_from(["int", "str"]))
    metric = data.draw(st.sampled_from(["l2", "ip"]))
    size = data.draw(st.integers(0, 100))
    numbers = np.random.default_rng(size).permutation(100)[:size]
    index = make(kind, numbers, data.draw(st.integers(1, 5)), metric)
    gone = set(data.draw(st.lists(st.sampled_from(numbers.tolist()), max_size=40))) if size else set()
    index.remove([name_of(number, kind) for number in gone])
    kept = [number for number in numbers.tolist() if number not in gone]
    ids = by_id([name_of(number, kind) for number in kept])
    numbers = np.array([int(str(item).strip("é")) for item in ids], np.int64)
    assert index.ids.tolist() == ids

    n_queries = data.draw(st.integers(0, 4))
    if data.draw(st.booleans()):
        drawn = data.draw(FILTERS)
        filters, mask = filter_and_mask(index, drawn, kind, numbers)
        masks = [mask] * n_queries
    else:
        pairs = [filter_and_mask(index, data.draw(FILTERS), kind, numbers) for _ in range(n_queries)]
        filters, masks = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    queries = np.random.default_rng(size).integers(-2, 3, (n_queries, 6))
    k, threads = data.draw(st.integers(1, 120)), data.draw(st.sampled_from([1, 2, None]))
    distances = kernel_distances(index.codebooks, metric, made_up_codes(numbers), queries)
    found = index.search(queries, k, filters, threads)
    if n_queries:
        assert_found(found, nearest_of(distances, ids, k, masks, metric))
    assert found[1].dtype == (object if kind == "str" else np.int64)
    radius = data.draw(st.sampled_from([-np.inf, 0, 8, 20.5, np.inf]))
    found = index.range_search(queries, radius, filters, threads)
    assert_within(found, within(distances, ids, radius, masks, metric))
    for one, mask in zip(filters if isinstance(filters, list) else [filters], masks, strict=False):
        chosen = ids if mask is None else [item for item, is_in in zip(ids, mask, strict=True) if is_in]
        assert index.select(one).tolist() == chosen


def test_uneven_rows_are_filled_up():
    for kind, nobody in (("int", -1), ("str", None)):
        for metric, nowhere in (("l2", np.inf), ("ip", -np.inf)):
            index = make(kind, range(20), 3, metric)
            few = index.filter(allow=[name_of(7, kind), name_of(11, kind), "é99" if kind == "str" else 99])
            none = index.filter(allow=[])
            distances, ids = index.search(np.ones((4, 6)), 5, [few, none, None, few])
            assert ids.shape == (4, 5)
            assert ids[1].tolist() == [nobody] * 5
            assert (distances[1] == nowhere).all()
            assert set(ids[0][:2]) == {name_of(7, kind), name_of(11, kind)}
            assert ids[0][2:].tolist() == [nobody] * 3
            assert (distances[0][2:] == nowhere).all()
            assert np.isfinite(distances[2]).all()
            assert_found((distances[3:], ids[3:]), (distances[:1], ids[:1].tolist()))
            assert index.search(np.ones((4, 6)), 5, few)[1].shape == (4, 2)
            assert index.search(np.ones((4, 6)), 1, [few, none, few, few])[1].shape == (4, 1)
            limits, near, found = index.range_search(np.ones((4, 6)), -nowhere * -1, [few, none, None, few])
            assert limits.tolist() == [0, 2, 2, 22, 24]
            assert near.shape == found.shape == (24,)


def test_no_row_is_wider_than_the_hits_of_a_query():
    """Each query finds its items in another segment."""
    index = make("int", range(30), 2)
    one, other = index.filter(allow=range(15)), index.filter(allow=range(15, 30))
    distances, ids = index.search(np.zeros((2, 6)), 30, [one, other])
    assert ids.shape == distances.shape == (2, 15)
    assert np.sort(ids).tolist() == [list(range(15)), list(range(15, 30))]


def test_an_empty_filter_gives_nothing():
    for kind in ("int", "str"):
        for n_parts in (1, 3):
            index = make(kind, range(30), n_parts)
            nothing = [
                index.filter(allow=[]),
                index.filter(deny=index.ids),
                index.filter(mask=np.zeros(30, bool)),
                index.filter(where="0"),
                index.filter(allow=[name_of(5, kind)], deny=[name_of(5, kind)]),
                "label = 'nowhere'",
            ]
            for one in nothing:
                for given_filter in (one, [one, one], (one, "0")):
                    distances, ids = index.search(np.zeros((2, 6)), 3, given_filter)
                    assert (distances.shape, ids.shape, ids.dtype) == ((2, 0), (2, 0), index.ids.dtype)
                    limits, distances, ids = index.range_search(np.zeros((2, 6)), np.inf, given_filter)
                    assert (limits.tolist(), len(distances), ids.dtype) == ([0, 0, 0], 0, index.ids.dtype)
                assert index.select(one).tolist() == []


def test_everything_is_let_through_by_a_filter_of_nothing():
    index = make("int", range(30), 3)
    index.remove([4])
    distances, ids = index.search(np.ones((2, 6)), 50)
    for one in (
        index.filter(),
        index.filter(deny=[]),
        index.filter(mask=np.ones(29, bool)),
        [None],
        [None, None],
        "1",
    ):
        assert_found(index.search(np.ones((2, 6)), 50, one), (distances, ids.tolist()))
    assert index.select(None).tolist() == index.select(index.filter()).tolist() == index.ids.tolist()


def test_duplicate_and_unknown_ids():
    index = make("int", range(30), 3)
    one = index.filter(allow=[3, 3, 5, -(2**63), 2**63 - 1, 5, 1000], deny=np.array([5, 5, 77], np.uint8))
    assert index.select(one).tolist() == [3]
    texts = make("str", range(30), 3)
    one = texts.filter(allow=["é3", "é3", "é5", "é", "x" * 1024, "A"], deny=np.array(["é5", "nobody"]))
    assert texts.select(one).tolist() == ["é3"]


def test_more_queries_than_are_searched_at_once():
    index = make("int", range(60), 2)
    queries = np.random.default_rng(0).integers(-2, 3, (600, 6))
    ids = list(range(60))
    distances = kernel_distances(index.codebooks, "l2", made_up_codes(ids), queries)
    # The first 256 queries have at most 2 hits, the next up to 60, the last none.
    allowed = [set(range(row % 3)) if row < 256 else set(ids) if row < 512 else set() for row in range(600)]
    made = {frozenset(some): index.filter(allow=sorted(some)) for some in allowed}
    filters = [made[frozenset(some)] for some in allowed]
    masks = [np.isin(ids, sorted(some)) for some in allowed]
    assert_found(index.search(queries, 100, filters), nearest_of(distances, ids, 100, masks))
    assert_within(index.range_search(queries, 12, filters), within(distances, ids, 12, masks))
    found = index.search(queries, 4, ["label = 'l1'"] * 599 + [None])
    masks = [np.array(ids) % 3 == 1] * 599 + [None]
    assert_found(found, nearest_of(distances, ids, 4, masks))
    one = index.filter(allow=[8])
    assert index.search(queries, 4, one)[1].tolist() == [[8]] * 600


def test_no_queries():
    for n_parts in (1, 3):
        index = make("int", range(30), n_parts)
        index.remove([5])
        for filters in (None, [], index.filter(allow=[1, 2, 3]), "0", ["1"], [None]):
            distances, ids = index.search(np.zeros((0, 6)), 9, filters)
            assert len(distances) == len(ids) == 0
            limits, distances, ids = index.range_search(np.zeros((0, 6)), 9, filters)
            assert (limits.tolist(), len(distances), len(ids)) == ([0], 0, 0)


def test_many_segments_and_the_disk_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MAX_SEGMENTS", 1000)
    numbers = np.random.default_rng(1).permutation(700)
    queries = np.random.default_rng(2).integers(-2, 3, (9, 6))
    gone = np.random.default_rng(3).permutation(700)[:150]
    chance = np.random.default_rng(4)
    some, mask = chance.permutation(700)[:200], chance.random(550) < 0.5
    found = []
    for n_parts in (1, 10, 100):
        for path in (None, tmp_path / str(n_parts)):
            index = make("int", numbers, n_parts, path=path)
            assert index.stats()["segments"] == n_parts
            index.remove(gone)
            if path is not None:
                index.close()
                index = Index.open(path)
            filters = [
                index.filter(allow=some),
                index.filter(deny=some),
                index.filter(mask=mask),
                "year < 2004",
                index.filter("has(tags, 'odd')", some[:150], some[:30], mask),
                index.filter(allow=[]),
                None,
                index.filter(allow=some[:2]),
                "label = 'l1'",
            ]
            answers = [*index.search(queries, 400, filters), *index.range_search(queries, 12, filters)]
            for one in filters:
                answers += index.search(queries, 7, one, threads=2)
            found.append([answer.tobytes() for answer in answers])
    assert all(one == found[0] for one in found)


def test_a_filter_stays_true_while_the_index_changes(tmp_path):
    for path in (None, tmp_path / "i"):
        index = make("int", range(40), 2, path=path)
        kept = {
            "where": (index.filter("label = 'l1'"), lambda item: item % 3 == 1),
            "allow": (index.filter(allow=[1, 2, 55, 70, 99]), lambda item: item in (1, 2, 55, 70, 99)),
            "deny": (index.filter(deny=[1, 2, 55, 70, 99]), lambda item: item not in (1, 2, 55, 70, 99)),
            "both": (
                index.filter("label = 'l1'", deny=[1, 55]),
                lambda item: item % 3 == 1 and item not in (1, 55),
            ),
        }
        known = set(range(40))

        def check(index=index, kept=kept, known=known):
            for one, is_in in kept.values():
                wanted = [item for item in sorted(known) if is_in(item)]
                assert index.select(one).tolist() == wanted
                assert sorted(index.search(np.zeros(6), 200, one)[1][0].tolist()) == wanted
                assert sorted(index.range_search(np.zeros(6), np.inf, one)[2].tolist()) == wanted

        check()
        index.add_codes(made_up_codes(range(40, 80)), range(40, 80), made_up_values(range(40, 80)))
        known |= set(range(40, 80))
        check()
        index.remove([1, 55, 60])
        known -= {1, 55, 60}
        check()
        index.update_codes(made_up_codes([4, 7]), [4, 7], {"label": ["x", "l1"]})
        kept["where"] = (kept["where"][0], lambda item: item % 3 == 1 and item != 4)
        kept["both"] = (kept["both"][0], lambda item: item % 3 == 1 and item not in (1, 4, 55))
        check()
        index.compact()
        check()
        index.remove(list(known))
        known.clear()
        check()
        index.add_codes(made_up_codes([55]), [55], made_up_values([55]))
        known.add(55)
        kept["both"] = (kept["both"][0], lambda item: False)
        check()


def test_a_filter_of_a_reader_follows_its_refresh(tmp_path):
    writer = make("int", range(30), 2, path=tmp_path / "i")
    reader = Index.open(tmp_path / "i")
    one, masked = reader.filter("label = 'l1'"), reader.filter(mask=np.arange(30) < 5)
    writer.remove([1])
    assert reader.select(one).tolist() == list(range(1, 30, 3))
    writer.compact()
    assert reader.select("label = 'l2'").tolist() == list(range(2, 30, 3))
    assert reader.attributes_of([1]) == made_up_items([1])
    assert reader.refresh()
    assert reader.select(one).tolist() == list(range(4, 30, 3))
    with pytest.raises(
        UsageError, match="the mask of the filter is for generation 2 of the index, which is now at 4"
    ):
        reader.search(np.zeros(6), filter=masked)
    assert writer.select(one).tolist() == list(range(4, 30, 3))


def test_a_filter_keeps_nothing_of_what_is_gone():
    index = make("int", range(300), 3)
    one = index.filter("label = 'l1'", deny=[1])
    index.search(np.zeros(6), filter=one)
    segments = [weakref.ref(segment) for segment in index._snapshot.segments]
    index.remove(range(0, 300, 2))
    index.compact()
    gc.collect()
    assert [segment() for segment in segments] == [None] * 3
    assert len(index.select(one)) == 49


def test_a_filter_many_times_and_among_many(monkeypatch):
    """Whichever way the kernels choose, now or when a filter has been used often, finds the same."""
    index = make("int", range(3000), 2)
    queries = np.random.default_rng(0).integers(-2, 3, (5, 6))
    distances = kernel_distances(index.codebooks, "l2", made_up_codes(range(3000)), queries)
    filters = [index.filter(mask=np.arange(3000) % step == 0) for step in (1, 2, 7, 50, 1500)]
    expected = [
        nearest_of(distances, list(range(3000)), 20, [np.arange(3000) % step == 0] * 5)
        for step in (1, 2, 7, 50, 1500)
    ]
    for _ in range(6):
        for one, wanted in zip(filters, expected, strict=True):
            assert_found(index.search(queries, 20, one), wanted)
            for row in range(5):
                found = index.search(queries[row], 20, one)
                assert_found(found, (wanted[0][row : row + 1], wanted[1][row : row + 1]))


def test_filters_of_an_empty_index():
    for kind in ("int", "str"):
        index = Index(integer_codebooks(), ids=kind, attributes=ATTRIBUTES)
        for one in (
            index.filter(),
            index.filter(mask=np.zeros(0, bool)),
            index.filter(allow=[]),
            "label = 'x'",
        ):
            assert index.search(np.zeros((2, 6)), 3, one)[1].shape == (2, 0)
            assert index.range_search(np.zeros((2, 6)), 3, [one, None])[0].tolist() == [0, 0, 0]
            assert index.select(one).tolist() == []
        later = index.filter(deny=[name_of(1, kind)])
        add_made_up(index, 3) if kind == "int" else index.add_codes(
            made_up_codes(range(3)), ["é0", "é1", "é2"]
        )
        assert index.select(later).tolist() == [name_of(0, kind), name_of(2, kind)]
