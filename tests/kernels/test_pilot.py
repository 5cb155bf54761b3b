"""The guess a scan starts from, and what happens when it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spdq_kernels import cpu, pack_codes, reference
from spdq_kernels.cpu import pilot, scan
from spdq_kernels.search import _scan, _table_queries


def counted(tables, codes, k):
    """A scan's result and its counters."""
    counters = np.zeros(3, np.int64)
    blocks = pack_codes(codes)
    found = _scan(_table_queries(tables), blocks, len(codes), min(k, len(codes)), {}, 1, counters)
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
    rank = cpu.compiled("guess_rank")(expected, k)

    def at_least(j):
        return 1 - sum(math.exp(-expected + i * math.log(expected) - math.lgamma(i + 1)) for i in range(j))

    assert at_least(rank) <= pilot.TOO_LOW * 1.0001
    assert rank == 1 or at_least(rank - 1) > pilot.TOO_LOW * 0.9999


def test_the_rank_of_a_large_sample():
    assert 1000 < cpu.compiled("guess_rank")(1000.0, 5000) < 1200
    assert cpu.compiled("guess_rank")(1000.0, 900) == 900
    assert cpu.compiled("guess_rank")(0.5, 1) == 1


def test_a_guess_saves_evaluations():
    random = np.random.default_rng(0)
    tables = random.random((4, 8, 256)).astype(np.float32)
    codes = random.integers(0, 256, (60_000, 8), np.uint8)
    counters = counted(tables, codes, 10)
    assert counters[scan.EVALUATED] < 4 * 400
    assert counters[scan.REPEATS] == 0


def test_rows_from_far_to_near_are_not_all_evaluated():
    tables, codes = line(60_000)
    counters = counted(tables, codes[::-1].copy(), 10)
    assert counters[scan.EVALUATED] < 1000


def test_a_guess_too_low_is_found_out():
    """All that is sampled is nearer than nearly all others: only few rows lie below the guess."""
    random = np.random.default_rng(1)
    n_groups = 64 * 16
    tables = random.random((1, 2, 256)).astype(np.float32)
    tables[0, 0, 0] = -5
    codes = random.integers(1, 256, (64 * n_groups, 2), np.uint8)
    n_sampled = min(pilot.SAMPLE_GROUPS, n_groups // pilot.SHARE)
    stride = n_groups // n_sampled
    sampled = np.arange(n_sampled) * stride + stride // 2
    codes.reshape(n_groups, 64, 2)[sampled, :3, 0] = 0
    counters = counted(tables, codes, 1000)
    assert counters[scan.REPEATS] >= 1


@pytest.mark.parametrize("n_rows", [1, 64, 1000, 1024, 1100])
def test_few_rows_need_no_guess(n_rows):
    tables, codes = line(n_rows)
    counted(tables, codes, 5)


def test_a_first_stage_leaves_blocks_alone():
    """Blocks that lie far by their first byte need no second stage."""
    tables, codes = line(60_000)
    counters = counted(tables, codes, 10)
    assert counters[scan.DEEP_BLOCKS] < 60_000 / 256 / 2
