"""A report's contents, the same for Markdown and HTML: parts with sentences, tables and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from spdq_benchmarks.retrieval.beside import Beside, beside
from spdq_benchmarks.retrieval.cells import DEFAULT, Record, Results
from spdq_benchmarks.retrieval.comparisons import Comparisons, compare_all
from spdq_benchmarks.retrieval.costs import cost_sheet, dataset_sheet, machine_sentences, seed_sentences
from spdq_benchmarks.retrieval.curves import (
    CURVE,
    drawn_methods,
    length_charts,
    pareto_charts,
    precision_charts,
    recall_charts,
)
from spdq_benchmarks.retrieval.published import load_published
from spdq_benchmarks.retrieval.sheets import (
    ABOVE,
    BELOW,
    Sheet,
    difference_sheet,
    direction_name,
    figure_sheets,
    signed,
)
from spdq_benchmarks.retrieval.significance import LARGE, LEVEL, RESAMPLES
from spdq_benchmarks.retrieval.standing import Standing, is_main, planes, shortfalls, standings, tallies
from spdq_benchmarks.retrieval.standing_sheets import (
    kept_sentences,
    kept_sheet,
    pareto_sentences,
    pareto_sheet,
    shortfall_sheet,
    tally_sheet,
)


@dataclass(frozen=True)
class Part:
    """One heading and what stands under it, in this order."""

    title: str
    sentences: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    """A list, one point a line."""
    charts: tuple[str, ...] = ()
    """Figures of :mod:`spdq_benchmarks.charts`; Markdown leaves them out."""
    sheets: tuple[Sheet, ...] = ()
    parts: tuple[Part, ...] = ()
    is_folded: bool = False
    """Whether the page shows it when asked."""
    is_on_page: bool = True
    """False for what is long and only looked up: the Markdown has it."""


@dataclass(frozen=True)
class Contents:
    """Everything a report says, and what it was made from."""

    command: str
    results: Results
    comparisons: Comparisons
    single: list[Standing]
    """Every column that counts."""
    averaged: list[Standing]
    """Every column of both directions averaged."""
    parts: tuple[Part, ...]


def contents(records: Sequence[Record], command: str) -> Contents:
    """Work out all tables, comparisons and charts of a run.

    Raises
    ------
    DataError
        As :class:`Results`; two methods' scores are of different numbers of queries.
    """
    results = Results(records)
    comparisons = compare_all(results)
    found = tuple(beside(results, load_published()))
    drawn = drawn_methods(results)
    single, averaged = standings(results, averaged=False), standings(results, averaged=True)
    parts = (
        _run_part(results, command),
        _standing_part(results, single, averaged),
        _pareto_part(results, drawn),
        *(_dataset_part(results, name, comparisons, drawn) for name in results.datasets),
        _cost_part(results),
        _published_part(found),
        _difference_part(results, comparisons),
    )
    kept_parts = tuple(part for part in parts if part.sheets or part.parts or part.charts)
    return Contents(command, results, comparisons, single, averaged, kept_parts)


def _run_part(results: Results, command: str) -> Part:
    return Part(
        "What was run",
        (f"Command: {command}", *machine_sentences(results), *seed_sentences(results)),
        sheets=(dataset_sheet(results),),
        parts=(Part("How to read the tables", points=_reading(results)),),
    )


def _reading(results: Results) -> tuple[str, ...]:
    return (
        "A figure is the mean over seeds, behind it in brackets the standard deviation where there are several seeds. "
        "Each is the value expected over random order of tied items. Items are coded from their own features, never "
        "from their own labels.",
        "One table is one protocol. Bold is the best of its column as printed. Float vectors have their own tables.",
        f"{BELOW} significantly below {DEFAULT}, {ABOVE} significantly above it, at {results.reference} bits: "
        "two-sided sign-flip test of the queries' differences, a query's score being its mean over the seeds that both "
        f"methods have ({RESAMPLES:,} flips, or all, or their normal limit from {LARGE:.0f} effective differences on), "
        f"with Holm's correction for the methods of the column, level {LEVEL:g}. It speaks of other queries, not of "
        "other splits or trainings.",
        "Summaries compare two methods on the seeds both have, for a seed also draws the split. One sd is the larger "
        "of their standard deviations over all their seeds; a method with one seed has none.",
    )


def _standing_part(results: Results, single: Sequence[Standing], averaged: Sequence[Standing]) -> Part:
    about = "Codes only: map@50 and map@all of image → text and text → image, instance recall of units."
    sheets = [tally_sheet("Columns of one direction", about, tallies(single))]
    if averaged:
        about = "Label figures; image → text and text → image in one."
        sheets.append(tally_sheet("Columns of both directions averaged", about, tallies(averaged)))
    short = kept_sheet(results)
    parts = [
        _behind_part("both directions averaged", averaged),
        _behind_part("each direction", single),
    ]
    if short:
        parts.append(Part("Short codes", tuple(kept_sentences(results)), sheets=(short,)))
    return Part("Where each method stands", sheets=tuple(sheets), parts=tuple(parts))


def _behind_part(what: str, found: Sequence[Standing]) -> Part:
    gaps = shortfalls(found)
    judged = sum(DEFAULT in dict(order) for _, order in found)
    said = f"{DEFAULT} is below another method by more than one sd in {len(gaps)} of {judged} columns."
    title = f"Where {DEFAULT} is behind, {what}"
    sheets = (shortfall_sheet(f"Columns behind by more than one sd, {what}", gaps),) if gaps else ()
    return Part(title, (said,), sheets=sheets)


def _pareto_part(results: Results, drawn: dict[str, int]) -> Part:
    found = planes(results)
    sheets = [pareto_sheet(list(group)) for _, group in groupby(found, key=lambda plane: plane.labels)]
    sentences = pareto_sentences(found)
    return Part(
        "Labels and the very item at once",
        tuple(sentences[:1]),
        tuple(sentences[1:]),
        tuple(pareto_charts(results, drawn)),
        tuple(sheets),
    )


def _dataset_part(results: Results, name: str, comparisons: Comparisons, drawn: dict[str, int]) -> Part:
    topics = [topic for topic in results.topics if topic.dataset == name and topic.protocol != CURVE]
    main: list[Sheet] = []
    rest: list[Sheet] = []
    others: list[Sheet] = []
    for topic in topics:
        directions = results.main_directions(topic)
        (main if is_main(topic) else rest).extend(figure_sheets(results, topic, comparisons, directions))
        left = [direction for direction in results.directions(topic) if direction not in directions]
        others += figure_sheets(results, topic, comparisons, left)
    parts = (
        Part("Code length", charts=tuple(length_charts(results, name, drawn))),
        Part("Figures", sheets=tuple(main)),
        Part("Precision of the first N", charts=tuple(precision_charts(results, name, drawn))),
        Part("Precision and recall", charts=tuple(recall_charts(results, name, drawn))),
        Part("Other protocols", sheets=tuple(rest), is_on_page=False),
        Part("Other directions", sheets=tuple(others), is_on_page=False),
    )
    return Part(name, parts=tuple(part for part in parts if part.sheets or part.charts))


def _cost_part(results: Results) -> Part:
    sheets = [sheet for name in results.datasets if (sheet := cost_sheet(results, name))]
    return Part("Time and size", sheets=tuple(sheets))


def _published_part(found: Sequence[Beside]) -> Part:
    parts = tuple(
        Part(
            f"{entry.dataset} beside {entry.table.source}",
            tuple(_published_sentences(entry)),
            tuple(f"Known of the table: {error}" for error in entry.table.errors),
            sheets=(entry.sheet,) if entry.sheet else (),
            is_folded=bool(entry.reasons),
        )
        for entry in found
    )
    said = (
        "Published figures and ours never share a column. Where sizes, protocols or trained rows differ, a difference "
        "says nothing about the methods and is not given."
    )
    return Part("Published figures beside ours", (said,), parts=parts)


def _published_sentences(entry: Beside) -> list[str]:
    sentences = []
    if entry.reasons:
        sentences.append(f"Not comparable. {'; '.join(entry.reasons)}.")
    elif entry.sheet:
        sentences.append(
            "Comparable: sizes, protocol and what was trained on are the same; features as stated."
        )
    for (method, direction), value in entry.differences.items():
        sentences.append(f"{method}, {direction_name(direction)}: {signed(value)} from the published figure.")
    if entry.missing:
        sentences.append(f"Not measured in this run: {', '.join(entry.missing)}.")
    return sentences


def _difference_part(results: Results, comparisons: Comparisons) -> Part:
    sheets = tuple(
        sheet
        for topic in results.topics
        if is_main(topic) and (sheet := difference_sheet(results, topic, comparisons))
    )
    said = (
        f"{DEFAULT} less each method, mean over queries with its 95 % interval (Student's t), and the corrected p of "
        "the sign-flip test."
    )
    return Part(f"Paired differences at {results.reference} bits", (said,), sheets=sheets, is_on_page=False)
