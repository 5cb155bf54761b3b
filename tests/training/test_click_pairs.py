from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_csm import made_log, were_clicked

from spdq.data.query_items import QueryItems
from spdq.data.splits import Split
from spdq.errors import DataError
from spdq.training.click_pairs import ClickPairs, training_clicks

CLICKS = QueryItems.from_mapping({"a": {0: 1, 4: 10**9}, "b": {1: 3}, "c": {0: 1, 1: 1, 5: 2}})


def split(train):
    every = np.arange(48, dtype=np.int64)
    return Split(np.empty(0, np.int64), np.array(train, np.int64), every, "clicks", 0)


def test_pairs_are_drawn_by_the_logarithm_of_their_clicks():
    drawn = ClickPairs(CLICKS, 6).draw(200_000, np.random.default_rng(0))
    shares = np.bincount(drawn, minlength=6) / len(drawn)
    weights = 1 + np.log([1, 1e9, 3, 1, 1, 2])
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.005)


def test_one_pair_is_drawn_again_and_again():
    pairs = ClickPairs(QueryItems.from_mapping({"a": {3: 10**9}}), 4)
    assert pairs.draw(5, np.random.default_rng(0)).tolist() == [0] * 5


@pytest.mark.parametrize("seed", range(3))
def test_clicked_equals_the_twin(seed):
    random = np.random.default_rng(seed)
    pairs = ClickPairs(CLICKS, 6)
    queries, items = random.integers(3, size=7), random.integers(6, size=9)
    found = pairs.clicked(queries, items)
    assert found.shape == (7, 9)
    np.testing.assert_array_equal(found, were_clicked(CLICKS, queries, items))
    assert pairs.clicked(queries[:0], items).shape == (0, 9)


def test_rows_that_are_not_trained_on_are_left_out():
    dataset = made_log()
    assert training_clicks(dataset) is dataset.clicks
    clicks = training_clicks(dataset.with_split(split(range(0, 12))))
    assert clicks.item.max() == 11
    kept = dataset.clicks.item < 12
    assert len(clicks) == kept.sum()
    texts = {dataset.clicks.queries[q] for q in dataset.clicks.query[kept]}
    assert set(clicks.queries) == texts


def test_what_is_missing_is_said():
    dataset = made_log()
    with pytest.raises(DataError, match=r"needs /clicks, .* log has not: .*`spdq dataset import clicks`"):
        training_clicks(replace(dataset, clicks=None))
    with pytest.raises(DataError, match="training needs /split, which data set log has not"):
        training_clicks(dataset.with_split(None))
    few = replace(dataset, clicks=CLICKS, split=split([40, 41]))
    with pytest.raises(DataError, match="no click of data set log is on a training row: split it otherwise"):
        training_clicks(few)
