import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.data import QueryItems
from spdq.errors import DataError


def column(*values):
    return np.array(values, np.int64)


def parts(**changes):
    made = {
        "queries": ("cat", "dog", "sea"),
        "query": column(0, 0, 1, 2),
        "item": column(1, 4, 4, 0),
        "value": column(3, 1, 1, 9),
    }
    return made | changes


def pairs(found):
    """Set of (query, item, value): what a QueryItems says, whatever its order."""
    columns = (found.query.tolist(), found.item.tolist(), found.value.tolist())
    return {(found.queries[query], item, value) for query, item, value in zip(*columns, strict=True)}


def test_holds_pairs():
    found = QueryItems(**parts())
    assert len(found) == 4
    assert pairs(found) == {("cat", 1, 3), ("cat", 4, 1), ("dog", 4, 1), ("sea", 0, 9)}


BAD = [
    ({"queries": ()}, "queries: expected a tuple of str, at least one"),
    ({"queries": ["cat", "dog", "sea"]}, "queries: expected a tuple of str"),
    ({"queries": ("cat", "dog", "")}, "queries row 2 is empty"),
    ({"queries": ("cat", "dog", "cat")}, 'queries: "cat" appears more than once'),
    ({"queries": ("cat", "dog", "a\0")}, "queries row 2 holds a NUL"),
    ({"queries": ("cat", "\udc80", "sea")}, "queries row 1 holds .* lone surrogate"),
    ({"queries": ("cat", "dog", 3)}, "queries row 2: expected str, got int"),
    ({"query": [0, 0, 1, 2]}, r"query: expected \(m,\) int64, one a pair, .* got list"),
    ({"query": None}, "query: .* got NoneType"),
    ({"query": np.array([0, 0, 1, 2], np.int32)}, r"query: .* got \(4,\) int32"),
    ({"query": column(), "item": column(), "value": column()}, r"query: .* at least one pair, got \(0,\)"),
    ({"item": column(1, 4, 4)}, r"item: .* got \(3,\) int64"),
    ({"value": np.ones((4, 1), np.int64)}, r"value: .* got \(4, 1\) int64"),
    ({"query": column(0, 1, 0, 2)}, "ascend by .* pair 2 does not"),
    ({"item": column(4, 1, 4, 0)}, "ascend by .* pair 1 does not"),
    ({"item": column(4, 4, 4, 0)}, "without duplicates, pair 1 does not"),
    ({"query": column(1, 1, 1, 2), "item": column(1, 2, 3, 4)}, "query: expected each of 0 to 2"),
    ({"query": column(0, 0, 0, 2), "item": column(1, 2, 3, 4)}, "query: expected each of 0 to 2"),
    ({"query": column(0, 0, 1, 1), "item": column(1, 2, 3, 4)}, "query: expected each of 0 to 2"),
    ({"query": column(0, 0, 1, 3)}, "query: expected each of 0 to 2"),
    ({"query": column(-1, 0, 1, 2)}, "query: expected each of 0 to 2"),
    ({"item": column(-1, 4, 4, 0)}, "item of pair 0: expected 0 or more, got -1"),
    ({"value": column(3, 1, 0, 9)}, "value of pair 2: expected 1 or more, got 0"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_refuses(changes, message):
    with pytest.raises(DataError, match=message):
        QueryItems(**parts(**changes))


MAPPINGS = st.dictionaries(
    st.text("abcé ", min_size=1, max_size=3),
    st.dictionaries(st.integers(0, 20), st.integers(1, 9), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
)


@given(MAPPINGS)
@settings(max_examples=30, deadline=None)
def test_from_mapping(mapping):
    found = QueryItems.from_mapping(mapping)
    assert found.queries == tuple(mapping)
    assert pairs(found) == {(query, item, n) for query, items in mapping.items() for item, n in items.items()}


def test_from_mapping_refuses():
    with pytest.raises(DataError, match="at least one"):
        QueryItems.from_mapping({})
    with pytest.raises(DataError, match="query: expected each of 0 to 1"):
        QueryItems.from_mapping({"cat": {}, "dog": {1: 1}})
    with pytest.raises(DataError, match="got 0"):
        QueryItems.from_mapping({"cat": {1: 0}})


@given(MAPPINGS, st.data())
@settings(max_examples=40, deadline=None)
def test_take_queries(mapping, data):
    found = QueryItems.from_mapping(mapping)
    rows = data.draw(st.permutations(range(len(mapping))))[: data.draw(st.integers(1, len(mapping)))]
    taken = found.take_queries(rows)
    assert taken.queries == tuple(found.queries[row] for row in rows)
    assert pairs(taken) == {pair for pair in pairs(found) if pair[0] in taken.queries}


def test_take_all_queries_changes_nothing():
    found = QueryItems(**parts())
    again = found.take_queries([0, 1, 2])
    for name in ("query", "item", "value"):
        npt.assert_array_equal(getattr(again, name), getattr(found, name))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"queries to take: expected \(k,\) integers, got \(0,\)"),
        ([[0]], r"expected \(k,\) integers, got \(1, 1\)"),
        ([0.5], "expected .* got .* float64"),
        ([0, 3], "queries to take: 3 is none of 3 queries"),
        ([-1, 0], "queries to take: -1 is none of 3 queries"),
        ([1, 1], 'queries: "dog" appears more than once'),
    ],
)
def test_take_queries_refuses(rows, message):
    with pytest.raises(DataError, match=message):
        QueryItems(**parts()).take_queries(rows)
