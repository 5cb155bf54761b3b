"""The results for people: Markdown, the ratio first and beside it what it must be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spdq.errors import NotFoundError, StorageError
from spdq_benchmarks.speed.results import Result, SpeedReport

JSON_FILE, TABLE_FILE = "speed.json", "speed.md"
HEADS = ("ratio", "must", "reached", "row", "what is compared", "range", "same rows")


def line(result: Result) -> str:
    """One result in one line."""
    must = "" if result.must is None else f" (must be {_must(result)})"
    return f"{_ratio(result.ratio)}{must} {result.name}: {_compared(result)}"


def table(report: SpeedReport) -> str:
    """Markdown: what the figures depend on, then a row for each result."""
    rows = [
        (
            _ratio(result.ratio),
            _must(result),
            {True: "yes", False: "**no**", None: ""}[result.reached],
            result.name,
            _compared(result),
            f"{_ratio(result.lowest)} - {_ratio(result.highest)}",
            "" if result.agreement is None else f"{result.agreement:.3f}",
        )
        for result in report.results
    ]
    return "\n".join([*_facts(report), "", _row(HEADS), _row(["---"] * len(HEADS)), *map(_row, rows)])


def write_report(folder: Path, report: SpeedReport) -> None:
    """Write ``speed.json`` and ``speed.md`` into a folder that exists, each whole or not at all.

    Raises
    ------
    NotFoundError, StorageError
        No such folder; it cannot be written.
    """
    write_files(folder, report.to_json(), table(report))


def write_files(folder: Path, report: dict[str, Any], markdown: str) -> None:
    """``write_report`` of any report, as JSON and as Markdown."""
    from spdq.models.directory import write_bytes

    check_folder(folder)
    files = {JSON_FILE: json.dumps(report, indent=2) + "\n", TABLE_FILE: markdown + "\n"}
    for name, text in files.items():
        try:
            write_bytes(folder / name, text.encode())
        except OSError as error:
            raise StorageError(f"cannot write {folder / name}: {error.strerror}") from error


def check_folder(folder: Path) -> None:
    """Say before the work, not after it, that there is no such folder. Raises NotFoundError."""
    if not folder.is_dir():
        raise NotFoundError(f"folder not found: {folder}")


def _facts(report: SpeedReport) -> list[str]:
    machine = report.machine
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number)
    bandwidth = ", ".join(f"{level} {_rate(1 / speed)}" for level, speed in report.read_bandwidth.items())
    caches = ", ".join(f"{level} {size}" for level, size in machine["caches"].items())
    facts = [
        f"{machine['cpu']}, {machine['cores']} cores, kernels at {machine['simd_level']}; {caches}",
        f"Python {machine['python']}, {versions}; absent: {', '.join(report.absent) or 'none'}",
        f"Read by one thread: {bandwidth}",
        f"Load average {report.load_average[0]} at the start, {report.load_average[1]} at the end",
        f"Median of the ratios of {report.settings['repeats']} or more turns; CPU time, and one thread a side, "
        "where nothing else is said",
    ]
    return [f"- {fact}" for fact in facts]


def _compared(result: Result) -> str:
    show = _rate if result.unit == "byte" else _milliseconds
    sides = f"{result.above} {show(result.above_seconds)}, {result.below} {show(result.below_seconds)}"
    return sides if result.clock == "cpu" else f"{sides} (wall time)"


def _ratio(value: float) -> str:
    return f"{value:.1f}x" if value >= 10 else f"{value:.2f}x"


def _must(result: Result) -> str:
    if result.must is None:
        return ""
    return f"{'at most' if result.at_most else 'at least'} {result.must:g}x"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"


def _rate(seconds: float) -> str:
    return f"{1e-9 / seconds:.1f} GB/s"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
