from __future__ import annotations

import numpy as np
import pytest

from spdq.data.query_items import QueryItems
from spdq.training import click_validation, inputs
from spdq.training.click_validation import HeldOutClicks, held_out_queries

CLICKS = QueryItems.from_mapping({"a": {2: 1, 7: 9}, "b": {2: 3}, "c": {9: 1}})


def twin(queries, items, rows, clicks):
    """Mean ndcg@25 by sorting, without ties."""
    values = []
    for number, query in enumerate(queries):
        own = set(clicks.item[clicks.query == number].tolist())
        order = [rows[place] for place in np.argsort(-(items @ query), kind="stable")][:25]
        gained = sum(1 / np.log2(rank + 2) for rank, row in enumerate(order) if row in own)
        values.append(gained / sum(1 / np.log2(rank + 2) for rank in range(min(25, len(own)))))
    return np.mean(values)


def test_the_figure_is_that_of_the_twin():
    random = np.random.default_rng(0)
    held = HeldOutClicks(CLICKS, np.arange(0, 40), 0)
    assert held.queries == ("a", "b", "c")
    queries, items = (random.normal(size=(n, 5)).astype(np.float32) for n in (3, 40))
    (figure,) = held.figure(queries, items).values()
    assert figure == pytest.approx(twin(queries, items, held.items, CLICKS), abs=1e-6)
    assert list(held.figure(queries, items)) == ["ndcg@25"]


def test_many_items_are_sampled_but_the_clicked_ones_stay(monkeypatch):
    monkeypatch.setattr(click_validation, "MAX_ITEMS", 5)
    held = HeldOutClicks(CLICKS, np.arange(40), 3)
    assert {2, 7, 9} <= set(held.items.tolist())
    assert 5 <= len(held.items) <= 8
    np.testing.assert_array_equal(held.items, HeldOutClicks(CLICKS, np.arange(40), 3).items)
    assert held.items.tolist() != HeldOutClicks(CLICKS, np.arange(40), 4).items.tolist()


def test_few_queries_are_all_learned_from():
    learned, held = held_out_queries(2499, 0)
    assert (len(learned), len(held)) == (2499, 0)
    assert held_out_queries(1, 0)[0].tolist() == [0]


@pytest.mark.parametrize(("n", "expected"), [(2500, 125), (20_000, 500), (100_000, 500)])
def test_many_queries_give_some_away(n, expected):
    learned, held = held_out_queries(n, 0)
    assert (len(held), len(learned)) == (expected, n - expected)
    assert not np.intersect1d(learned, held).size
    assert (np.diff(held) > 0).all()


def test_the_share_is_that_of_all_systems(monkeypatch):
    monkeypatch.setattr(inputs, "MIN_ROWS_TO_VALIDATE", 10)
    monkeypatch.setattr(inputs, "VALIDATION_SHARE", 0.2)
    assert len(held_out_queries(20, 0)[1]) == 4
