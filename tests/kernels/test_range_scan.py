from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import RowFilter, pack_codes, range_scan, reference, within


def make(seed, n_queries, n_rows, n_codebooks, bits=8):
    random = np.random.default_rng(seed)
    tables = np.rint(2 * random.standard_normal((n_queries, n_codebooks, 1 << bits))).astype(np.float32)
    return tables, pack_codes(random.integers(0, 1 << bits, (n_rows, n_codebooks), np.uint8), bits)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    n_queries=st.integers(0, 5),
    n_rows=st.integers(0, 3000),
    n_codebooks=st.integers(1, 6),
    bits=st.sampled_from([4, 8]),
    radius=st.sampled_from([-np.inf, -9, -3.0, -0.0, 0, 1e-50, -1e-50, 0.5, 2, 1e300, np.inf]),
    threads=st.sampled_from([1, 2, 7, None]),
    is_filtered=st.booleans(),
)
def test_equals_the_reference_bit_for_bit(
    seed, n_queries, n_rows, n_codebooks, bits, radius, threads, is_filtered
):
    tables, blocks = make(seed, n_queries, n_rows, n_codebooks, bits)
    allowed = RowFilter(np.random.default_rng(seed).random(n_rows) < 0.3) if is_filtered else None
    expected = reference.range_scan(tables, blocks, n_rows, radius, allowed=allowed)
    assert_same(range_scan(tables, blocks, n_rows, radius, threads, allowed=allowed), expected)
    assert expected[0].shape == (n_queries + 1,)


def test_a_distance_equal_to_the_radius_is_outside():
    tables = np.zeros((1, 1, 256), np.float32)
    tables[0, 0] = np.arange(256)
    blocks = pack_codes(np.arange(256, dtype=np.uint8)[:, None].copy())
    limits, distances, rows = range_scan(tables, blocks, 256, 3)
    assert (limits.tolist(), distances.tolist(), rows.tolist()) == ([0, 3], [0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize("threads", [1, 3])
def test_more_hits_than_there_was_room_for(threads):
    tables, blocks = make(3, 2, 5 * within.RANGE_KEYS, 2)
    expected = reference.range_scan(tables, blocks, 5 * within.RANGE_KEYS, 5)
    assert expected[0][1] > 2 * within.RANGE_KEYS
    assert_same(range_scan(tables, blocks, 5 * within.RANGE_KEYS, 5, threads), expected)


def test_a_filter_for_each_query():
    tables, blocks = make(4, 3, 1000, 3)
    each = [None, RowFilter(np.zeros(1000, bool)), RowFilter(np.arange(1000) % 3 == 0)]
    expected = reference.range_scan(tables, blocks, 1000, 1, allowed=each)
    assert_same(range_scan(tables, blocks, 1000, 1, allowed=each), expected)
    assert expected[0][1] == expected[0][2]


@pytest.mark.parametrize(
    ("radius", "error", "match"),
    [
        (np.nan, ValueError, "radius must not be NaN"),
        ("3", TypeError, "radius must be a number, not str"),
        (True, TypeError, "radius must be a number, not bool"),
    ],
)
def test_bad_radius(radius, error, match):
    tables, blocks = make(5, 1, 10, 2)
    with pytest.raises(error, match=match):
        range_scan(tables, blocks, 10, radius)
