"""Sums of bytes never let a row slip that is within the limit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import cpu
from spdq_kernels.cpu import bounds, lookups
from spdq_kernels.cpu.blocks import Query


def quantized(tables, limit, offset=0.0):
    """A query with the bytes of its tables for a limit, and the largest sum that goes with it."""
    frozen = tables.copy()
    frozen.flags.writeable = False
    lowest, small = np.empty(len(tables), np.float32), np.empty(tables.size, np.uint8)
    query = Query(frozen, lowest, np.zeros(3), small, np.arange(1), np.float32(offset))
    cpu.compiled("find_lowest")(query)
    return query, cpu.compiled("quantize")(0, query, np.float32(limit))


def plain(small, n_words):
    """Bytes of tables as they are looked up: differences added up again."""
    tables = small.reshape(-1, n_words).copy()
    if lookups.DIFFERENCES and n_words == 256:
        for half in (0, 128):
            for row in range(half + 16, half + 128, 16):
                tables[:, row : row + 16] ^= tables[:, row - 16 : row]
    return tables.astype(np.int64)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 9999),
    n_tables=st.sampled_from([1, 2, 8, 40]),
    n_words=st.sampled_from([16, 256]),
    scale=st.sampled_from([1e-44, 1e-30, 1e-3, 1.0, 1e8, 1e36]),
    shift=st.sampled_from([0.0, 1.0, -1.0, 1e3, 1e7]),
    infinite=st.booleans(),
    rank=st.sampled_from([0, 3, 100, 499]),
    offset=st.sampled_from([0.0, 1.0, -1e2, 1e4, -1e7, 1e10]),
)
def test_no_row_within_the_limit_is_filtered(seed, n_tables, n_words, scale, shift, infinite, rank, offset):
    random = np.random.default_rng(seed)
    tables = ((random.random((n_tables, n_words)) + shift) * scale).clip(-1e36, 3e38).astype(np.float32)
    if infinite:
        tables[:, n_words // 2 :] = np.inf
    codes = random.integers(0, n_words // 2 if infinite else n_words, (500, n_tables))
    offset = np.float32(np.clip(offset * scale, -1e35, 1e38))
    distances = np.full(500, offset)
    with np.errstate(over="ignore"):
        for m in range(n_tables):
            distances += tables[m, codes[:, m]]
    limit = np.sort(distances)[rank]
    query, most = quantized(tables, limit, offset)
    sums = np.minimum(plain(query.small, n_words)[np.arange(n_tables), codes].sum(axis=1), 255)
    assert (sums[distances <= limit] <= most).all()

    nearer = np.sort(distances)[rank // 2]
    most = cpu.compiled("tighten")(0, query, nearer)
    sums = np.minimum(plain(query.small, n_words)[np.arange(n_tables), codes].sum(axis=1), 255)
    assert (sums[distances <= nearer] <= most).all()


def test_the_filter_keeps_most_rows_out():
    random = np.random.default_rng(0)
    tables = random.random((8, 256)).astype(np.float32)
    codes = random.integers(0, 256, (20_000, 8))
    distances = tables[np.arange(8), codes].sum(axis=1, dtype=np.float32)
    limit = np.sort(distances)[100]
    query, most = quantized(tables, limit)
    sums = plain(query.small, 256)[np.arange(8), codes].sum(axis=1)
    assert 101 <= (sums <= most).sum() <= 150


@pytest.mark.parametrize("n_words", [16, 256])
def test_tables_of_two_parts(n_words):
    random = np.random.default_rng(1)
    parts = random.standard_normal((2, 6, n_words)).astype(np.float32)
    frozen = np.empty((6, n_words), np.float32)
    frozen.flags.writeable = False
    query = Query(
        *(frozen, np.empty(6, np.float32), np.zeros(3)),
        *(np.empty(6 * n_words, np.uint8), np.arange(1), np.float32(7)),
    )
    cpu.compiled("add_parts")(query, parts[0].ctypes.data, parts[1].ctypes.data)
    summed = parts[0] + parts[1]
    assert np.array_equal(query.tables, summed)
    assert np.array_equal(query.lowest, summed.min(axis=1))
    assert query.bound[bounds.BASE] == 7 + query.lowest.astype(np.float64).sum()


def test_without_a_limit_everything_passes():
    query, most = quantized(np.ones((2, 16), np.float32), np.inf)
    assert most == bounds.EVERYTHING
    assert not query.small.any()


def test_a_limit_nothing_reaches():
    tables = np.ones((2, 16), np.float32)
    tables[:, 3] = 2
    query, most = quantized(tables, 1.5)
    assert plain(query.small, 16)[:, 3].tolist() == [255, 255]
    assert most == 254


@pytest.mark.parametrize("entry", [np.inf])
def test_tables_of_infinite_entries(entry):
    query, _ = quantized(np.full((2, 16), entry, np.float32), 7.0)
    assert (plain(query.small, 16) == 255).all()
