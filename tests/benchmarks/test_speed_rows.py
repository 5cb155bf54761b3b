"""The plan has every row that a figure was stated for."""

from __future__ import annotations

import pytest

from spdq.errors import UsageError
from spdq_benchmarks.speed.rows import CASES, SIZES, TARGETS, Row, Target, plan, short

ALL = tuple(CASES)


def names(sizes=SIZES, cases=ALL):
    return [row.name for row in plan(sizes, cases)]


def test_every_figure_to_reach_has_its_row():
    assert set(TARGETS) <= set(names())


def test_the_figures_are_those_that_were_asked_for():
    stated = {
        "pq 8x8 batch 1M k=10": 20,
        "pq 8x8 batch 10M k=100": 24,
        "single 8x8 1M k=10": 12,
        "cold 8x8 10M k=10": 7,
        "pq 16x8 batch 10M k=10": 25,
        "fastscan 16x4 batch 1M k=1000": 1.7,
        "fastscan 16x4 batch 10M k=10": 3.0,
        "equal-bytes 8x8 batch 1M k=100": 1.6,
        "bandwidth 8x8 cold 10M k=10": 0.6,
        "filters mask 1 % 8x8 batch 1M k=100": 1.05,
        "filters shared 1 % 8x8 batch 1M k=100": 8,
        "filters 0.1 % 8x8 single 1M k=100": 6,
        "order worst first 8x8 single 1M k=100": 4,
        "hamming 64 bits batch 1M k=10": 4,
        "avx2 8x8 batch 1M k=10": 3,
        "threads 2 against 1 8x8 batch 10M k=10": 1.6,
    }
    assert {name: TARGETS[name].must for name in stated} == stated


def test_an_aim_is_no_easier_than_its_must():
    assert all(target.reached(target.aim) for target in TARGETS.values())


def test_reached():
    assert Target(2, 3).reached(2)
    assert not Target(2, 3).reached(1.99)
    assert Target(1.05, 1, at_most=True).reached(1.05)
    assert not Target(1.05, 1, at_most=True).reached(1.06)


def test_names_are_unique_and_sizes_ascend():
    rows = plan([1_000_000, 100_000, 100_000], ALL)
    assert len({row.name for row in rows}) == len(rows)
    assert [row.n_rows for row in rows] == sorted(row.n_rows for row in rows)


def test_a_case_names_all_of_its_rows():
    for case in ALL:
        rows = plan([20_000], [case])
        assert rows
        assert {row.case for row in rows} == {case}


@pytest.mark.parametrize(
    ("case", "sizes"),
    [("pq", SIZES), ("filters", SIZES[:2]), ("threads", SIZES[2:]), ("cold", SIZES[2:])],
)
def test_cases_keep_to_their_sizes(case, sizes):
    assert {row.n_rows for row in plan(SIZES, [case])} == set(sizes)


def test_a_case_for_middle_sizes_takes_the_only_one_there_is():
    assert {row.n_rows for row in plan([10_000_000], ["filters"])} == {10_000_000}


def test_unknown_case():
    with pytest.raises(UsageError, match="unknown case 'nonsense': known are pq, single, "):
        plan(SIZES, ["pq", "nonsense"])


def test_no_sizes():
    with pytest.raises(UsageError, match="sizes must not be empty"):
        plan([], ["pq"])


def test_names():
    assert Row("pq", "8x8", 1_000_000, "batch", 10).name == "pq 8x8 batch 1M k=10"
    assert Row("cold", "8x8", 20_000, "cold", 1).name == "cold 8x8 20k k=1"
    assert [short(n) for n in (12_345, 20_000, 10_000_000)] == ["12345", "20k", "10M"]
