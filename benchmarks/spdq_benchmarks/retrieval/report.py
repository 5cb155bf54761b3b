"""The report of a retrieval run: Markdown, one HTML page, and a compact JSON of all figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from spdq.errors import StorageError
from spdq.models.directory import write_bytes
from spdq_benchmarks.retrieval.cells import Record
from spdq_benchmarks.retrieval.contents import Contents, Part, contents
from spdq_benchmarks.retrieval.figures_json import figures_json
from spdq_benchmarks.retrieval.report_page import render
from spdq_benchmarks.retrieval.sheets import Entry, Sheet

MARKDOWN, PAGE, FIGURES = "report.md", "report.html", "figures.json"


def write_report(records: Sequence[Record], folder: Path, command: str) -> None:
    """Write ``report.md``, ``report.html`` and ``figures.json`` into a folder that exists, each whole or not at all.

    ``records`` are parsed record files; ``command`` is what made them, for the reader to repeat.

    Raises
    ------
    DataError
        No records, two of one job, one data set in two versions, scores of different queries.
    StorageError
        The folder cannot be written.
    """
    found = contents(records, command)
    texts = {MARKDOWN: markdown(found), PAGE: render(found), FIGURES: figures_json(found)}
    for name, text in texts.items():
        try:
            write_bytes(folder / name, text.encode())
        except OSError as error:
            raise StorageError(f"cannot write {folder / name}: {error.strerror}") from error


def markdown(found: Contents) -> str:
    """The report without its charts."""
    lines = ["# Retrieval benchmark", ""]
    for part in found.parts:
        lines += _part(part, 2)
    return "\n".join(lines).rstrip() + "\n"


def _part(part: Part, level: int) -> list[str]:
    lines = [f"{'#' * level} {_escaped(part.title)}", ""]
    for sentence in part.sentences:
        lines += [_escaped(sentence), ""]
    if part.points:
        lines += [*(f"- {_escaped(point)}" for point in part.points), ""]
    for sheet in part.sheets:
        lines += [*_sheet(sheet), ""]
    for inner in part.parts:
        if inner.sentences or inner.points or inner.sheets or inner.parts:
            lines += _part(inner, min(level + 1, 6))
    return lines


def _sheet(sheet: Sheet) -> list[str]:
    heads = [sheet.corner, *(f"{group} {name}".strip() for group, name in sheet.heads)]
    rows = [[_escaped(name), *map(_entry, entries)] for name, entries in sheet.rows]
    return [
        f"**{_escaped(sheet.title)}.** {_escaped(sheet.about)}",
        "",
        _row(map(_escaped, heads)),
        _row(["---", *["---" if sheet.is_text else "---:"] * len(sheet.heads)]),
        *map(_row, rows),
    ]


def _entry(entry: Entry) -> str:
    text = _escaped(entry.text)
    text = f"**{text}**" if entry.strong else text
    return " ".join(filter(None, (text, f"({entry.spread})" if entry.spread else "", entry.mark)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Plain text in Markdown: one line, no markup, no cell borders."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split()))
