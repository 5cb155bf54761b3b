"""All figures of a run in one small file: no scores of single queries and no curves (their area is map@all)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from spdq_benchmarks.retrieval.cells import FLOATS, Cell, Record, Results, Topic
from spdq_benchmarks.retrieval.contents import Contents
from spdq_benchmarks.retrieval.curves import CURVE

FORMAT, VERSION = "spdq-retrieval-figures", 1
DIGITS = 4
"""Decimals of the figures."""
FIGURE = ("mean", "deviation", "lowest", "highest")
"""What a figure's list holds, over seeds; lowest and highest under any order of tied items."""
COMPARISON = ("mean", "low", "high", "p", "corrected p", "queries", "seeds")
"""What a comparison's list holds: our default recipe less the method, with its 95 % interval."""


def figures_json(found: Contents) -> str:
    """One JSON object, a line for each table, comparison and job.

    ``figures`` by topic, method, direction and bits, 0 for float vectors, are lists of :data:`FIGURE`;
    ``comparisons`` by topic, direction and method are lists of :data:`COMPARISON`; ``jobs`` have the seeds, settings,
    and by bits the bytes of an item and the mean seconds over seeds.
    """
    results = found.results
    head = {
        "format": FORMAT,
        "version": VERSION,
        "command": found.command,
        "machines": _distinct(record["machine"] for record in results.records),
        "versions": _distinct(record["versions"] for record in results.records),
        "datasets": {record["dataset"]: record["dataset_digest"] for record in results.records},
        "figure": FIGURE,
        "comparison": COMPARISON,
    }
    rows = {
        "figures": [_figures(results, topic) for topic in results.topics if topic.protocol != CURVE],
        "comparisons": _comparisons(found),
        "jobs": _jobs(results),
    }
    parts = [f"{json.dumps(name)}: {_line(value)}" for name, value in head.items()]
    parts += [_named_lines(name, lines) for name, lines in rows.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _figures(results: Results, topic: Topic) -> dict[str, Any]:
    found: dict[str, dict[str, dict[str, list[Any]]]] = {}
    queries, empty = set(), set()
    for method in results.judged(topic):
        for direction in results.directions(topic):
            for bits in (FLOATS, *results.bits):
                cell = results.cell(topic, direction, method, bits)
                if cell:
                    by_bits = found.setdefault(method, {}).setdefault(direction, {})
                    by_bits[str(bits)] = _figure(cell)
                    queries |= {run.queries for run in cell.runs}
                    empty |= {run.empty for run in cell.runs}
    return {**topic._asdict(), "queries": max(queries), "empty": max(empty), "methods": found}


def _figure(cell: Cell) -> list[float | None]:
    n = len(cell.runs)
    lowest, highest = (
        math.fsum(getattr(run, name) for run in cell.runs) / n for name in ("lowest", "highest")
    )
    return _rounded(cell.mean, cell.deviation, lowest, highest)


def _comparisons(found: Contents) -> list[dict[str, Any]]:
    grouped: dict[tuple[Topic, str], dict[str, list[Any]]] = {}
    for (topic, direction, method), one in found.comparisons.items():
        difference = one.difference
        grouped.setdefault((topic, direction), {})[method] = [
            *_rounded(difference.mean, difference.low, difference.high),
            _significant(difference.p),
            _significant(one.p),
            difference.queries,
            difference.seeds,
        ]
    return [
        {**topic._asdict(), "direction": direction, "methods": methods}
        for (topic, direction), methods in grouped.items()
    ]


def _jobs(results: Results) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, str, str], list[Record]] = {}
    for record in results.records:
        grouped.setdefault((record["dataset"], record["training"], record["method"]), []).append(record)
    jobs = []
    for (dataset, training, method), records in grouped.items():
        seconds: dict[str, dict[str, float | None]] = {}
        sizes = {}
        for bits in sorted({_bits(record) for record in records}):
            same = [record for record in records if _bits(record) == bits]
            sizes[str(bits)] = same[0]["code_bytes"]
            seconds[str(bits)] = {
                name: _significant(math.fsum(r["seconds"][name] for r in same) / len(same))
                for name in same[0]["seconds"]
            }
        jobs.append(
            {
                "dataset": dataset,
                "training": training,
                "method": method,
                "seeds": sorted({record["seed"] for record in records}),
                "bytes": sizes,
                "seconds": seconds,
                "settings": records[0]["settings"],
            }
        )
    return jobs


def _bits(record: Record) -> int:
    return FLOATS if record["coding"] == "vectors" else int(record["bits"])


def _rounded(*values: float) -> list[float | None]:
    return [None if math.isnan(value) else round(value, DIGITS) for value in values]


def _significant(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")


def _distinct(found: Iterable[Any]) -> list[Any]:
    kept: list[Any] = []
    for entry in found:
        if entry not in kept:
            kept.append(entry)
    return kept


def _named_lines(name: str, rows: list[dict[str, Any]]) -> str:
    lines = ",\n".join(map(_line, rows))
    return f"{json.dumps(name)}: [\n{lines}\n]"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
