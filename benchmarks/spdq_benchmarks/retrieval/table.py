"""The means of a run for people, in Markdown, and all of them for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from spdq_benchmarks.retrieval.cells import FLOATS, Cell, Record, Results, Topic

CROSS_MODAL = ("i2t", "t2i")


def table(records: Iterable[Record]) -> str:
    """A table for each data set, split and label set: rows are a method's codes of one length, cells mean (deviation).

    Where labels decide, the columns are each protocol from image to text and back. The curve, and units as databases,
    are left to the report.
    """
    results = Results(records)
    parts = []
    for (dataset, split, labels), topics in groupby(results.topics, key=lambda topic: topic[:3]):
        shown = [topic for topic in topics if topic.protocol != "pr-curve"]
        columns = [(t, d) for t in shown for d in results.directions(t) if t.is_instance or d in CROSS_MODAL]
        if not columns:
            continue
        heads = ["method", "coding", *(f"{topic.protocol} {direction}" for topic, direction in columns)]
        parts += [f"### {', '.join(filter(None, (dataset, split, labels)))}", ""]
        parts += [_row(heads), _row(["---", "---", *["---:"] * len(columns)])]
        parts += [_row(row) for row in _rows(results, columns)]
        parts.append("")
    return "\n".join(parts).rstrip()


def means(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Every figure as its values over seeds, their mean and their deviation; None where no query counts."""
    results = Results(records)
    found = []
    for topic in results.topics:
        for method in results.judged(topic):
            for bits in (FLOATS, *results.bits):
                for direction in results.directions(topic):
                    cell = results.cell(topic, direction, method, bits)
                    if cell is not None:
                        found.append(
                            {
                                **topic._asdict(),
                                "method": method,
                                "coding": "codes" if bits else "vectors",
                                "bits": bits,
                                "direction": direction,
                                "seeds": [run.seed for run in cell.runs],
                                "values": [_number(run.value) for run in cell.runs],
                                "mean": _number(cell.mean),
                                "deviation": _number(cell.deviation),
                            }
                        )
    return found


def _rows(results: Results, columns: list[tuple[Topic, str]]) -> Iterable[list[str]]:
    for method in results.judged(columns[0][0]):
        for bits in (FLOATS, *results.bits):
            cells = [results.cell(topic, direction, method, bits) for topic, direction in columns]
            if any(cells):
                yield [method, f"{bits} bits" if bits else "float vectors", *map(_cell, cells)]


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return ""
    deviation = f" ({cell.deviation:.3f})" if len(cell.runs) > 1 else ""
    return f"{cell.mean:.3f}{deviation}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
