from __future__ import annotations

import ctypes
import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import RowFilter, contract, pack_codes, reference, scan


def make(seed, n_queries, n_rows, n_codebooks, whole_numbers=False, bits=8):
    """Random tables and codes; with whole numbers from a few values nearly every distance is a tie."""
    random = np.random.default_rng(seed)
    tables = random.standard_normal((n_queries, n_codebooks, 1 << bits)).astype(np.float32)
    if whole_numbers:
        tables = np.rint(tables)
    return tables, random.integers(0, 1 << bits, (n_rows, n_codebooks), np.uint8)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 999),
    n_queries=st.integers(0, 5),
    n_rows=st.integers(0, 5000),
    n_codebooks=st.integers(1, 9),
    bits=st.sampled_from([4, 8]),
    k=st.sampled_from([1, 2, 10, 100, 1299, 5000]),
    threads=st.sampled_from([1, 2, 3, 7, None]),
    whole_numbers=st.booleans(),
)
def test_equals_the_reference_bit_for_bit(
    seed, n_queries, n_rows, n_codebooks, bits, k, threads, whole_numbers
):
    tables, codes = make(seed, n_queries, n_rows, n_codebooks, whole_numbers, bits)
    blocks = pack_codes(codes, bits)
    expected = reference.scan(tables, blocks, n_rows, k)
    assert_same(scan(tables, blocks, n_rows, k, threads), expected)
    assert expected[0].shape == (n_queries, min(k, n_rows))


@pytest.mark.parametrize(("bits", "n_codebooks"), [(8, 1), (8, 8), (8, 16), (4, 1), (4, 7), (4, 16)])
@pytest.mark.parametrize("k", [1, 10, 1000, 30_000])
def test_more_rows_than_one_tile(bits, n_codebooks, k):
    tables, codes = make(7, 3, 70_000, n_codebooks, bits=bits)
    blocks = pack_codes(codes, bits)
    expected = reference.scan(tables, blocks, 70_000, k)
    for threads in (1, 3, 5):
        assert_same(scan(tables, blocks, 70_000, k, threads), expected)


def test_more_queries_than_one_group():
    tables, codes = make(8, 150, 3000, 2)
    blocks = pack_codes(codes)
    assert_same(scan(tables, blocks, 3000, 5, 1), reference.scan(tables, blocks, 3000, 5))


def test_reference_equals_plain_loops():
    tables, codes = make(5, 2, 300, 3, whole_numbers=True)
    distances, rows = reference.scan(tables, pack_codes(codes), 300, 20)
    for query in range(2):
        pairs = []
        for row, code in enumerate(codes):
            total = np.float32(0)
            for m in range(3):
                total = np.float32(total + tables[query, m, code[m]])
            pairs.append((total, row))
        assert heapq.nsmallest(20, pairs) == list(zip(distances[query], rows[query], strict=True))


def filters(n_rows, seed=0):
    """Masks of all kinds: none, all, one row, every other row, few, most, a range."""
    random = np.random.default_rng(seed)
    rows = np.arange(n_rows)
    return [
        RowFilter(mask)
        for mask in (
            rows < 0,
            rows >= 0,
            rows == n_rows - 1,
            rows % 2 == 0,
            random.random(n_rows) < 0.003,
            random.random(n_rows) < 0.9,
            (rows >= n_rows // 3) & (rows < n_rows // 2),
        )
    ]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("n_rows", [1, 255, 9000])
@pytest.mark.parametrize("whole_numbers", [False, True])
def test_filters(bits, n_rows, whole_numbers):
    tables, codes = make(9, 4, n_rows, 5, whole_numbers, bits)
    blocks = pack_codes(codes, bits)
    for one in filters(n_rows):
        for k in (1, 20, 9000):
            expected = reference.scan(tables, blocks, n_rows, k, allowed=one)
            for threads in (1, 3):
                assert_same(scan(tables, blocks, n_rows, k, threads, allowed=one), expected)
            assert expected[0].shape == (4, min(k, one.count))


@pytest.mark.parametrize("n_rows", [1, 9000])
def test_a_filter_for_each_query(n_rows):
    each = [*filters(n_rows), None, *filters(n_rows, seed=1)]
    each.append(each[3])
    tables, codes = make(10, len(each), n_rows, 3)
    blocks = pack_codes(codes)
    for k in (1, 50, 9000):
        expected = reference.scan(tables, blocks, n_rows, k, allowed=each)
        assert_same(scan(tables, blocks, n_rows, k, 2, allowed=each), expected)
        assert (expected[1][0] == -1).all()
        assert np.isinf(expected[0][0]).all()


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_a_filter_that_is_kept_gets_its_rows_gathered(share):
    tables, codes = make(12, 1, 200_000, 8)
    blocks = pack_codes(codes)
    one = RowFilter(np.random.default_rng(0).random(200_000) < share)
    expected = reference.scan(tables, blocks, 200_000, 5, allowed=one)
    assert_same(scan(tables, blocks, 200_000, 5, 1, allowed=one), expected)
    assert one.compact is None
    for _ in range(20):
        assert_same(scan(tables, blocks, 200_000, 5, 1, allowed=one), expected)
    assert one.compact is not None


@pytest.mark.parametrize("way", ["mask", "gather", "evaluate"])
@pytest.mark.parametrize("bits", [4, 8])
def test_each_way_to_filter(monkeypatch, way, bits):
    from spdq_kernels import filtered, row_filter

    monkeypatch.setattr(filtered, "way_to_filter", lambda *_: way)
    monkeypatch.setattr(row_filter, "FEW", 1)
    tables, codes = make(11, 5, 9000, 6, bits=bits)
    blocks = pack_codes(codes, bits)
    for one in filters(9000):
        for k in (3, 700):
            expected = reference.scan(tables, blocks, 9000, k, allowed=one)
            assert_same(scan(tables, blocks, 9000, k, 2, allowed=one), expected)


def test_gathered_rows_are_kept_with_the_filter(monkeypatch):
    from spdq_kernels import filtered

    monkeypatch.setattr(filtered, "way_to_filter", lambda *_: "gather")
    tables, codes = make(12, 2, 9000, 4)
    one, blocks = RowFilter(np.arange(9000) % 7 == 0), pack_codes(codes)
    scan(tables, blocks, 9000, 3, allowed=one)
    kept = one.compact
    assert kept[1].rows.tolist() == list(range(0, 9000, 7))
    assert np.array_equal(reference.unpack_codes(kept[1].blocks, one.count), codes[::7])
    scan(tables, blocks, 9000, 3, allowed=one)
    assert one.compact is kept
    others = pack_codes(codes[::-1].copy())
    assert_same(
        scan(tables, others, 9000, 3, allowed=one), reference.scan(tables, others, 9000, 3, allowed=one)
    )


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


@pytest.mark.parametrize("k", [1, 50, 3000])
def test_rows_sorted_from_far_to_near(k):
    tables, codes = make(13, 1, 40_000, 3)
    far_first = codes[np.argsort(-reference.distances(tables, pack_codes(codes), 40_000)[0])]
    blocks = pack_codes(far_first)
    assert_same(scan(tables, blocks, 40_000, k), reference.scan(tables, blocks, 40_000, k))


def test_few_different_codes():
    tables, codes = make(14, 3, 20, 4)
    blocks = pack_codes(np.ascontiguousarray(np.tile(codes, (1000, 1))))
    for k in (1, 999, 2500):
        assert_same(scan(tables, blocks, 20_000, k), reference.scan(tables, blocks, 20_000, k))


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-30, 1e30, 1e36])
@pytest.mark.parametrize("shift", [0, 1, -0.9])
def test_huge_and_tiny_entries(scale, shift):
    random = np.random.default_rng(15)
    tables = ((random.random((3, 8, 256)) + shift) * scale).astype(np.float32)
    codes = random.integers(0, 256, (9000, 8), np.uint8)
    blocks = pack_codes(codes)
    assert_same(scan(tables, blocks, 9000, 40), reference.scan(tables, blocks, 9000, 40))


def test_entries_much_larger_than_their_differences():
    """Where rounding decides: the bound must allow for it."""
    random = np.random.default_rng(16)
    tables = (1e6 + random.random((3, 16, 256))).astype(np.float32)
    codes = random.integers(0, 256, (9000, 16), np.uint8)
    blocks = pack_codes(codes)
    assert_same(scan(tables, blocks, 9000, 40), reference.scan(tables, blocks, 9000, 40))


def test_one_entry_far_above_the_others():
    tables, codes = make(17, 2, 9000, 4)
    tables[:, :, 7] = 3e38
    blocks = pack_codes(codes)
    with np.errstate(over="ignore"):
        assert_same(scan(tables, blocks, 9000, 9000), reference.scan(tables, blocks, 9000, 9000))


def test_equal_tables():
    tables, codes = make(18, 2, 9000, 4)
    tables[:] = 0.1
    blocks = pack_codes(codes)
    assert_same(scan(tables, blocks, 9000, 30), reference.scan(tables, blocks, 9000, 30))


def test_negative_zero_is_zero():
    tables = np.zeros((1, 2, 256), np.float32)
    tables[:, :, 1] = -0.0
    codes = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], np.uint8)
    distances, rows = scan(tables, pack_codes(codes), 4, 4)
    assert rows.tolist() == [[0, 1, 2, 3]]
    assert not np.signbit(distances).any()


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
        ({"tables": np.zeros((1, 5, 16), np.float32)}, ValueError, r"or \(nq, 4, 16\) where codes are of 4"),
        ({"n_rows": 1 << 32}, ValueError, "n_rows must be at most 4294967295, not 4294967296: scan parts"),
        ({"allowed": np.ones(10, bool)}, ValueError, "allowed must be one filter or 1, one a query, not 10"),
        ({"allowed": [np.ones(10, bool)]}, TypeError, "allowed must hold RowFilter or None, not ndarray"),
        ({"allowed": RowFilter(np.ones(9, bool))}, ValueError, "allowed must be for 10 rows .* not 9"),
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


@pytest.mark.parametrize("first_row", [1 << 31, (1 << 32) - 1024])
def test_rows_beyond_31_bits(first_row):
    """Only the last few blocks of so many rows exist; the array before them is an address and nothing else."""
    from spdq_kernels.dispatch import compiled
    from spdq_kernels.within import no_limits

    tables, codes = make(20, 2, 1000, 3)
    blocks, first = pack_codes(codes), first_row // 256
    address = blocks.ctypes.data - first * 3 * 256
    whole = np.frombuffer((ctypes.c_uint8 * ((first + 4) * 3 * 256)).from_address(address), np.uint8)
    distances, rows = np.empty((2, 40), np.float32), np.empty((2, 40), np.int64)
    compiled("scan_bytes")(
        tables,
        np.empty((2, 0), np.uint8),
        whole,
        3,
        first_row + 1000,
        first,
        first + 4,
        np.zeros(2, np.int64),
        40,
        0,
        no_limits(2),
        distances,
        rows,
        np.empty(2, np.bool_),
        np.zeros(3, np.int64),
    )
    expected = reference.scan(tables, blocks, 1000, 40)
    assert_same((distances, rows - first_row), expected)
