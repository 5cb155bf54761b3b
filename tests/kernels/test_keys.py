"""Keys of (distance, row) and the selection of the smallest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from spdq_kernels import cpu
from spdq_kernels.cpu import keys

DISTANCES = st.floats(allow_nan=False, width=32).map(lambda x: np.float32(x + 0.0))
ROWS = st.integers(0, 2**32 - 1)


@njit
def both_ways(distance, row):
    key = keys.make_key(distance, row)
    return key, keys.key_distance(key), keys.key_row(key)


@settings(max_examples=200, deadline=None)
@given(a=st.tuples(DISTANCES, ROWS), b=st.tuples(DISTANCES, ROWS))
def test_keys_order_like_distance_and_row(a, b):
    (key, distance, row), (other, _, _) = both_ways(*a), both_ways(*b)
    assert (distance, row) == a
    assert (key < other) == (a < b)
    assert key < keys.NO_LIMIT or a == (np.inf, 2**32 - 1)


@pytest.mark.parametrize("order", ["random", "up", "down", "organ pipe"])
@pytest.mark.parametrize("size", [1, 2, 24, 25, 26, 100, 5000])
def test_select_and_sort(size, order):
    values = np.random.default_rng(size).permutation(3 * size).astype(np.uint64)[:size]
    if order != "random":
        values = np.sort(values)[:: -1 if order == "down" else 1].copy()
    if order == "organ pipe":
        values = np.concatenate([values[::2], values[1::2][::-1]])
    expected = np.sort(values)
    for k in {1, size // 2 + 1, size}:
        room = np.concatenate([values, np.zeros(3, np.uint64)])
        cpu.compiled("select")(room, size, k)
        assert room[k - 1] == expected[k - 1]
        assert set(room[:k].tolist()) == set(expected[:k].tolist())
        assert not room[size:].any()
    room = values.copy()
    cpu.compiled("sort")(room, size)
    assert np.array_equal(room, expected)


def test_sorting_nothing():
    cpu.compiled("sort")(np.empty(0, np.uint64), 0)
