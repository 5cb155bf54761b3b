from __future__ import annotations

import numpy as np
import pytest

from spdq.errors import DataError
from spdq_benchmarks.retrieval.trainings import TRAININGS, make_splits, protocols_of

QUERY = np.array([0, 5, 7])


@pytest.mark.parametrize("training", TRAININGS)
def test_all_splits_of_a_training_have_its_rows(training):
    splits = make_splits(training, 20, QUERY, 3)
    assert tuple(splits) == TRAININGS[training]
    trained = {tuple(split.train) for split in splits.values()}
    assert len(trained) == 1
    sizes = {"rest": 17, "half": 8, "everything": 20}
    assert {len(rows) for rows in trained} == {sizes[training]}


def test_what_is_searched():
    rest = make_splits("rest", 20, QUERY, 0)
    assert not set(QUERY) & set(rest["seen"].database)
    assert len(rest["heldout"].database) == 20
    np.testing.assert_array_equal(rest["heldout"].query, QUERY)
    assert not rest["heldout"].queries_trained
    np.testing.assert_array_equal(rest["queries"].database, QUERY)
    assert not rest["queries"].queries_trained
    half = make_splits("half", 20, QUERY, 0)["unseen"]
    assert not set(half.train) & set(half.database)
    assert len(half.database) == 9
    trained = make_splits("everything", 20, QUERY, 0)["trained"]
    np.testing.assert_array_equal(trained.query, np.arange(20))
    assert trained.queries_trained


def test_the_seed_draws_the_half():
    halves = [tuple(make_splits("half", 20, QUERY, seed)["unseen"].train) for seed in (0, 0, 1)]
    assert halves[0] == halves[1] != halves[2]


def test_too_few_rows():
    with pytest.raises(DataError, match="leave too few rows to train on and search"):
        make_splits("half", 8, np.arange(7), 0)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("seen", ["map@50", "pr-curve"]),
        ("unseen", ["map@50", "pr-curve"]),
        ("queries", []),
        ("heldout", ["instance-recall@1"]),
        ("trained", ["instance-recall@1"]),
    ],
)
def test_which_protocols_judge_a_split(split, expected):
    asked = ("map@50", "instance-recall@1", "pr-curve")
    assert [protocol.name for protocol in protocols_of(split, asked)] == expected


def test_the_queries_own_items_are_judged_by_map_at_all_only():
    (protocol,) = protocols_of(
        "queries", ("map@50", "map@50/skip", "map@all", "pr-curve", "instance-recall@1")
    )
    assert protocol.name == "map@all"
