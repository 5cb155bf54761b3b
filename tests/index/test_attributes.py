from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import (
    ATTRIBUTES,
    add_made_up,
    integer_codebooks,
    made_up_codes,
    made_up_items,
    select,
)

from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.index import Index
from spdq.index.attributes import MAX_COLUMNS, TYPES

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
MEMBER = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1f"), min_size=1, max_size=5
)
VALUES = {
    "label": TEXT,
    "year": st.integers(-(2**63), 2**63 - 1),
    "score": st.floats(allow_nan=False, allow_infinity=False),
    "tags": st.sets(MEMBER, max_size=4),
}


def in_memory(n_items, n_parts=1):
    return add_made_up(Index(integer_codebooks(), attributes=ATTRIBUTES), n_items, n_parts)


def add_one(**values):
    """What an index says of an item with these attributes."""
    index = Index(integer_codebooks(), attributes=ATTRIBUTES)
    index.add_codes([[0, 0, 0]], [7], {name: [value] for name, value in values.items()})
    index.verify()
    return index.attributes_of([7])[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.fixed_dictionaries({name: st.none() | kind for name, kind in VALUES.items()}), max_size=8))
def test_values_come_back(tmp_path_factory, items):
    columns = {name: [item[name] for item in items] for name in ATTRIBUTES}
    expected = [
        item | {"tags": item["tags"] if item["tags"] is None else sorted(item["tags"])} for item in items
    ]
    ids = np.arange(len(items))[::-1]
    memory = Index(integer_codebooks(), attributes=ATTRIBUTES)
    path = tmp_path_factory.mktemp("attributes") / "i"
    disk = Index.create(path, integer_codebooks(), attributes=ATTRIBUTES)
    for index in (memory, disk):
        index.add_codes(made_up_codes(ids), ids, columns)
        index.verify()
        assert index.attributes_of(ids) == expected
    disk.close()
    with Index.open(path) as opened:
        assert opened.attributes == ATTRIBUTES
        assert opened.attributes_of(ids) == expected


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("year", np.int8(-3), -3),
        ("year", np.uint64(2**63 - 1), 2**63 - 1),
        ("year", -(2**63), -(2**63)),
        ("score", 3, 3.0),
        ("score", np.float32(0.5), 0.5),
        ("score", np.int64(2**53), 2.0**53),
        ("score", -0.0, 0.0),
        ("score", 5e-324, 5e-324),
        ("label", np.str_("cat"), "cat"),
        ("label", "", ""),
        ("label", "\x1f", "\x1f"),
        ("label", 'it\'s "it"; -- \U0001f600\uffff\n', 'it\'s "it"; -- \U0001f600\uffff\n'),
        ("tags", [], []),
        ("tags", set(), []),
        ("tags", frozenset({"b", "a"}), ["a", "b"]),
        ("tags", ("b", "a", "b"), ["a", "b"]),
        ("tags", np.array(["b", "a"]), ["a", "b"]),
        ("tags", (tag for tag in "ba"), ["a", "b"]),
        ("tags", ["\U0001f600", "￿"], ["￿", "\U0001f600"]),
        ("tags", [" ", "a b", "'"], [" ", "'", "a b"]),
    ],
)
def test_values_of_many_types(name, value, stored):
    found = add_one(**{name: value})
    assert found == dict.fromkeys(ATTRIBUTES) | {name: stored}
    assert type(found[name]) is type(stored)


NO_INTEGER = "year of item 1 must be a 64 bit integer or None, got "
NO_NUMBER = "score of item 1 must be a finite number or None, got "
NO_TEXT = r"label of item 1 must be a text \(without NUL and lone surrogates\) or None, got "
NO_SET = r"tags of item 1 must be a set of texts \(none empty, none with NUL, .* surrogates\) or None, got "


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("year", 2**63, NO_INTEGER + "9223372036854775808"),
        ("year", -(2**63) - 1, NO_INTEGER + "-9223372036854775809"),
        ("year", np.uint64(2**63), NO_INTEGER + "9223372036854775808"),
        pytest.param("year", 10**5000, NO_INTEGER + "a very long int", id="long"),
        ("year", 2.0, NO_INTEGER + r"2\.0"),
        ("year", True, NO_INTEGER + "True"),
        ("year", np.bool_(True), NO_INTEGER + "True"),
        ("year", "2020", NO_INTEGER + "'2020'"),
        ("year", float("nan"), NO_INTEGER + "nan"),
        ("score", float("nan"), NO_NUMBER + "nan"),
        ("score", np.float32("nan"), NO_NUMBER + "nan"),
        ("score", float("-inf"), NO_NUMBER + "-inf"),
        ("score", 10**400, NO_NUMBER + "1000"),
        ("score", False, NO_NUMBER + "False"),
        ("score", "1.5", NO_NUMBER + r"'1\.5'"),
        ("score", 1j, NO_NUMBER + "1j"),
        ("label", "a\0b", NO_TEXT + r"'a\\x00b'"),
        ("label", "\ud800", NO_TEXT + r"'\\ud800'"),
        ("label", b"cat", NO_TEXT + "b'cat'"),
        ("label", 5, NO_TEXT + "5"),
        ("label", ["cat"], NO_TEXT + r"\['cat'\]"),
        ("label", float("nan"), NO_TEXT + "nan"),
        ("tags", "cat", NO_SET + "'cat'"),
        ("tags", b"cat", NO_SET + "b'cat'"),
        ("tags", 5, NO_SET + "5"),
        ("tags", {""}, NO_SET + "{''}"),
        ("tags", {"a\x1fb"}, NO_SET + r"{'a\\x1fb'}"),
        ("tags", {"a\0"}, NO_SET),
        ("tags", {"\udfff"}, NO_SET),
        ("tags", {1}, NO_SET + "{1}"),
        ("tags", {None}, NO_SET + "{None}"),
        ("tags", {"a": 1}, NO_SET + "{'a': 1}"),
        ("tags", [["a"]], NO_SET + r"\[\['a'\]\]"),
        ("tags", np.array("a"), NO_SET + "array"),
        ("tags", float("nan"), NO_SET + "nan"),
    ],
)
def test_values_that_are_refused(name, value, message):
    index = in_memory(3)
    with pytest.raises(DataError, match=f"attribute {message}") as caught:
        index.add_codes(np.zeros((2, 3), np.uint8), [7, 8], {name: [None, value]})
    assert len(str(caught.value)) < 250
    with pytest.raises(DataError, match=f"attribute {message}"):
        index.update_codes(np.zeros((2, 3), np.uint8), [1, 2], {name: [None, value]})
    assert (len(index), index.generation) == (3, 1)
    assert index.attributes_of(index.ids) == made_up_items(range(3))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"lable": ["a", "b"]}, "unknown attribute 'lable': this index has label, year, score, tags"),
        ({"Label": ["a", "b"]}, "unknown attribute 'Label'"),
        ({5: ["a", "b"], "x": []}, "unknown attribute 5"),
        ({"label": ["a"]}, "attribute label: expected 2 values, one for each item, got 1"),
        ({"label": ["a", "b", "c"]}, "attribute label: expected 2 values, one for each item, got 3"),
        ({"label": "ab"}, "attribute label: expected 2 values, one for each item, got str"),
        ({"label": b"ab"}, "attribute label: expected 2 values, .* got bytes"),
        ({"tags": {"a", "b"}}, "attribute tags: expected 2 values, .* got set"),
        ({"label": {"a": 1, "b": 2}}, "attribute label: expected 2 values, .* got dict"),
        ({"label": None}, "attribute label: expected 2 values, .* got NoneType"),
        ({"year": 5}, "attribute year: expected 2 values, .* got int"),
        ({"year": np.array(5)}, "attribute year: expected 2 values, .* got ndarray"),
        ("label", "expected values by attribute, such as .*, got str"),
        (["label"], "expected values by attribute, such as .*, got list"),
        (5, "expected values by attribute, such as .*, got int"),
        (np.zeros(2), "expected values by attribute, such as .*, got ndarray"),
    ],
)
def test_columns_that_are_refused(attributes, message):
    index = in_memory(3)
    with pytest.raises(DataError, match=message):
        index.add_codes(np.zeros((2, 3), np.uint8), [7, 8], attributes)
    assert len(index) == 3


def test_an_index_without_attributes():
    index = Index(integer_codebooks())
    with pytest.raises(DataError, match="unknown attribute 'label': this index was made without any"):
        index.add_codes([[0, 0, 0]], [1], {"label": ["a"]})
    index.add_codes(made_up_codes([1, 2]), [1, 2], {})
    assert (index.attributes, index.attributes_of([2, 1])) == ({}, [{}, {}])
    for condition in ("label = 'a'", "1", "1 = 1"):
        with pytest.raises(
            UsageError, match=r"not a condition here: .* The index was made without attributes"
        ):
            index.search(np.zeros(6), filter=condition)
        with pytest.raises(UsageError, match="made without attributes"):
            index.filter(where=condition)


def test_any_list_serves_as_a_column():
    index = Index(integer_codebooks(), attributes=ATTRIBUTES)
    index.add_codes(
        made_up_codes([1, 2]),
        [1, 2],
        {
            "label": np.array(["a", None], object),
            "year": np.array([3, 4], np.int16),
            "score": (x for x in (1, 2)),
        },
    )
    assert [list(item.values()) for item in index.attributes_of([2, 1])] == [
        [None, 4, 2.0, None],
        ["a", 3, 1.0, None],
    ]


@pytest.mark.parametrize(
    ("types", "message"),
    [
        (
            {"row": "int"},
            "'row' cannot name an attribute: expected letters, digits and _, at most 64, none of _row",
        ),
        ({"RowID": "int"}, "'RowID' cannot name"),
        ({"_rowid_": "int"}, "cannot name"),
        ({"OID": "int"}, "cannot name"),
        ({"id": "int"}, "cannot name"),
        ({"": "int"}, "'' cannot name"),
        ({"a b": "int"}, "'a b' cannot name"),
        ({'a" INTEGER, "b': "int"}, "cannot name"),
        ({"a\n": "int"}, "cannot name"),
        ({"1a": "int"}, "cannot name"),
        ({"jahr_ü": "int"}, "cannot name"),
        ({"a" * 65: "int"}, "cannot name"),
        ({5: "int"}, "5 cannot name"),
        ({None: "int"}, "None cannot name"),
        ({"a": "blob"}, "attribute a must be of type int, float, str, set, not 'blob'"),
        ({"a": "INT"}, "attribute a must be of type"),
        ({"a": int}, "attribute a must be of type .* not <class 'int'>"),
        ({"a": ["int"]}, r"attribute a must be of type .* not \['int'\]"),
        ({"a": None}, "attribute a must be of type"),
        ({"year": "int", "Year": "int"}, "two attributes are named year: capitals make no difference"),
        ({f"a{number}": "int" for number in range(MAX_COLUMNS + 1)}, "has at most 100 attributes, got 101"),
        (["label"], "expected attributes with their types, such as .*, got list"),
        ("label", "expected attributes with their types, such as .*, got str"),
        (5, "expected attributes with their types, such as .*, got int"),
    ],
)
def test_types_that_are_refused(tmp_path, types, message):
    with pytest.raises(UsageError, match=message):
        Index(integer_codebooks(), attributes=types)
    with pytest.raises(UsageError, match=message):
        Index.create(tmp_path / "i", integer_codebooks(), attributes=types)
    assert list(tmp_path.iterdir()) == []


def test_names_that_sql_knows(tmp_path):
    words = [
        "select",
        "order",
        "items",
        "null",
        "has",
        "max",
        "key",
        "value",
        "wanted",
        "json_each",
        "a" * 64,
        "_",
    ]
    types = dict(zip(words, list(TYPES) * 3, strict=True))
    path = tmp_path / "i"
    with Index.create(path, integer_codebooks(), attributes=types) as index:
        index.add_codes(made_up_codes([1]), [1], {"select": [5], "has": [6], "wanted": [7]})
    with Index.open(path) as index:
        index.verify()
        assert select(index, '"select" = 5 and "has" = 6 and items.wanted = 7 and "order" is null') == [1]
        assert index.attributes_of([1]) == [dict.fromkeys(words) | {"select": 5, "has": 6, "wanted": 7}]
        types = index.attributes
        types.clear()
        assert list(index.attributes) == words


def test_as_many_columns_as_there_may_be(tmp_path):
    types = {f"a{number}": "int" for number in range(MAX_COLUMNS)}
    with Index.create(tmp_path / "i", integer_codebooks(), attributes=types) as index:
        index.add_codes(made_up_codes([1, 2]), [1, 2], {name: [1, 2] for name in types})
        index.compact()
        index.verify()
        assert index.attributes_of([2]) == [dict.fromkeys(types, 2)]
        assert select(index, " and ".join(f"{name} = 2" for name in types)) == [2]


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_attributes_follow_their_items_through_every_change(tmp_path, where):
    def new(name):
        if where == "memory":
            return Index(integer_codebooks(), attributes=ATTRIBUTES)
        return Index.create(tmp_path / name, integer_codebooks(), attributes=ATTRIBUTES)

    rng = np.random.default_rng(0)
    index, other = new("i"), new("other")
    known = {}

    def values(items):
        made = [
            {
                "label": str(rng.integers(5)),
                "year": int(rng.integers(9)),
                "score": None,
                "tags": [f"t{rng.integers(3)}"],
            }
            for _ in items
        ]
        known.update(zip(items, made, strict=True))
        return {name: [one[name] for one in made] for name in ATTRIBUTES}

    def check():
        index.verify()
        ids = index.ids.tolist()
        assert ids == sorted(known)
        assert index.attributes_of(ids) == [known[item] for item in ids]
        some = rng.permutation(ids)[:9]
        assert index.attributes_of(some) == [known[item] for item in some.tolist()]
        for year in (0, 8):
            wanted = [item for item in ids if known[item]["year"] == year]
            assert select(index, f"year = {year}") == wanted
            assert index.select(f"year = {year}").tolist() == wanted
        tagged = [item for item in ids if "t1" in (known[item]["tags"] or [])]
        assert select(index, "has(tags, 't1')") == tagged

    for start in range(0, 400, 100):
        items = (np.random.default_rng(start).permutation(100) + start).tolist()
        index.add_codes(made_up_codes(items), items, values(items))
    check()
    items = rng.permutation(400)[:60].tolist()
    index.update_codes(made_up_codes(items), items, values(items))
    check()
    items = [5, 7, 900]
    index.update_codes(made_up_codes(items), items, missing="add")
    known.update(dict.fromkeys(items, dict.fromkeys(ATTRIBUTES)))
    check()
    for item in rng.permutation(400)[:150].tolist():
        known.pop(item)
        index.remove([item])
    check()
    items = list(range(1000, 1300))
    other.add_codes(made_up_codes(items), items, values(items))
    other.remove(items[::3])
    for item in items[::3]:
        known.pop(item)
    index.merge_from(other)
    check()
    index.compact()
    check()
    assert index.stats()["segments"] == 1


def test_merging_needs_the_same_attributes():
    index = in_memory(3)
    for types in (None, {"label": "str"}, ATTRIBUTES | {"label": "set"}, dict(reversed(ATTRIBUTES.items()))):
        with pytest.raises(IncompatibleError, match="the indexes differ in attributes"):
            index.merge_from(Index(integer_codebooks(), attributes=types))


def test_attributes_of_asks_for_known_ids():
    index = in_memory(10, 3)
    index.remove([4])
    assert index.attributes_of([]) == []
    assert index.attributes_of([9, 0, 9]) == made_up_items([9, 0, 9])
    for item in (4, 10, -1):
        with pytest.raises(DataError, match=f"no item has the id {item}"):
            index.attributes_of([0, item])
    with pytest.raises(DataError, match="expected integers, got <U1"):
        index.attributes_of(["a"])
