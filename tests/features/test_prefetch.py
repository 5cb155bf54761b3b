import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spdq.errors import DataError
from spdq.features.prefetch import AHEAD, prefetched


@given(n=st.integers(0, 40), batch=st.integers(1, 12))
def test_every_row_comes_once_in_order(n, batch):
    lists = list(prefetched(lambda row: row, n, batch))
    assert [row for rows in lists for row in rows] == list(range(n))
    assert all(len(rows) == batch for rows in lists[:-1])


def test_no_more_is_prepared_than_the_next_list():
    prepared = []
    lists = prefetched(prepared.append, 1000, 3)
    next(lists)
    lists.close()
    assert 3 <= len(prepared) <= 3 + AHEAD


def test_one_row_is_prepared_without_a_thread():
    assert list(prefetched(lambda row: threading.current_thread(), 1, 8)) == [[threading.main_thread()]]
    [threads] = prefetched(lambda row: threading.current_thread(), 2, 8)
    assert threading.main_thread() not in threads


def test_an_error_comes_in_its_place_and_ends_the_threads():
    def prepare(row):
        if row == 5:
            raise DataError("row 5 is broken")
        return row

    before = threading.active_count()
    lists = prefetched(prepare, 100, 2)
    assert [next(lists), next(lists)] == [[0, 1], [2, 3]]
    with pytest.raises(DataError, match="row 5 is broken"):
        next(lists)
    assert threading.active_count() == before


def test_a_closed_iterator_leaves_no_thread():
    before = threading.active_count()
    lists = prefetched(lambda row: row, 100, 2)
    next(lists)
    lists.close()
    assert threading.active_count() == before
