"""The whole benchmark where no other library is needed; with Faiss it is run by tests/cli/test_bench_speed.py."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from spdq.errors import MissingExtraError, SpdqError, UsageError
from spdq_benchmarks.speed import lower_level, machine, peers
from spdq_benchmarks.speed.bandwidth import LEVELS, reader
from spdq_benchmarks.speed.benchmark import absent_needs, benchmark_speed, needs
from spdq_benchmarks.speed.machine import machine_facts
from spdq_benchmarks.speed.results import Settings, TurnSizes
from spdq_benchmarks.speed.rows import CASES, Row, plan
from spdq_kernels.cpu.simd import FLAGS

TINY = Settings(
    n_rows=(10_000,), repeats=1, sizes=TurnSizes(batch=3, large_batch=3, singles=2, cold_bytes=1000)
)


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)


def test_rows_that_need_what_is_absent_are_left_out_and_it_is_named(nothing_installed):
    lines = []
    report = benchmark_speed(replace(TINY, cases=("pq", "order", "threads", "peers")), say=lines.append)
    assert [result.name for result in report.results] == [
        "order worst first 8x8 single 10k k=10",
        "order worst first 8x8 single 10k k=100",
        "threads 2 against 1 8x8 batch 10k k=10",
        "peers NumPy vectors 8x8 batch 10k k=10",
    ]
    assert set(report.absent) >= {"faiss", "scann", "usearch"}
    assert len(lines) == len(report.results) == 4
    assert set(report.read_bandwidth) == set(LEVELS)


def test_results_say_what_was_compared(nothing_installed):
    (result,) = benchmark_speed(replace(TINY, cases=("threads",))).results
    assert (result.above, result.below) == ("spdq, 1 thread", "spdq, 2 threads")
    assert (result.n_rows, result.n_queries, result.k, result.threads, result.turns) == (10_000, 3, 10, 2, 1)
    assert (result.clock, result.unit, result.must, result.reached) == ("wall", "query", None, None)
    assert result.lowest <= result.ratio <= result.highest
    assert result.ratio == pytest.approx(result.above_seconds / result.below_seconds)


def test_nothing_left_to_measure(nothing_installed):
    with pytest.raises(
        MissingExtraError, match=r'not here: faiss; faiss comes with pip install "spdq\[faiss\]"'
    ):
        benchmark_speed(replace(TINY, cases=("pq", "hamming")))


def test_unknown_case():
    with pytest.raises(UsageError, match="unknown case 'other'"):
        benchmark_speed(replace(TINY, cases=("other",)))


def test_what_rows_need():
    by_detail = {row.detail: needs(row) for row in plan((10_000,), ("peers",))}
    assert by_detail == {
        "NumPy vectors": set(),
        "IndexIVFPQFastScan": {"faiss"},
        "ScaNN": {"scann"},
        "usearch": {"usearch"},
    }
    assert {name for name in CASES if not needs(plan((10_000,), (name,))[0])} == {
        "bandwidth", "filters", "order", "threads", "peers",
    }  # fmt: skip
    assert needs(plan((10_000,), ("avx2",))[0]) == {"faiss", "avx2"}


def test_a_processor_that_cannot_be_forced(nothing_installed):
    assert absent_needs(["neon"]) == ["faiss", "scann", "usearch", "avx2"]
    assert absent_needs(["avx2", "ssse3"]) == ["faiss", "scann", "usearch"]


def test_machine_facts():
    facts = machine_facts()
    assert facts["cpu"]
    assert facts["cores"] >= 1
    assert set(facts["versions"]) == {"spdq", "numpy", "numba", "llvmlite", "faiss-cpu", "scann", "usearch"}
    assert facts["versions"]["numpy"]


def test_a_machine_that_does_not_tell_the_size_of_a_cache(tmp_path, monkeypatch):
    for place, files in enumerate((("level", "type"), ("level", "type", "size"))):
        (tmp_path / f"index{place}").mkdir()
        for name in files:
            (tmp_path / f"index{place}" / name).write_text(
                {"level": "3", "type": "Unified", "size": "32K"}[name]
            )
    monkeypatch.setattr(machine, "CACHES", tmp_path)
    assert machine_facts()["caches"] == {"L3": "32K"}


def test_a_reader_reads_a_small_level_many_times():
    small, large = reader("L2"), reader("L3")
    assert small.units == large.units == 32 << 20
    assert small.prepare(0).nbytes == 1 << 20
    small.run(small.prepare(0))
    own = reader(80_000_000)
    assert (own.name, own.units, own.prepare(0).nbytes) == ("reading 80 MB", 80_000_000, 80_000_000)


@pytest.fixture
def forced():
    """Rows in a process at AVX2."""
    if "avx2" not in FLAGS:
        pytest.skip("this processor has no AVX2 to be forced to")

    def measure(*rows):
        return lower_level.elsewhere(TINY, rows)

    return measure


def test_rows_at_a_forced_level_come_from_a_process_of_their_own(forced):
    (row,) = plan((10_000,), ("threads",))
    (result,) = forced(row)
    assert (result.name, result.simd_level) == (row.name, "avx2")


def test_a_process_that_fails_says_why(forced):
    with pytest.raises(SpdqError, match=r"the process at SIMD level avx2 failed: .*'nonsense'"):
        forced(Row("nonsense", "8x8", 10_000, "batch", 10))


def test_a_process_that_ends_without_a_word(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(SpdqError, match="the process at SIMD level avx2 failed: exit code 1"):
        lower_level.elsewhere(TINY, plan((10_000,), ("avx2",)))
