"""Tables of a report before they are Markdown or HTML: what stands in which cell, and what has to be said with it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spdq.evaluation import parse_protocol
from spdq_benchmarks.findings import DIRECTION_NAMES
from spdq_benchmarks.retrieval.cells import DEFAULT, FLOATS, Cell, Results, Topic
from spdq_benchmarks.retrieval.comparisons import Comparison, Comparisons

ABOVE, BELOW = "▲", "▼"
MARKS = {1: BELOW, -1: ABOVE, 0: ""}
"""By a comparison's verdict: how the other method stands to our default recipe."""
SPLITS = {
    "seen": "the database was trained on",
    "unseen": "the database was not trained on: the figure for new items",
    "heldout": "the database is every item, the queries' own items were not trained on",
    "trained": "every item is a query and in the database, and was trained on",
    "queries": "the database is the queries' own items",
}
NO_FIGURE = "–"


@dataclass(frozen=True)
class Entry:
    """One cell of a table."""

    text: str
    spread: str = ""
    """Standard deviation over seeds; empty for a single seed."""
    strong: bool = False
    """The best of its column."""
    mark: str = ""
    """ABOVE or BELOW our default recipe, significantly."""


@dataclass(frozen=True)
class Sheet:
    """One table. A head is (group, name); heads of one group stand side by side."""

    title: str
    about: str
    corner: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    is_text: bool = False
    """Whether its cells are words, which stand at the left of a column."""


def figure_sheets(
    results: Results, topic: Topic, comparisons: Comparisons, directions: Sequence[str]
) -> list[Sheet]:
    """A table of codes, and one of the float vectors where methods rank by such; both of one topic."""
    if not directions:
        return []
    by_code = [(direction, bits) for direction in directions for bits in results.bits]
    by_vector = [(direction, FLOATS) for direction in directions]
    sheets = []
    for columns, methods, title in (
        (by_code, results.judged(topic), topic_title(topic)),
        (by_vector, results.judged(topic, FLOATS), f"{topic_title(topic)}: float vectors, no codes"),
    ):
        methods = [m for m in methods if any(results.cell(topic, d, m, bits) for d, bits in columns)]
        if methods:
            cells = [[results.cell(topic, d, method, bits) for d, bits in columns] for method in methods]
            best = [_best(column) for column in zip(*cells, strict=True)]
            rows = [
                _figure_row(results, topic, method, columns, row, best, comparisons)
                for method, row in zip(methods, cells, strict=True)
            ]
            heads = [(direction_name(d), f"{bits} bits" if bits else "vectors") for d, bits in columns]
            about = topic_about(results, topic, columns)
            sheets.append(Sheet(title, about, "method", tuple(heads), tuple(rows)))
    return sheets


def difference_sheet(results: Results, topic: Topic, comparisons: Comparisons) -> Sheet | None:
    """Our default recipe less every other method at 64 bits, by query, in the main directions; None where it was not
    compared."""
    directions = [
        d for d in results.main_directions(topic) if any(key[:2] == (topic, d) for key in comparisons)
    ]
    methods = [m for m in results.judged(topic) if any((topic, d, m) in comparisons for d in directions)]
    if not methods:
        return None
    rows = [
        (method, tuple(e for d in directions for e in _difference(comparisons.get((topic, d, method)))))
        for method in methods
    ]
    heads = [
        (direction_name(d), name)
        for d in directions
        for name in ("difference [95 %]", "corrected p", "seeds")
    ]
    about = f"{DEFAULT} less the method, {results.reference} bits, {topic.dataset}: {SPLITS.get(topic.split, '')}."
    return Sheet(topic_title(topic), about, "method", tuple(heads), tuple(rows))


def topic_title(topic: Topic) -> str:
    """``map@all, seen, labels group``."""
    labels = f", labels {topic.labels.rstrip(':')}" if topic.labels else ""
    return f"{topic.protocol}, {topic.split}{labels}"


def topic_about(results: Results, topic: Topic, columns: Sequence[tuple[str, int]]) -> str:
    """Data set, what the split means, numbers of queries, the protocol's definition, and how far ties reach.

    ``columns`` are the directions and bits spoken of, with a figure at least in one.
    """
    cells = [
        cell
        for direction, bits in columns
        for method in results.judged(topic)
        if (cell := results.cell(topic, direction, method, bits))
    ]
    runs = [run for cell in cells for run in cell.runs]
    queries, empty = max(run.queries for run in runs), max(run.empty for run in runs)
    without = f" ({empty:,} without a relevant item)" if empty else ""
    widest = max((run.highest - run.lowest for run in runs if run.highest > run.lowest), default=0.0)
    meaning = SPLITS.get(topic.split, "")
    return (
        f"{topic.dataset}; {topic.split}{f': {meaning}' if meaning else ''}; {queries:,} queries{without}. "
        f"{topic.protocol}: {_definition(topic.protocol)}. Widest range of ties: {number(widest)}."
    )


def _definition(name: str) -> str:
    """The protocol's definition with its number filled in."""
    protocol = parse_protocol(name)
    return (
        re.sub(r"\b[Rn]\b", str(protocol.cut), protocol.definition) if protocol.cut else protocol.definition
    )


def direction_name(direction: str) -> str:
    """``image → text``."""
    return DIRECTION_NAMES.get(direction, direction)


def number(value: float) -> str:
    """Three decimals without the leading zero."""
    if math.isnan(value):
        return "undefined"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(float(text)) < 1 else text


def signed(value: float) -> str:
    """As ``number``, with its sign."""
    return "undefined" if math.isnan(value) else f"{'-' if value < 0 else '+'}{number(abs(value))}"


def figure_entry(cell: Cell | None, strong: bool = False, mark: str = "") -> Entry:
    """Mean, and deviation where there are several seeds."""
    if cell is None:
        return Entry(NO_FIGURE)
    return Entry(number(cell.mean), number(cell.deviation) if len(cell.runs) > 1 else "", strong, mark)


def _figure_row(
    results: Results,
    topic: Topic,
    method: str,
    columns: Sequence[tuple[str, int]],
    cells: Sequence[Cell | None],
    best: Sequence[str],
    comparisons: Comparisons,
) -> tuple[str, tuple[Entry, ...]]:
    entries = []
    for (direction, bits), cell, highest in zip(columns, cells, best, strict=True):
        compared = comparisons.get((topic, direction, method)) if bits == results.reference else None
        mark = MARKS[compared.verdict] if compared else ""
        entries.append(figure_entry(cell, cell is not None and number(cell.mean) == highest, mark))
    return method, tuple(entries)


def _difference(compared: Comparison | None) -> tuple[Entry, Entry, Entry]:
    if compared is None:
        return Entry(NO_FIGURE), Entry(NO_FIGURE), Entry(NO_FIGURE)
    found = compared.difference
    span = f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"
    p = "< .001" if compared.p < 0.0005 else number(compared.p)
    return Entry(span, mark=MARKS[compared.verdict]), Entry(p), Entry(str(found.seeds))


def _best(cells: Iterable[Cell | None]) -> str:
    """The highest mean as it is printed: what prints alike is best alike."""
    means = [cell.mean for cell in cells if cell and not math.isnan(cell.mean)]
    return number(max(means)) if means else ""
