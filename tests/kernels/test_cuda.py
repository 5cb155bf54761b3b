"""The scan on a CUDA device against the reference, bit for bit.

Without a device the simulator runs the kernels as Python: test_cuda_without_device.py starts this file so.
"""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spdq_kernels import pack_codes, reference
from spdq_kernels.row_filter import RowFilter

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip('numba-cuda is not installed: pip install "spdq[cuda]"', allow_module_level=True)

from spdq_kernels.cuda import CudaCodes, codes
from spdq_kernels.cuda.device import SIMULATED, cuda
from spdq_kernels.cuda.kernels import ALL_ROWS, NOTHING

if not cuda.is_available():
    pytest.skip("no CUDA device; NUMBA_ENABLE_CUDASIM=1 simulates one", allow_module_level=True)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small teams, few at once and short lists: little data then takes every path, and a thread is a Python thread."""
    monkeypatch.setattr(codes, "THREADS", 32)
    monkeypatch.setattr(codes, "TEAMS", 3)
    monkeypatch.setattr(codes, "multiprocessors", lambda: 1)
    monkeypatch.setattr(codes, "LEAST_CAPACITY", 16)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # what waits for the other threads gives way to them
    yield
    sys.setswitchinterval(interval)


def make(seed, n_queries, n_rows, n_codebooks, bits=8, whole_numbers=False):
    """Random tables and blocks; with whole numbers from a few values nearly every distance is a tie."""
    random = np.random.default_rng(seed)
    tables = random.standard_normal((n_queries, n_codebooks, 1 << bits)).astype(np.float32)
    if whole_numbers:
        tables = np.rint(tables)
    return tables, pack_codes(random.integers(0, 1 << bits, (n_rows, n_codebooks), np.uint8), bits)


def assert_exact(tables, blocks, n_rows, k, allowed=None):
    found = CudaCodes(blocks, n_rows).scan(tables, k, allowed=allowed)
    for ours, right in zip(found, reference.scan(tables, blocks, n_rows, k, allowed=allowed), strict=True):
        assert ours.dtype == right.dtype
        assert ours.shape == right.shape
        assert ours.tobytes() == right.tobytes()
    return found


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    n_queries=st.integers(0, 6),
    n_rows=st.integers(0, 1200),
    n_codebooks=st.integers(1, 4),
    bits=st.sampled_from([4, 8]),
    k=st.sampled_from([1, 2, 10, 40, 5000]),
    whole_numbers=st.booleans(),
    density=st.sampled_from([None, 0.0, 0.01, 0.5]),
)
def test_equals_the_reference(seed, n_queries, n_rows, n_codebooks, bits, k, whole_numbers, density):
    tables, blocks = make(seed, n_queries, n_rows, n_codebooks, bits, whole_numbers)
    allowed = None
    if density is not None:
        allowed = RowFilter(np.random.default_rng(seed).random(n_rows) < density)
    assert_exact(tables, blocks, n_rows, min(k, 2 * n_rows + 1), allowed)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("n_rows", [1, 15, 16, 256, 257, 512, 1025])
def test_ragged_ends(bits, n_rows):
    assert_exact(*make(n_rows, 2, n_rows, 3, bits), n_rows, 7)


def test_ties_everywhere_come_in_the_order_of_rows():
    blocks = pack_codes(np.full((1500, 2), 7, np.uint8))
    distances, rows = assert_exact(np.ones((2, 2, 256), np.float32), blocks, 1500, 20)
    assert np.array_equal(rows, np.tile(np.arange(20), (2, 1)))
    assert (distances == 2).all()


@pytest.mark.parametrize(
    ("n_queries", "n_codebooks", "bits"), [(2, 8, 8), (2, 19, 8), (1, 33, 8), (2, 131, 4), (1, 16, 4)]
)
def test_more_tables_than_shared_memory_holds(monkeypatch, n_queries, n_codebooks, bits):
    monkeypatch.setattr(codes, "TEAMS", 1)  # one team takes two steps
    assert_exact(*make(1, n_queries, 900, n_codebooks, bits), 900, 9)


def test_infinite_huge_tiny_and_negative_entries():
    tables, blocks = make(2, 4, 700, 3)
    tables[0, :, ::2] = np.inf
    tables[1] = np.abs(tables[1]) * np.float32(2e37)
    tables[2] *= np.float32(1e-43)  # subnormal numbers
    tables[3] = -np.abs(tables[3])
    tables[3, :, ::3] = -0.0
    distances, _ = assert_exact(tables, blocks, 700, 700)
    assert np.isinf(distances[0]).any()
    assert distances[1].max() > 1e38
    tiny = distances[2][distances[2] != 0]
    assert tiny.size
    assert (np.abs(tiny) < np.finfo(np.float32).tiny).all()


def test_each_query_has_its_own_filter():
    n_rows = 800
    tables, blocks = make(3, 9, n_rows, 2, whole_numbers=True)
    rows = np.arange(n_rows)
    one, half, alternating = RowFilter(rows == 799), RowFilter(rows < 400), RowFilter(rows % 2 == 1)
    none, everything = RowFilter(rows < 0), RowFilter(rows >= 0)
    allowed = [none, one, None, half, alternating, everything, half, none, None]
    distances, found = assert_exact(tables, blocks, n_rows, 30, allowed)
    assert (found[0] == -1).all()
    assert found[1].tolist() == [799] + [-1] * 29
    assert np.isinf(distances[1, 1:]).all()
    assert (found[4] % 2 == 1).all()


def test_a_filter_that_allows_nothing_leaves_no_columns():
    tables, blocks = make(4, 2, 300, 2)
    distances, rows = assert_exact(tables, blocks, 300, 5, RowFilter(np.zeros(300, np.bool_)))
    assert distances.shape == rows.shape == (2, 0)


def test_a_k_beyond_one_pass(monkeypatch):
    monkeypatch.setattr(codes, "PASS_KEYS", 16)
    tables, blocks = make(5, 3, 600, 2, whole_numbers=True)
    few = RowFilter(np.arange(600) % 25 == 3)  # 24 rows: the second pass finds some, the third none
    assert_exact(tables, blocks, 600, 50, [None, few, None])
    assert_exact(np.zeros((1, 2, 256), np.float32), blocks, 600, 40)  # the next pass starts at the next row


@pytest.mark.parametrize("k", [60, 61, 1000])
def test_a_k_of_all_rows(k):
    assert_exact(*make(6, 2, 60, 2), 60, k)


def test_a_smaller_k_gives_the_beginning():
    tables, blocks = make(7, 2, 900, 3, whole_numbers=True)
    on_device = CudaCodes(blocks, 900)
    distances, rows = on_device.scan(tables, 64)
    for k in (1, 17, 63):
        some = on_device.scan(tables, k)
        assert np.array_equal(some[0], distances[:, :k])
        assert np.array_equal(some[1], rows[:, :k])


def test_rows_sorted_worst_first():
    tables = np.tile(np.arange(256, 0, -1, dtype=np.float32), (2, 1, 1))
    blocks = pack_codes(np.sort(np.random.default_rng(8).integers(0, 256, (2500, 1), np.uint8), axis=0))
    assert_exact(tables, blocks, 2500, 8)


@pytest.fixture
def scanned(monkeypatch):
    """How many queries each launch of the scan was for."""
    counts, launch = [], codes._launch

    def counted(kernel, grid, *arguments):
        if kernel is codes._merge_kernel():
            counts.append(grid[0])
        launch(kernel, grid, *arguments)

    monkeypatch.setattr(codes, "_launch", counted)
    return counts


def test_more_queries_than_one_launch_takes(monkeypatch, scanned):
    monkeypatch.setattr(codes, "LAUNCH_QUERIES", 4)
    assert_exact(*make(9, 9, 300, 2), 300, 3)
    assert scanned == [4, 4, 1]


def test_filters_beyond_their_memory_come_in_launches_of_a_team(monkeypatch, scanned):
    monkeypatch.setattr(codes, "MASK_BYTES", 1)
    tables, blocks = make(10, 6, 300, 2)
    random = np.random.default_rng(10)
    assert_exact(tables, blocks, 300, 3, [RowFilter(random.random(300) < 0.5) for _ in range(6)])
    assert scanned == [4, 2]


def test_no_rows_and_no_queries():
    tables, blocks = make(11, 2, 0, 3)
    distances, rows = assert_exact(tables, blocks, 0, 5)
    assert distances.shape == rows.shape == (2, 0)
    assert_exact(*make(11, 0, 300, 3), 300, 5)


def test_steps_are_visited_once_each():
    for steps in range(1, 300):
        places = [step * codes._stride(steps) % steps for step in range(steps)]
        assert sorted(places) == list(range(steps))
        # Neighbouring steps lie apart, so that rows sorted from far to near look like any others.
        assert steps < 8 or steps / 4 < codes._stride(steps) < steps


def test_each_list_holds_the_nearest_of_its_part():
    n_rows, k, parts = 1800, 10, 2
    tables, blocks = make(12, 4, n_rows, 2, whole_numbers=True)
    lists = cuda.device_array((parts * 4, 24), np.uint64)
    codes._launch(
        codes._scan_kernel(4, 256),
        (parts, 1),
        cuda.to_device(blocks.reshape(-1)),
        2,
        n_rows,
        1,
        cuda.to_device(tables.reshape(4, -1)),
        cuda.to_device(np.zeros((1, 1), np.uint16)),
        cuda.to_device(np.full(4, ALL_ROWS, np.int32)),
        cuda.to_device(np.zeros(4, np.uint64)),
        k,
        lists,
    )
    distances, rows = codes._distances_and_rows(lists.copy_to_host()[:, :k])
    right = reference.distances(tables, blocks, n_rows)
    steps = np.arange(n_rows) // (codes.THREADS * 16)
    for part in range(parts):
        mine = np.flatnonzero(steps % parts == part)
        for query in range(4):
            nearest = mine[np.argsort(right[query, mine], kind="stable")[:k]]
            assert np.array_equal(rows[part * 4 + query], nearest)
            assert np.array_equal(distances[part * 4 + query], right[query, nearest])


@pytest.mark.parametrize("parts", [1, 3, 40])
def test_merging_lists(parts):
    n_queries, k = 3, 12
    random = np.random.default_rng(parts)
    keys = random.choice(10_000, (4 * parts, 24), replace=parts > 3).astype(np.uint64)
    keys = np.sort(keys * np.uint64(100) + np.arange(4 * parts, dtype=np.uint64)[:, None], axis=1)
    for row in range(4 * parts):  # a list may have found few, or none
        keys[row, random.integers(0, 25) :] = NOTHING
    keys[:4, :k] = np.arange(4 * k).reshape(k, 4).T  # one part has the nearest of all
    nearest = cuda.device_array((n_queries, k), np.uint64)
    merged = cuda.device_array((n_queries, 24), np.uint64)
    codes._launch(codes._merge_kernel(), (n_queries, 1), cuda.to_device(keys), 4, parts, k, merged, nearest)
    right = [np.sort(keys[query::4, :k], axis=None)[:k] for query in range(n_queries)]
    assert np.array_equal(nearest.copy_to_host(), right)


@pytest.mark.parametrize(
    ("tables", "k", "allowed", "error", "match"),
    [
        (np.zeros((2, 3, 256), np.float32), 1, None, ValueError, r"tables must have shape \(nq, 2, 256\)"),
        (np.zeros((2, 2, 256)), 1, None, TypeError, "tables must have dtype float32, not float64"),
        (np.full((1, 2, 256), np.nan, np.float32), 1, None, ValueError, "tables must not contain NaN"),
        (np.zeros((2, 2, 256), np.float32), 0, None, ValueError, "k must be at least 1, not 0"),
        (
            np.zeros((2, 2, 256), np.float32),
            1,
            RowFilter(np.ones(9, np.bool_)),
            ValueError,
            "allowed must be for 300 rows",
        ),
    ],
)
def test_bad_arguments(tables, k, allowed, error, match):
    on_device = CudaCodes(pack_codes(np.zeros((300, 2), np.uint8)), 300)
    with pytest.raises(error, match=match):
        on_device.scan(tables, k, allowed=allowed)


def test_bad_blocks():
    with pytest.raises(ValueError, match="blocks of 999 rows must have shape"):
        CudaCodes(pack_codes(np.zeros((300, 2), np.uint8)), 999)


@pytest.mark.skipif(SIMULATED, reason="the simulator would take hours")
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("k", [10, 1000, 10_000])
def test_a_million_rows_with_the_launches_of_a_device(monkeypatch, bits, k):
    monkeypatch.undo()
    assert_exact(*make(13, 9, 1_000_003, 8, bits), 1_000_003, k)
