"""Published figures beside ours, where method and data set meet: never in one column, with what sets them apart."""

from __future__ import annotations

from dataclasses import dataclass

from spdq_benchmarks.retrieval.cells import CROSS_MODAL, FLOATS, Results, Topic
from spdq_benchmarks.retrieval.published import Published, PublishedRow, PublishedSet, PublishedTable
from spdq_benchmarks.retrieval.sheets import Entry, Sheet, direction_name, figure_entry, number, signed


@dataclass(frozen=True)
class Beside:
    """One published table beside our records of one data set.

    Attributes
    ----------
    reasons
        Why the two cannot be compared; empty where they can.
    differences
        Where they can: ours less the published figure, by method and direction.
    missing
        Methods of the table that the run could have measured and did not.
    """

    table: PublishedTable
    dataset: str
    sheet: Sheet | None
    reasons: tuple[str, ...]
    differences: dict[tuple[str, str], float]
    missing: tuple[str, ...]


def beside(results: Results, published: Published) -> list[Beside]:
    """Every published table with a data set of the records and a method of ours, at the longest code both have, up to
    64 bits."""
    found = [
        _beside(results, published, table, dataset, letter)
        for dataset in results.datasets
        if (letter := published.letter(dataset))
        for table in published.tables
        if letter in table.sets
    ]
    return [entry for entry in found if entry.sheet or entry.missing]


def _beside(
    results: Results, published: Published, table: PublishedTable, dataset: str, letter: str
) -> Beside:
    topic = _topic(results, table, dataset)
    shared = [bits for bits in table.bits if bits == FLOATS or bits in results.bits]
    bits = max((length for length in shared if length <= results.reference), default=None)
    reasons = _reasons(results, table, table.sets[letter], dataset, topic)
    rows: list[tuple[str, tuple[Entry, ...]]] = []
    differences: dict[tuple[str, str], float] = {}
    missing: list[str] = []
    for row in table.rows:
        ours = published.methods.get(row.method)
        if ours is None or letter not in row.figures:
            continue
        cells = [
            results.cell(topic, direction, ours, bits) if topic and bits is not None else None
            for direction in CROSS_MODAL
        ]
        if topic is None or bits is None or not any(cells):
            missing.append(ours)
            continue
        theirs = [row.figures[letter][direction][table.bits.index(bits)] for direction in CROSS_MODAL]
        entries = [Entry(number(value)) for value in theirs] + [figure_entry(cell) for cell in cells]
        if not reasons:
            found = [cell.mean - value if cell else None for cell, value in zip(cells, theirs, strict=True)]
            differences |= {
                (ours, direction): value
                for direction, value in zip(CROSS_MODAL, found, strict=True)
                if value is not None
            }
            entries += [Entry("–" if value is None else signed(value)) for value in found]
        rows.append((_label(row, ours), tuple(entries)))
    sheet = None
    if rows and topic is not None and bits is not None:
        sheet = _sheet(
            table, table.sets[letter], topic, bits, tuple(rows), published.names[letter], bool(reasons)
        )
    return Beside(table, dataset, sheet, reasons, differences, tuple(dict.fromkeys(missing)))


def _topic(results: Results, table: PublishedTable, dataset: str) -> Topic | None:
    """Our topic nearest to a table: its split and protocol, or map@50 for another cut, all labels in one set."""
    for protocol in (table.nearest, table.nearest.partition("/")[0]):
        topic = Topic(dataset, table.split, "", protocol)
        if topic in results.topics:
            return topic
    return None


def _reasons(
    results: Results, table: PublishedTable, there: PublishedSet, dataset: str, topic: Topic | None
) -> tuple[str, ...]:
    """What differs: sizes, protocol, what was trained on. Features are only named: records do not have them."""
    rest = (r["rows"] for r in results.records if (r["dataset"], r["training"]) == (dataset, "rest"))
    rows = next(rest, None)
    if rows is None:
        return ("nothing here was trained on all items but the queries",)
    here = {"items": rows["query"] + rows["train"], "query": rows["query"], "train": rows["train"]}
    words = {"items": "items", "query": "queries", "train": "training items"}
    reasons = []
    for name, count in here.items():
        published = getattr(there, name)
        if published is None:
            reasons.append(f"{words[name]}: {count:,} here, not stated there")
        elif published != count:
            reasons.append(f"{words[name]}: {count:,} here, {published:,} there")
    protocol = topic.protocol if topic else table.nearest
    if protocol != table.protocol:
        reasons.append(f"protocol: {protocol} here, {table.protocol} there")
    if table.split == "seen" and table.seen != "seen":
        reasons.append(f"database trained on: all of it here, {table.seen} there")
    return tuple(reasons)


def _label(row: PublishedRow, ours: str) -> str:
    features = f", {row.features}" if row.features else ""
    return f"{row.method}{features} / {ours}"


def _sheet(
    table: PublishedTable,
    there: PublishedSet,
    topic: Topic,
    bits: int,
    rows: tuple[tuple[str, tuple[Entry, ...]], ...],
    name: str,
    is_apart: bool,
) -> Sheet:
    length = f"{bits} bits" if bits else "float vectors"
    groups = [
        f"published: {table.protocol}, {name}, {length}",
        f"ours: {topic.protocol}, {topic.dataset}, {topic.split}, {length}",
    ]
    groups += [] if is_apart else ["ours less published"]
    heads = tuple((group, direction_name(direction)) for group in groups for direction in CROSS_MODAL)
    about = f"{table.source}. Features there: {there.features}. Database trained on, there: {table.seen}."
    return Sheet(f"{topic.dataset} and {name}, {length}", about, "published / our method", heads, rows)
