"""Scans that need not return rows farther than a bound, and bounds guessed from a sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import RowFilter, filtered, pack_codes, reference, sample_bounds, scan


def make(seed, n_queries, n_rows, bits=8, whole_numbers=False):
    random = np.random.default_rng(seed)
    tables = random.standard_normal((n_queries, 3, 1 << bits)).astype(np.float32)
    codes = random.integers(0, 1 << bits, (n_rows, 3), np.uint8)
    return np.rint(tables) if whole_numbers else tables, pack_codes(codes, bits)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_equals_the_reference_bit_for_bit(data):
    n_rows, n_queries = data.draw(st.sampled_from([0, 1, 300, 5000])), data.draw(st.integers(0, 4))
    bits, k = data.draw(st.sampled_from([4, 8])), data.draw(st.sampled_from([1, 10, 400]))
    tables, blocks = make(data.draw(st.integers(0, 99)), n_queries, n_rows, bits, data.draw(st.booleans()))
    # Bounds on a row's distance, between two, and below and above all.
    around = np.append(
        reference.distances(tables, blocks, n_rows).ravel(), [-99, -0.0, 0, 99, np.inf, -np.inf]
    )
    bounds = np.array([data.draw(st.sampled_from(around)) for _ in range(n_queries)], np.float32)
    share = data.draw(st.sampled_from([None, 0.0, 0.02, 0.5]))
    allowed = None if share is None else RowFilter(np.random.default_rng(1).random(n_rows) < share)
    expected = reference.scan(tables, blocks, n_rows, k, allowed=allowed, bounds=bounds)
    for threads in (1, 3):
        assert_same(scan(tables, blocks, n_rows, k, threads, allowed=allowed, bounds=bounds), expected)


@pytest.mark.parametrize("way", ["mask", "gather", "evaluate"])
def test_each_way_to_filter(monkeypatch, way):
    monkeypatch.setattr(filtered, "way_to_filter", lambda *_: way)
    tables, blocks = make(3, 4, 9000)
    allowed = RowFilter(np.arange(9000) % 40 == 7)
    bounds = reference.scan(tables, blocks, 9000, 30, allowed=allowed)[0][:, 20].copy()
    for some in (allowed, [allowed, None, None, allowed]):
        expected = reference.scan(tables, blocks, 9000, 30, allowed=some, bounds=bounds)
        assert_same(scan(tables, blocks, 9000, 30, allowed=some, bounds=bounds), expected)
    assert (reference.scan(tables, blocks, 9000, 30, allowed=allowed, bounds=bounds)[1][:, 21:] == -1).all()


def test_a_row_on_the_bound_is_returned():
    tables, blocks = make(4, 1, 2000, whole_numbers=True)
    distances, rows = scan(tables, blocks, 2000, 50)
    found = scan(tables, blocks, 2000, 50, bounds=distances[:, -1].copy())
    assert_same(found, (distances, rows))


def test_bounds_of_a_sample_rarely_leave_too_few():
    tables, blocks = make(5, 60, 80_000)
    sample = blocks[::5].copy()
    bounds = sample_bounds(tables, sample, len(sample) * 256, 20, 80_000)
    within = (reference.distances(tables, blocks, 80_000) <= bounds[:, None]).sum(axis=1)
    assert (within >= 20).mean() > 0.95
    assert within.mean() < 200


def test_bounds_of_a_sample_that_is_too_small():
    tables, blocks = make(6, 3, 500)
    assert sample_bounds(tables, blocks[:0], 0, 10, 0).tolist() == [np.inf] * 3
    nobody = RowFilter(np.zeros(500, bool))
    assert sample_bounds(tables, blocks, 500, 10, 9000, allowed=nobody).tolist() == [np.inf] * 3
    everybody = sample_bounds(tables, blocks, 500, 10, 500)
    assert everybody.tolist() == reference.scan(tables, blocks, 500, 10)[0][:, -1].tolist()


@pytest.mark.parametrize(
    ("bounds", "error", "match"),
    [
        ([1.0], TypeError, "bounds must be a numpy array, not list"),
        (np.ones(2), TypeError, "bounds must have dtype float32, not float64"),
        (np.ones(3, np.float32), ValueError, "bounds must be 2, one a query, not 3"),
        (np.array([0, np.nan], np.float32), ValueError, "bounds must not be NaN"),
    ],
)
def test_bad_bounds(bounds, error, match):
    tables, blocks = make(7, 2, 300)
    with pytest.raises(error, match=match):
        scan(tables, blocks, 300, 1, bounds=bounds)
