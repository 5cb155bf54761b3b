from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import RowFilter, hamming_scan, pack_codes, reference


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 99),
    n_queries=st.integers(0, 5),
    n_rows=st.integers(0, 5000),
    n_bytes=st.sampled_from([1, 2, 8, 16]),
    k=st.sampled_from([1, 10, 1000, 5000]),
    threads=st.sampled_from([1, 3, None]),
    is_filtered=st.booleans(),
)
def test_equals_the_reference(seed, n_queries, n_rows, n_bytes, k, threads, is_filtered):
    random = np.random.default_rng(seed)
    queries = random.integers(0, 256, (n_queries, n_bytes), np.uint8)
    blocks = pack_codes(random.integers(0, 256, (n_rows, n_bytes), np.uint8))
    allowed = RowFilter(random.random(n_rows) < 0.2) if is_filtered else None
    expected = reference.hamming_scan(queries, blocks, n_rows, k, allowed=allowed)
    assert_same(hamming_scan(queries, blocks, n_rows, k, threads, allowed=allowed), expected)


@pytest.mark.parametrize("n_bytes", [31, 32, 100, 256])
def test_more_bits_than_a_byte_can_count(n_bytes):
    random = np.random.default_rng(n_bytes)
    codes = random.integers(0, 256, (3000, n_bytes), np.uint8)
    queries = np.concatenate([~codes[:2], codes[5:7]])
    blocks = pack_codes(codes)
    for k in (5, 2000):
        expected = reference.hamming_scan(queries, blocks, 3000, k)
        assert_same(hamming_scan(queries, blocks, 3000, k), expected)
    distances, rows = hamming_scan(queries, blocks, 3000, 3000)
    assert distances[0, -1] == 8 * n_bytes
    assert (distances[2, 0], rows[2, 0]) == (0, 5)


def test_distances_are_counts_of_differing_bits():
    codes = np.array([[0b0001, 0], [0b0111, 0b11], [0, 0]], np.uint8)
    distances, rows = hamming_scan(np.array([[0b0011, 0]], np.uint8), pack_codes(codes), 3, 9)
    assert (distances.tolist(), rows.tolist()) == ([[1, 2, 3]], [[0, 2, 1]])


def test_a_query_with_fewer_rows_than_another():
    blocks = pack_codes(np.zeros((10, 1), np.uint8))
    each = [RowFilter(np.arange(10) < 3), RowFilter(np.arange(10) == 4)]
    distances, rows = hamming_scan(np.zeros((2, 1), np.uint8), blocks, 10, 5, allowed=each)
    assert rows.tolist() == [[0, 1, 2], [4, -1, -1]]
    assert distances[1].tolist() == [0, 2**31 - 1, 2**31 - 1]


@pytest.mark.parametrize(
    ("queries", "error", "match"),
    [
        (np.zeros((2, 3), np.uint8), ValueError, "queries must have 2 bytes to match the blocks, not 3"),
        (np.zeros((2, 2), np.int8), TypeError, "queries must have dtype uint8, not int8"),
        (np.zeros(2, np.uint8), ValueError, "queries must have 2 dimensions"),
    ],
)
def test_bad_queries(queries, error, match):
    with pytest.raises(error, match=match):
        hamming_scan(queries, np.zeros((1, 2, 256), np.uint8), 10, 3)
