import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.data import QueryItems
from spdq.data.hold_out import held_out_queries, hold_out
from spdq.errors import DataError, UsageError


@given(st.integers(2, 200), st.floats(0.001, 0.999), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_a_share_of_the_queries(n, share, seed):
    held = held_out_queries(n, share, seed)
    assert held.dtype == np.int64
    assert (np.diff(held) > 0).all()
    assert 0 <= held[0] <= held[-1] < n
    assert 1 <= len(held) < n
    assert abs(len(held) - share * n) <= 1
    assert held.tolist() == held_out_queries(n, share, seed).tolist()


def test_the_seed_decides():
    assert len({tuple(held_out_queries(50, 0.2, seed).tolist()) for seed in range(20)}) > 15
    assert held_out_queries(20, 0.25, 0).tolist() == [5, 6, 9, 10, 13]


def test_refuses():
    for share in (0, 1, -0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=f"more than 0 and less than 1, got {share}"):
            held_out_queries(5, share, 0)
    with pytest.raises(UsageError, match="hold-out seed: expected 0 or more, got -1"):
        held_out_queries(5, 0.5, -1)
    with pytest.raises(DataError, match="1 query cannot be split"):
        hold_out(QueryItems.from_mapping({"cat": {0: 1}}), 0.5, 0)


def test_no_query_is_in_both_and_the_clicked_get_grades():
    log = {f"query {number}": {number: 9, number + 1: 5, number + 2: 4, 90: 1} for number in range(40)}
    kept, grades = hold_out(QueryItems.from_mapping(log), 0.1, 3)
    assert (len(kept.queries), len(grades.queries)) == (36, 4)
    assert {*kept.queries, *grades.queries} == set(log)
    for place, query in enumerate(kept.queries):
        own = kept.query == place
        assert dict(zip(kept.item[own].tolist(), kept.value[own].tolist(), strict=True)) == log[query]
    for place, query in enumerate(grades.queries):
        own, number = grades.query == place, int(query.split()[1])
        graded = dict(zip(grades.item[own].tolist(), grades.value[own].tolist(), strict=True))
        assert graded == {number: 3, number + 1: 3, number + 2: 2, 90: 2}


def test_half_of_the_most_is_excellent():
    log = QueryItems.from_mapping({"even": {0: 4, 1: 2, 2: 1}, "same": {0: 1, 1: 1}, "other": {2: 7}})
    _, grades = hold_out(log.take_queries([0, 2]), 0.5, 1)
    expected = {"even": [3, 3, 2], "other": [3]}
    assert grades.value.tolist() == expected[grades.queries[0]]
    _, grades = hold_out(log.take_queries([1, 1 - 1]), 0.9, 0)
    assert grades.value.tolist() == {"same": [3, 3], "even": [3, 3, 2]}[grades.queries[0]]
