"""The guess a scan starts from, and what happens when it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spdq_kernels import cpu, pack_codes, reference
from spdq_kernels.cpu import block_scan, pilot
from spdq_kernels.scanning import scan_all
from spdq_kernels.search import _table_queries


def counted(tables, codes, k):
    """A scan's result and its counters."""
    counters = np.zeros(3, np.int64)
    blocks = pack_codes(codes)
    found = scan_all(_table_queries(tables), blocks, len(codes), min(k, len(codes)), [], 1, counters)
    expected = reference.scan(tables, blocks, len(codes), k)
    for a, b in zip(found, expected, strict=True):
        assert a.tobytes() == b.tobytes()
    return counters


def line(n_rows):
    """One table and codes whose distance is the row divided by 256, nearest first."""
    tables = np.zeros((1, 3, 256), np.float32)
    tables[0, 0], tables[0, 1] = np.arange(256), np.arange(256) * 256
    rows = np.arange(n_rows)
    return tables, np.stack([rows % 256, rows // 256 % 256, rows * 0], axis=1).astype(np.uint8)


@pytest.mark.parametrize(("expected", "k"), [(0.01, 10), (0.16, 10), (1.6, 100), (16.0, 1000), (490.0, 9999)])
def test_the_rank_is_the_smallest_that_is_rarely_too_low(expected, k):
    rank = cpu.compiled("rank_of")(expected, k)

    def at_least(j):
        return 1 - sum(math.exp(-expected + i * math.log(expected) - math.lgamma(i + 1)) for i in range(j))

    assert at_least(rank) <= pilot.TOO_LOW * 1.0001
    assert rank == 1 or at_least(rank - 1) > pilot.TOO_LOW * 0.9999


def test_the_rank_of_a_large_sample():
    assert 1000 < cpu.compiled("rank_of")(1000.0, 5000) < 1200
    assert cpu.compiled("rank_of")(1000.0, 900) == 900
    assert cpu.compiled("rank_of")(0.5, 1) == 1


def test_a_guess_saves_evaluations():
    random = np.random.default_rng(0)
    tables = random.random((4, 8, 256)).astype(np.float32)
    codes = random.integers(0, 256, (60_000, 8), np.uint8)
    counters = counted(tables, codes, 10)
    assert counters[block_scan.EVALUATED] < 4 * 900
    assert counters[block_scan.REPEATS] == 0


def test_rows_from_far_to_near_are_not_all_evaluated():
    tables, codes = line(60_000)
    counters = counted(tables, codes[::-1].copy(), 10)
    assert counters[block_scan.EVALUATED] < 6000


def test_a_guess_too_low_is_found_out():
    """All that is sampled is nearer than nearly all others: only few rows lie below the guess."""
    random = np.random.default_rng(1)
    n_blocks = 256
    tables = random.random((1, 2, 256)).astype(np.float32)
    tables[0, 0, 0] = -5
    codes = random.integers(1, 256, (256 * n_blocks, 2), np.uint8)
    count, start, stride, _ = cpu.compiled("sample_of")(n_blocks)
    assert count == n_blocks // pilot.SHARE
    codes.reshape(n_blocks, 256, 2)[start::stride][:count, :5, 0] = 0
    counters = counted(tables, codes, 1000)
    assert counters[block_scan.REPEATS] >= 1


def test_no_guess_is_found_out_at_last():
    """Even the highest rank below k is too low here: only a scan without a limit is sure."""
    random = np.random.default_rng(2)
    tables = random.random((1, 2, 256)).astype(np.float32)
    tables[0, 0, 0] = -5
    codes = random.integers(1, 256, (256 * 64, 2), np.uint8)
    _, start, stride, _ = cpu.compiled("sample_of")(64)
    codes.reshape(64, 256, 2)[start::stride, :, 0] = 0
    n_near = int((codes[:, 0] == 0).sum())
    for k in (n_near - 1, n_near, n_near + 1):
        counted(tables, codes, k)


@pytest.mark.parametrize("n_blocks", [0, 1, 7, 8, 9, 100, 511, 512, 513, 4000, 39_063])
def test_sampled_blocks_are_different_and_there(n_blocks):
    count, start, stride, step = cpu.compiled("sample_of")(n_blocks)
    places, place = [], 0
    for _ in range(count):
        places.append(start + place * stride)
        place = (place + step) % count
    assert len(set(places)) == count <= max(n_blocks // pilot.SHARE, 0)
    assert all(0 <= place < n_blocks for place in places)


@pytest.mark.parametrize("n_rows", [1, 64, 1000, 1024, 2048, 2100])
def test_few_rows_need_no_guess(n_rows):
    tables, codes = line(n_rows)
    counted(tables, codes, 5)


def test_a_first_stage_leaves_blocks_alone():
    """Blocks that lie far by their first byte need no second stage."""
    tables, codes = line(60_000)
    counters = counted(tables, codes, 10)
    assert counters[block_scan.DEEP_BLOCKS] < 60_000 / 256 / 2
