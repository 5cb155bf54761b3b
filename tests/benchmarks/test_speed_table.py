"""The report as Markdown and as files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from spdq.errors import NotFoundError, StorageError
from spdq_benchmarks.speed.results import Result, SpeedReport
from spdq_benchmarks.speed.table import line, table, write_report

RESULT = Result(
    name="pq 8x8 batch 1M k=10",
    case="pq",
    code="8x8",
    n_rows=1_000_000,
    queries="batch",
    n_queries=128,
    k=10,
    above="faiss IndexPQ",
    below="spdq",
    ratio=20.54,
    lowest=9.876,
    highest=30.0,
    wall_ratio=20.0,
    clock="cpu",
    unit="query",
    above_seconds=0.0041,
    below_seconds=0.0002,
    turns=7,
    threads=1,
    simd_level="avx2",
    agreement=None,
    must=20.0,
    aim=30.0,
    at_most=False,
    reached=True,
)
REPORT = SpeedReport(
    machine={
        "cpu": "A processor",
        "cores": 2,
        "simd_level": "avx2",
        "caches": {"L1": "48K", "L2": "2M"},
        "python": "3.11.1",
        "versions": {"numpy": "2.0", "faiss-cpu": None},
    },
    settings={"repeats": 7},
    read_bandwidth={"L2": 8e10, "DRAM": 1.95e10},
    load_average=(0.5, 1.25),
    absent=("faiss",),
    results=(RESULT,),
)


def last_row(**changes):
    return table(replace(REPORT, results=(replace(RESULT, **changes),))).splitlines()[-1]


def test_a_row():
    assert table(REPORT).splitlines()[-1] == (
        "| 20.5x | at least 20x | yes | pq 8x8 batch 1M k=10 | faiss IndexPQ 4.1 ms, spdq 0.2 ms | 9.88x - 30.0x |  |"
    )


def test_what_was_not_reached_stands_out():
    assert "| 20.5x | at least 25x | **no** |" in last_row(must=25.0, reached=False)


def test_a_ratio_that_must_stay_small():
    assert "| 1.02x | at most 1.05x | yes |" in last_row(ratio=1.02, must=1.05, at_most=True)


def test_no_must():
    assert "| 20.5x |  |  |" in last_row(must=None, reached=None)


def test_bytes_are_shown_as_rates_and_wall_time_is_named():
    shown = last_row(
        unit="byte", above_seconds=1 / 30e9, below_seconds=1 / 24e9, clock="wall", agreement=0.98765
    )
    assert "| faiss IndexPQ 30.0 GB/s, spdq 24.0 GB/s (wall time) |" in shown
    assert shown.endswith("| 0.988 |")


def test_the_facts():
    facts = table(REPORT).splitlines()[:5]
    assert facts[:4] == [
        "- A processor, 2 cores, kernels at avx2; L1 48K, L2 2M",
        "- Python 3.11.1, numpy 2.0; absent: faiss",
        "- Read by one thread: L2 80.0 GB/s, DRAM 19.5 GB/s",
        "- Load average 0.5 at the start, 1.25 at the end",
    ]
    assert "absent: none" in table(replace(REPORT, absent=()))


def test_a_line():
    assert line(RESULT) == (
        "20.5x (must be at least 20x) pq 8x8 batch 1M k=10: faiss IndexPQ 4.1 ms, spdq 0.2 ms"
    )
    assert line(replace(RESULT, must=None)).startswith("20.5x pq 8x8")


def test_files(tmp_path):
    write_report(tmp_path, REPORT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md"]
    assert (tmp_path / "speed.md").read_text() == table(REPORT) + "\n"
    read = json.loads((tmp_path / "speed.json").read_text())
    assert Result(**read["results"][0]) == RESULT
    assert read["load_average"] == [0.5, 1.25]


def test_no_folder(tmp_path):
    with pytest.raises(NotFoundError, match=r"folder not found: .*missing"):
        write_report(tmp_path / "missing", REPORT)


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "speed.md").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*speed\.md: "):
        write_report(tmp_path, REPORT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md"]
