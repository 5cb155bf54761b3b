from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from spdq.data.attributes import (
    as_name,
    as_value,
    check_attributes,
    column_kind,
    from_text,
    from_texts,
    to_text,
)
from spdq.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\x1f"), max_size=5)
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.lists(TEXTS.filter(bool), max_size=3).map(tuple),
)


@settings(max_examples=50)
@given(st.lists(VALUES, max_size=5))
def test_a_column_is_stored_and_read(column):
    assert from_text(to_text(tuple(column)), "x") == tuple(column)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ((1, None, 3), "int"),
        ((1, 2.5), "float"),
        ((2.5, None, 1), "float"),
        (("a", ""), "str"),
        ((None, ("a",), ()), "set"),
        ((None, None), "str"),
        ((), "str"),
    ],
)
def test_the_kind_of_a_column(column, kind):
    assert column_kind("x", column) == kind


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ((None, 1, "a"), "item 2: x: expected whole numbers as in item 1, got 'a'"),
        ((1, 2.5, ("a",)), "item 2: x: expected numbers as in item 0, got"),
        (("a", 1), "item 1: x: expected texts as in item 0, got 1"),
        ((("a",), "a"), "item 1: x: expected lists of texts as in item 0, got 'a'"),
    ],
)
def test_a_column_that_changes_its_kind(column, message):
    with pytest.raises(DataError, match=message):
        column_kind("x", column)
    with pytest.raises(DataError, match=message.replace("item 2: x", "f line 3: x").split(" as in")[0][-12:]):
        column_kind("x", column, ["f line 1", "f line 2", "f line 3"])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("year", "year"),
        ("File Size", "File_Size"),
        ("größe", "gr__e"),
        ("2nd", "_2nd"),
        ("", "_"),
        ("Id", "Id_"),
    ],
)
def test_names(name, found):
    assert as_name(name) == found
    check_attributes({found: (1,)}, 1)


def test_a_long_name_is_cut():
    assert len(as_name("1" * 200)) == 64


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, 1),
        (7, 7),
        ("", None),
        (None, None),
        (["a", "", "b", "a"], ("a", "b")),
        ([], ()),
        ([1, "a"], '[1, "a"]'),
        ({"x": [1, 2]}, '{"x": [1, 2]}'),
    ],
)
def test_values_of_json(value, found):
    assert as_value(value) == found


@pytest.mark.parametrize(
    ("texts", "column"),
    [
        (["1", "", "-2"], (1, None, -2)),
        (["1", "2.5"], (1.0, 2.5)),
        (["1", "nan"], ("1", "nan")),
        (["1", "a", ""], ("1", "a", None)),
        ([str(2**63)], (float(2**63),)),
        (["1_000"], ("1_000",)),
        (["1_0.5", "2"], ("1_0.5", "2")),
        (["\u0663"], ("\u0663",)),
        (["+3", " 4 "], (3, 4)),
        (["1e3", "-.5"], (1000.0, -0.5)),
        (["1-2"], ("1-2",)),
        (["", ""], (None, None)),
        ([], ()),
    ],
)
def test_columns_of_csv(texts, column):
    assert from_texts(texts) == column
    assert [type(value) for value in from_texts(texts)] == [type(value) for value in column]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([("a", (1,))], "expected at most 99 columns by name"),
        ({f"a{number}": (1,) for number in range(100)}, "expected at most 99 columns by name"),
        ({"a b": (1,)}, "'a b' cannot name a column"),
        ({"labels": (1,)}, "'labels' cannot name a column"),
        ({"RowId": (1,)}, "'RowId' cannot name a column"),
        ({"a": (1,), "A": (1,)}, "'A' cannot name a column"),
        ({7: (1,)}, "7 cannot name a column"),
        ({"a": [1]}, "a: expected a tuple of 1 values"),
        ({"a": (1, 2)}, "a: expected a tuple of 1 values"),
        ({"a": (math.nan,)}, "a row 0: expected a number, a text, texts or None, got nan"),
        ({"a": (True,)}, "got True"),
        ({"a": (2**63,)}, "got 9223372036854775808"),
        ({"a": (("",),)}, "a row 0"),
        ({"a": (("x\x1fy",),)}, "a row 0"),
        ({"a": ("\0",)}, "a row 0"),
        ({"a": (b"x",)}, "a row 0"),
    ],
)
def test_what_no_data_set_holds(attributes, message):
    with pytest.raises(DataError, match=message):
        check_attributes(attributes, 1)


@pytest.mark.parametrize(
    ("text", "message"), [("[1", "x: not JSON"), ("3", "x: expected a JSON list, got int")]
)
def test_what_is_no_column(text, message):
    with pytest.raises(DataError, match=message):
        from_text(text, "x")
