"""The limit a query starts from is never too low, and not much too high."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import cpu, lists
from spdq_kernels.cpu.blocks import Query
from spdq_kernels.cpu.list_scan import Lists
from spdq_kernels.lists import reference


def bound_and_distances(tables, codes, offset, k, bits):
    """The bound for one list of these codes, and its rows' distances, sorted."""
    packed = lists.pack(codes, np.zeros(len(codes), np.int64), 1, bits)
    tables.flags.writeable = False
    small = np.empty(packed.n_bytes * (256 if bits == 8 else 32), np.uint8)
    query = Query(
        tables[0],
        np.empty(tables.shape[1], np.float32),
        np.zeros(3),
        small,
        np.arange(packed.n_bytes),
        offset,
    )
    cpu.compiled("find_lowest")(query)
    frozen = [array.view() for array in (packed.blocks.reshape(-1), packed.rows, packed.starts)]
    for array in frozen:
        array.flags.writeable = False
    rows = Lists(frozen[0], packed.n_bytes, frozen[1], frozen[2])
    kernel = cpu.compiled("bound_of_bytes" if bits == 8 else "bound_of_halves")
    found = kernel(rows, packed.words.ctypes.data, query, 0, k)
    probes, offsets = np.zeros((1, 1), np.int64), np.full((1, 1), offset, np.float32)
    with np.errstate(over="ignore"):
        expected, _ = reference.scan(tables, packed, probes, len(codes), offsets=offsets)
    return found, expected[0]


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 9999),
    n_rows=st.sampled_from([1, 64, 100, 900, 4000]),
    n_tables=st.sampled_from([2, 8, 40]),
    bits=st.sampled_from([4, 8]),
    scale=st.sampled_from([1e-44, 1e-30, 1e-3, 1.0, 1e8, 1e33]),
    shift=st.sampled_from([0.0, 1.0, -1.0, 1e3]),
    offset=st.sampled_from([0.0, 1.0, -1e2, 1e4, 1e8]),
    k=st.sampled_from([1, 10, 100, 1000]),
    infinite=st.booleans(),
)
def test_k_rows_lie_within_the_bound(seed, n_rows, n_tables, bits, scale, shift, offset, k, infinite):
    random = np.random.default_rng(seed)
    tables = ((random.random((1, n_tables, 1 << bits)) + shift) * scale).clip(-1e35, 3e38).astype(np.float32)
    if infinite:
        tables[:, :, 5] = np.inf
    codes = random.integers(0, 1 << bits, (n_rows, n_tables), np.uint8)
    start = np.float32(np.clip(offset * scale, -1e34, 1e38))
    bound, distances = bound_and_distances(tables, codes, start, k, bits)
    assert bound == np.inf or (distances <= bound).sum() >= k


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("offset", [0, 100])
def test_few_more_rows_than_that(bits, offset):
    random = np.random.default_rng(0)
    tables = random.random((1, 16, 1 << bits)).astype(np.float32)
    codes = random.integers(0, 1 << bits, (4000, 16), np.uint8)
    bound, distances = bound_and_distances(tables, codes, np.float32(offset), 100, bits)
    assert 100 <= (distances <= bound).sum() < 700


def test_a_list_that_is_too_small_tells_nothing():
    tables = np.ones((1, 2, 256), np.float32)
    bound, _ = bound_and_distances(tables, np.zeros((9, 2), np.uint8), np.float32(0), 10, 8)
    assert bound == np.inf
