import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.data import Split, make_split, random_query_rows, spread_query_rows
from spdq.errors import DataError, UsageError


def rows(*values):
    return np.array(values, np.int64)


def test_seen_searches_what_it_trained_on():
    split = make_split(6, [4, 1], "seen", 0)
    npt.assert_array_equal(split.query, [1, 4])
    npt.assert_array_equal(split.train, [0, 2, 3, 5])
    npt.assert_array_equal(split.database, [0, 2, 3, 5])
    assert not split.queries_trained


@given(st.integers(3, 60), st.data())
@settings(max_examples=40, deadline=None)
def test_unseen_halves_the_rest_and_depends_on_the_seed_alone(n, data):
    n_query = data.draw(st.integers(1, n - 2))
    seed = data.draw(st.integers(0, 2**32))
    query = random_query_rows(n, n_query, seed)
    assert len(np.unique(query)) == n_query
    split, again = make_split(n, query, "unseen", seed), make_split(n, query[::-1], "unseen", seed)
    npt.assert_array_equal(np.sort(np.concatenate([split.query, split.train, split.database])), np.arange(n))
    assert len(split.train) == (n - n_query) // 2
    npt.assert_array_equal(split.train, again.train)
    npt.assert_array_equal(split.database, again.database)


def test_the_seed_changes_the_halves():
    halves = [make_split(100, [0], "unseen", seed).train.tolist() for seed in (0, 1)]
    assert halves[0] != halves[1]


@pytest.mark.parametrize("train_on_queries", [True, False])
def test_paired_database_is_every_row(train_on_queries):
    split = make_split(4, [2], "paired", 0, train_on_queries)
    npt.assert_array_equal(split.database, [0, 1, 2, 3])
    npt.assert_array_equal(split.train, [0, 1, 2, 3] if train_on_queries else [0, 1, 3])
    assert split.queries_trained is train_on_queries


def test_every_row_may_be_a_query_where_queries_are_trained_on():
    split = make_split(2, [0, 1], "paired", 0, train_on_queries=True)
    npt.assert_array_equal(split.train, [0, 1])


def test_known_draws_stay_the_same():
    npt.assert_array_equal(random_query_rows(20, 5, 0), [5, 6, 9, 10, 13])
    npt.assert_array_equal(make_split(12, [0, 1], "unseen", 3).train, [2, 3, 4, 8, 11])
    npt.assert_array_equal(spread_query_rows(list("aabbbbaabbbb"), 4, 0), [0, 3, 4, 9])


@given(st.lists(st.sampled_from(["cat", "dog", "sea", "x"]), min_size=2, max_size=80), st.data())
@settings(max_examples=60, deadline=None)
def test_spread_queries_are_proportional_and_depend_on_the_seed_alone(groups, data):
    n_query = data.draw(st.integers(1, len(groups) - 1))
    seed = data.draw(st.integers(0, 2**32))
    query = spread_query_rows(groups, n_query, seed)
    assert query.dtype == np.int64
    assert len(query) == n_query
    assert (np.diff(query) > 0).all()
    assert 0 <= query[0] <= query[-1] < len(groups)
    for group in set(groups):
        drawn = sum(groups[row] == group for row in query)
        assert abs(drawn - groups.count(group) * n_query / len(groups)) < 1
    npt.assert_array_equal(query, spread_query_rows(groups, n_query, seed))


def test_spread_queries_reach_every_row_alike():
    groups = ["big"] * 6 + ["small"] * 2
    drawn = np.bincount(np.concatenate([spread_query_rows(groups, 2, seed) for seed in range(2000)]))
    # 2000 draws of 2 from 8 rows: 500 a row, standard deviation under 20
    npt.assert_allclose(drawn, 500, atol=100)


def test_one_group_is_a_random_draw():
    draws = {tuple(spread_query_rows(["only"] * 9, 3, seed).tolist()) for seed in range(50)}
    assert len(draws) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, [], "seen", 0), r"expected \(n_query,\) integer rows, got \(0,\)"),
        ((5, [[1]], "seen", 0), r"got \(1, 1\)"),
        ((5, [0.5], "seen", 0), "got .* float64"),
        ((5, [5], "seen", 0), "row 5 is outside the data set's 5 rows"),
        ((5, [-1], "seen", 0), "row -1 is outside"),
        ((5, [1, 1], "seen", 0), "without duplicates, position 1"),
        ((2, [0, 1], "seen", 0), "leave too few rows"),
        ((2, [0, 1], "paired", 0), "leave too few rows"),
        ((3, [0, 1], "unseen", 0), "leave too few rows"),
    ],
)
def test_make_split_refuses_query_rows(arguments, message):
    with pytest.raises(DataError, match=message):
        make_split(*arguments)


def test_make_split_refuses_wrong_arguments():
    with pytest.raises(UsageError, match="expected seen, unseen, paired, got 'both'"):
        make_split(5, [0], "both", 0)
    for kind in ("matched", "clicks"):
        with pytest.raises(UsageError, match=f"expected seen, unseen, paired, got '{kind}'"):
            make_split(5, [0], kind, 0)
    with pytest.raises(UsageError, match="expected 0 or more, got -1"):
        make_split(5, [0], "seen", -1)
    with pytest.raises(UsageError, match='train_on_queries needs kind "paired", got "seen"'):
        make_split(5, [0], "seen", 0, train_on_queries=True)


@pytest.mark.parametrize("n_query", [0, 5, 6])
def test_random_query_rows_leaves_at_least_one_row(n_query):
    with pytest.raises(UsageError, match=f"expected 1 to 4 of 5 rows, got {n_query}"):
        random_query_rows(5, n_query, 0)
    with pytest.raises(UsageError, match="seed"):
        random_query_rows(5, 1, -1)


@pytest.mark.parametrize("n_query", [0, 5, 6])
def test_spread_query_rows_leaves_at_least_one_row(n_query):
    with pytest.raises(UsageError, match=f"n_query: expected 1 to 4 of 5 rows, got {n_query}"):
        spread_query_rows(list("aabbc"), n_query, 0)
    with pytest.raises(UsageError, match="split seed: expected 0 or more, got -1"):
        spread_query_rows(list("aabbc"), 1, -1)
    with pytest.raises(UsageError, match="expected 1 to -1 of 0 rows"):
        spread_query_rows([], 1, 0)


@pytest.mark.parametrize(
    ("train", "database"), [(rows(1, 2), rows(3)), (rows(1, 2), rows(1, 2)), (rows(1, 2), rows(2, 3))]
)
def test_train_and_database_may_overlap_in_any_way(train, database):
    for kind, query in (("matched", rows(0, 5)), ("clicks", rows())):
        split = Split(query, train, database, kind, 0)
        assert not split.queries_trained


@pytest.mark.parametrize(
    ("query", "train", "database", "kind", "message"),
    [
        (rows(0), rows(0, 1), rows(1), "seen", "seen split: 1 rows are both in query and train"),
        (rows(0), rows(1), rows(0, 1), "unseen", "unseen split: 1 rows are both in query and database"),
        (rows(0), rows(1, 2), rows(1), "seen", "1 train rows are not in the database"),
        (rows(0), rows(1, 2), rows(2, 3), "unseen", "1 rows are both in train and database"),
        (rows(0, 1), rows(1, 2), rows(0, 1), "paired", "expected all queries trained on or none, got 1"),
        (rows(0, 1), rows(2), rows(0, 2), "paired", "1 queries are not in the database"),
        (rows(0), rows(0, 1), rows(1), "matched", "matched split: 1 rows are both in query and train"),
        (rows(0), rows(1), rows(0, 2), "matched", "matched split: 1 rows are both in query and database"),
        (rows(), rows(1), rows(1), "matched", "split query is empty"),
        (rows(0), rows(1), rows(1), "clicks", "clicks split: expected no query rows, got 1"),
        (rows(), rows(), rows(1), "clicks", "split train is empty"),
        (rows(), rows(1), rows(), "clicks", "split database is empty"),
        ([], rows(1), rows(1), "clicks", r"split query: expected \(n,\) int64 rows, got list"),
        (rows(), rows(1), rows(1), "seen", "split query is empty"),
        (rows(0), rows(), rows(1), "seen", "split train is empty"),
        (rows(0), rows(1), rows(), "seen", "split database is empty"),
        (rows(0), rows(2, 1), rows(1, 2), "seen", "split train: rows must ascend .* position 1"),
        ([0], rows(1), rows(1), "seen", r"split query: expected \(n,\) int64 rows, got list"),
        (np.array([0]), np.array([1], np.int32), rows(1), "seen", r"split train: .* got \(1,\) int32"),
        (rows(0), rows(1), np.array([[1]]), "seen", r"split database: .* got \(1, 1\) int64"),
    ],
)
def test_split_refuses_rows_that_break_its_kind(query, train, database, kind, message):
    with pytest.raises(DataError, match=message):
        Split(query, train, database, kind, 0)


def test_split_refuses_unknown_kind_and_negative_seed():
    with pytest.raises(
        UsageError, match="split kind: expected seen, unseen, paired, matched, clicks, got 'other'"
    ):
        Split(rows(0), rows(1), rows(1), "other", 0)
    with pytest.raises(UsageError, match="split seed"):
        Split(rows(0), rows(1), rows(1), "seen", -1)
