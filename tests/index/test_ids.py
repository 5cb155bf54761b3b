from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spdq.errors import DataError
from spdq.index.ids import accept_ids, pack_strings, show_id, sort_keys, take_strings

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))


@given(TEXTS)
def test_strings_come_back(texts):
    ids = accept_ids(texts, len(texts), "str")
    utf8, borders = pack_strings(ids)
    assert utf8.tobytes() == "".join(texts).encode()
    rows = np.arange(len(texts))[::-1].reshape(1, -1)
    assert take_strings(utf8, borders, rows).tolist() == [texts[::-1]]


@given(TEXTS)
def test_keys_order_strings_by_their_bytes(texts):
    ids = accept_ids(texts, len(texts), "str")
    order = np.argsort(sort_keys(ids), kind="stable")
    assert ids[order].tolist() == sorted(texts, key=str.encode)


def test_every_integer_type_is_taken():
    for dtype in (np.int8, np.uint8, np.int64, np.uint64):
        ids = accept_ids(np.array([3, 1], dtype), 2, "int")
        assert (ids.dtype, ids.tolist()) == (np.int64, [3, 1])
    assert accept_ids(np.array(["b", "a"]), 2, "str").tolist() == ["b", "a"]


def test_ids_in_messages():
    assert (show_id(7), show_id('a"7'), show_id(np.int64(7))) == ("7", '"a\\"7"', "7")


@pytest.mark.parametrize(
    ("kind", "ids", "message"),
    [
        ("int", [1.5], "int ids: expected integers, got float64"),
        ("int", [True], "int ids: expected integers, got bool"),
        ("int", ["a"], "int ids: expected integers, got <U1"),
        ("int", [None], "int ids: expected integers, got NoneType"),
        ("int", [2**63], "id 9223372036854775808 does not fit into int64"),
        ("int", [2**64], "id 18446744073709551616 does not fit into int64"),
        ("int", [-(2**63) - 1], "does not fit into int64"),
        ("int", [[1]], r"expected 1 ids, one for each item, got shape \(1, 1\)"),
        ("int", 5, r"got shape \(\)"),
        ("int", [], r"got shape \(0,\)"),
        ("str", [5], "str ids: expected strings, got int"),
        ("str", [b"a"], "str ids: expected strings, got bytes"),
        ("str", [""], "must not be empty"),
        ("str", ["a\0"], r'id "a\\u0000" holds a NUL'),
        ("str", ["\ud800"], r"lone surrogate"),
        ("str", ["é" * 513], "at most 1024 UTF-8 bytes long, got 1026"),
        ("str", "a", r"got shape \(\)"),
        ("str", ["a", "b"], r"expected 1 ids, one for each item, got shape \(2,\)"),
    ],
)
def test_bad_ids(kind, ids, message):
    with pytest.raises(DataError, match=message):
        accept_ids(ids, 1, kind)


def test_the_longest_id():
    assert accept_ids(["é" * 512], 1, "str").tolist() == ["é" * 512]
