"""Filters that are refused: for another index, for another generation, or none at all."""

from __future__ import annotations

import numpy as np
import pytest
from oracles_index import ATTRIBUTES, add_made_up, integer_codebooks, made_up_codes

from spdq.errors import DataError, UsageError
from spdq.index import Index

USES = (
    lambda index, one: index.search(np.zeros(6), filter=one),
    lambda index, one: index.search(np.zeros((2, 6)), filter=[None, one]),
    lambda index, one: index.range_search(np.zeros(6), 9, filter=one),
    lambda index, one: index.range_search(np.zeros((2, 6)), 9, filter=(one, None)),
    lambda index, one: index.select(one),
)


def make(path=None):
    """30 items in 3 segments."""
    settings = {"attributes": ATTRIBUTES}
    index = (
        Index(integer_codebooks(), **settings)
        if path is None
        else Index.create(path, integer_codebooks(), **settings)
    )
    return add_made_up(index, 30, 3)


def test_a_mask_is_for_one_generation():
    index = make()
    masked = index.filter(where="1", mask=np.arange(30) < 5)
    assert index.select(masked).tolist() == [0, 1, 2, 3, 4]
    for change in (
        lambda: index.add_codes(made_up_codes([90]), [90]),
        lambda: index.remove([90]),
        index.compact,
    ):
        masked = index.filter(mask=np.arange(len(index)) < 5)
        assert index.select(masked).tolist() == [0, 1, 2, 3, 4]
        before = index.generation
        change()
        message = (
            f"mask of the filter is for generation {before} of the index, which is now at {before + 1}: make"
        )
        for use in USES:
            with pytest.raises(UsageError, match=message):
                use(index, masked)


def test_a_mask_is_for_one_index(tmp_path):
    """Another index at the same generation would otherwise be searched as if there were no mask."""
    index, other = make(), make()
    masked = index.filter(mask=np.arange(30) < 5)
    make(path=tmp_path / "i").close()
    first, again = Index.open(tmp_path / "i"), Index.open(tmp_path / "i")
    for theirs, mine in ((masked, other), (masked, first), (first.filter(mask=np.ones(30, bool)), again)):
        for use in USES:
            with pytest.raises(UsageError, match="the mask of the filter was made for another index"):
                use(mine, theirs)
    first.verify()
    assert not first.refresh()
    assert first.select(first.filter(mask=np.arange(30) < 2)).tolist() == [0, 1]


def test_a_filter_of_another_index():
    index = make()
    others = [
        Index(integer_codebooks(), ids="str", attributes=ATTRIBUTES),
        Index(integer_codebooks()),
        Index(integer_codebooks(), attributes={"label": "str"}),
        Index(integer_codebooks(seed=1), attributes=ATTRIBUTES),
    ]
    for other in others:
        for one, another in ((index.filter(), other), (other.filter(), index)):
            for use in USES:
                with pytest.raises(UsageError, match="the filter was made for another index"):
                    use(another, one)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"allow": 5}, DataError, r"expected a list of ids, got shape \(\)"),
        ({"allow": [[1]]}, DataError, r"expected a list of ids, got shape \(1, 1\)"),
        ({"allow": [[1], [1, 2]]}, DataError, "expected a list of ids: "),
        ({"allow": ["a"]}, DataError, "this index has int ids: expected integers, got <U1"),
        ({"allow": {1, 2}}, DataError, "expected integers, got set"),
        ({"deny": [1.5]}, DataError, "expected integers, got float64"),
        ({"deny": [None]}, DataError, "expected integers, got NoneType"),
        ({"deny": [2**63]}, DataError, "id 9223372036854775808 does not fit into int64"),
        (
            {"mask": np.ones(29, bool)},
            DataError,
            r"expected a mask of 30 items in the order of their ids, got .*\(29,\)",
        ),
        ({"mask": np.ones((30, 1), bool)}, DataError, r"expected a mask of 30 items .* got shape \(30, 1\)"),
        ({"mask": True}, DataError, r"expected a mask of 30 items .* got shape \(\)"),
        ({"mask": np.ones(30, np.uint8)}, DataError, "expected a mask of bools, got uint8"),
        ({"mask": [1] * 30}, DataError, "expected a mask of bools, got int64"),
        ({"mask": [None] * 30}, DataError, "expected a mask of bools, got object"),
        ({"mask": []}, DataError, "expected a mask of bools, got float64"),
        ({"mask": [[True], [True, False]]}, DataError, "expected a mask of bools: "),
        ({"where": "year >"}, UsageError, r"not a condition: year > \("),
        ({"where": 5}, UsageError, "expected a condition such as"),
    ],
)
def test_filters_that_cannot_be(arguments, error, message):
    index = make()
    with pytest.raises(error, match=message):
        index.filter(**arguments)
    with pytest.raises(DataError, match="str ids: expected strings, got int"):
        Index(integer_codebooks(), ids="str").filter(allow=[5])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (5, "filter must be a condition as text or what Index.filter returns, got int"),
        (b"1", "filter must be a condition as text or what Index.filter returns, got bytes"),
        ([1, 2], "what Index.filter returns, got int"),
        (np.ones(30, bool), "what Index.filter returns, got ndarray"),
        ({"where": "1"}, "what Index.filter returns, got dict"),
        ([], "expected one filter or 3, one a query, got 0"),
        (["1", None], "expected one filter or 3, one a query, got 2"),
        (["1"] * 4, "expected one filter or 3, one a query, got 4"),
        (["1", "year >", None], r"not a condition: year > \("),
        ("", "expected a condition such as"),
    ],
)
def test_arguments_that_are_no_filters(argument, message):
    index = make()
    for use in (
        lambda: index.search(np.zeros((3, 6)), 5, argument),
        lambda: index.range_search(np.zeros((3, 6)), 5, argument),
        lambda: index.search(np.zeros((2, 6)), 5, argument, mix=np.ones((3, 2))),
    ):
        with pytest.raises(UsageError, match=message):
            use()


def test_a_closed_index_filters_no_more():
    index = make()
    one = index.filter(allow=[1])
    index.close()
    for use in (*USES, lambda index, _: index.filter(allow=[1])):
        with pytest.raises(UsageError, match="the index is closed"):
            use(index, one)
