from __future__ import annotations

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import contract, pack_codes, reference, scan


def make(seed, n_queries, n_rows, n_codebooks, whole_numbers=False):
    """Random tables and codes; with whole numbers from a few values nearly every distance is a tie."""
    random = np.random.default_rng(seed)
    tables = random.standard_normal((n_queries, n_codebooks, 256)).astype(np.float32)
    if whole_numbers:
        tables = np.rint(tables)
    return tables, random.integers(0, 256, (n_rows, n_codebooks), np.uint8)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    n_queries=st.integers(0, 5),
    n_rows=st.integers(0, 1300),
    n_codebooks=st.integers(1, 9),
    k=st.sampled_from([1, 2, 10, 100, 1299, 5000]),
    threads=st.sampled_from([1, 2, 3, 7, None]),
    whole_numbers=st.booleans(),
)
def test_equals_the_reference_bit_for_bit(seed, n_queries, n_rows, n_codebooks, k, threads, whole_numbers):
    tables, codes = make(seed, n_queries, n_rows, n_codebooks, whole_numbers)
    blocks = pack_codes(codes)
    expected = reference.scan(tables, blocks, n_rows, k)
    assert_same(scan(tables, blocks, n_rows, k, threads), expected)
    assert expected[0].shape == (n_queries, min(k, n_rows))


def test_reference_equals_plain_loops():
    tables, codes = make(5, 2, 300, 3, whole_numbers=True)
    distances, rows = reference.scan(tables, pack_codes(codes), 300, 20)
    for query in range(2):
        pairs = []
        for row, code in enumerate(codes):
            total = tables[query, 0, code[0]]
            for m in (1, 2):
                total = np.float32(total + tables[query, m, code[m]])
            pairs.append((total, row))
        assert heapq.nsmallest(20, pairs) == list(zip(distances[query], rows[query], strict=True))


@pytest.mark.parametrize("whole_numbers", [False, True])
def test_a_smaller_k_gives_the_beginning(whole_numbers):
    tables, codes = make(1, 3, 1000, 4, whole_numbers)
    blocks = pack_codes(codes)
    distances, rows = scan(tables, blocks, 1000, 1000)
    for k in (1, 7, 256, 999):
        assert_same(scan(tables, blocks, 1000, k), (distances[:, :k].copy(), rows[:, :k].copy()))


@pytest.mark.parametrize("threads", [1, 3])
def test_equal_rows_come_in_their_order(threads):
    tables = np.zeros((2, 4, 256), np.float32)
    distances, rows = scan(tables, pack_codes(np.zeros((700, 4), np.uint8)), 700, 300, threads)
    assert not distances.any()
    assert np.array_equal(rows, np.tile(np.arange(300), (2, 1)))


def test_worst_order_of_rows():
    tables = np.tile(np.arange(256, 0, -1, dtype=np.float32), (1, 1, 1))
    codes = np.sort(np.random.default_rng(0).integers(0, 256, (2000, 1), np.uint8), axis=0)
    blocks = pack_codes(codes)
    assert_same(scan(tables, blocks, 2000, 50), reference.scan(tables, blocks, 2000, 50))


def test_padding_and_infinite_entries():
    tables, codes = make(2, 2, 300, 2)
    tables[:, :, 100:] = np.inf
    blocks = pack_codes(codes)
    distances, rows = scan(tables, blocks, 300, 300, 2)
    assert_same((distances, rows), reference.scan(tables, blocks, 300, 300))
    assert np.isinf(distances[:, -1]).all()
    assert np.array_equal(np.sort(rows, axis=1), np.tile(np.arange(300), (2, 1)))


def test_read_only_input():
    tables, codes = make(3, 2, 300, 2)
    blocks = pack_codes(codes)
    blocks.flags.writeable = tables.flags.writeable = False
    assert_same(scan(tables, blocks, 300, 5), reference.scan(tables, blocks, 300, 5))


def test_lowest_entries_never_make_nan():
    tables = np.full((1, 256, 256), contract.LOWEST_DISTANCE, np.float32)
    tables[:, -1, 1:] = np.inf
    codes = np.zeros((2, 256), np.uint8)
    codes[1] = 1
    distances, rows = scan(tables, pack_codes(codes), 2, 2)
    assert np.isfinite(distances[0, 0])
    assert distances[0, 1] == np.inf
    assert rows.tolist() == [[0, 1]]


@pytest.mark.parametrize("entry", [np.nan, -np.inf, -2e36])
def test_tables_with_entries_that_cannot_be_ordered(entry):
    tables, codes = make(4, 2, 10, 2)
    tables[1, 1, 255] = entry
    with pytest.raises(ValueError, match="tables must not contain NaN or entries below -1e"):
        scan(tables, pack_codes(codes), 10, 3)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"tables": np.zeros((1, 2, 255), np.float32)}, ValueError, r"shape \(nq, 2, 256\) to match"),
        ({"tables": np.zeros((1, 3, 256), np.float32)}, ValueError, r"shape \(nq, 2, 256\) to match"),
        ({"tables": np.zeros((1, 2, 256))}, TypeError, "tables must have dtype float32, not float64"),
        ({"tables": np.zeros((2, 256), np.float32)}, ValueError, "tables must have 3 dimensions"),
        (
            {"tables": np.zeros((1, 256, 2), np.float32).transpose(0, 2, 1)},
            ValueError,
            "tables must be C-con",
        ),
        (
            {"blocks": np.zeros((1, 2, 128), np.uint8)},
            ValueError,
            r"blocks of 10 rows must have shape \(1, M",
        ),
        ({"blocks": np.zeros((1, 2, 256), np.int8)}, TypeError, "blocks must have dtype uint8, not int8"),
        ({"blocks": np.zeros((1, 0, 256), np.uint8)}, ValueError, r"with M in 1..256, not \(1, 0, 256\)"),
        ({"n_rows": 257}, ValueError, r"blocks of 257 rows must have shape \(2, M, 256\)"),
        ({"n_rows": -1}, ValueError, "n_rows must be at least 0, not -1"),
        ({"n_rows": 10.0}, TypeError, "n_rows must be an integer, not float"),
        ({"k": 0}, ValueError, "k must be at least 1, not 0"),
        ({"k": 1.5}, TypeError, "k must be an integer, not float"),
        ({"k": True}, TypeError, "k must be an integer, not bool"),
        ({"threads": 0}, ValueError, "threads must be at least 1, not 0"),
        ({"threads": "2"}, TypeError, "threads must be an integer, not str"),
    ],
)
def test_bad_arguments(change, error, match):
    arguments = {
        "tables": np.zeros((1, 2, 256), np.float32),
        "blocks": np.zeros((1, 2, 256), np.uint8),
        "n_rows": 10,
        "k": 3,
        "threads": 1,
    }
    with pytest.raises(error, match=match):
        scan(**(arguments | change))


def test_unaligned_tables():
    raw = np.zeros(2 * 256 * 4 + 1, np.uint8)
    tables = raw[1:].view(np.float32).reshape(1, 2, 256)
    with pytest.raises(ValueError, match="tables must be aligned in memory"):
        scan(tables, np.zeros((1, 2, 256), np.uint8), 10, 3)


def test_any_number_of_threads_is_bounded():
    assert contract.thread_count(10**9) == contract.MAX_THREADS
