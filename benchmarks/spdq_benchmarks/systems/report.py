"""The report of a run over systems: one table a data set, system and coding, and all figures as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from spdq.errors import StorageError
from spdq.evaluation import parse_protocol
from spdq.models.directory import write_bytes
from spdq_benchmarks.findings import DIRECTION_NAMES
from spdq_benchmarks.record_files import Record
from spdq_benchmarks.systems.job import CODES, OWN_CODES, VECTORS
from spdq_benchmarks.systems.studies import EXTREMES, STUDIES
from spdq_benchmarks.systems.trainings import TRAININGS

MARKDOWN, FIGURES = "systems.md", "systems.json"
CODING_NAMES = {
    VECTORS: "float vectors",
    CODES: "codes of {} bits, codebooks from training",
    OWN_CODES: "codes of {} bits, codebooks from what is searched",
}


class Cell(NamedTuple):
    """Where a figure stands."""

    dataset: str
    system: str
    training: str
    coding: str
    bits: int
    method: str
    direction: str
    protocol: str


class Figures(dict[Cell, list[float]]):
    """Values over seeds by cell, in the order of the records."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Figures:
        """From parsed record files."""
        found = cls()
        for record in sorted(
            records, key=lambda one: (one["dataset"], one["system"], list(TRAININGS).index(one["training"]))
        ):
            where = record["dataset"], record["system"], record["training"]
            for figure in record["figures"]:
                coding = figure["coding"], figure["bits"]
                cell = Cell(*where, *coding, record["method"], figure["direction"], figure["protocol"])
                found.setdefault(cell, []).append(figure["value"])
        return found

    def mean(self, cell: Cell) -> float | None:
        """The mean over seeds, None where there is no figure."""
        return statistics.fmean(self[cell]) if cell in self else None

    def deviation(self, cell: Cell) -> float:
        """Standard deviation over seeds, 0 for one."""
        return statistics.stdev(self[cell]) if len(self[cell]) > 1 else 0.0


def write_report(records: Sequence[Record], folder: Path, command: str) -> None:
    """Write ``systems.md`` and ``systems.json`` into a folder that exists. Raises StorageError."""
    texts = {
        MARKDOWN: f"# CSM, Mixer and the gated joint embedding\n\nCommand: `{command}`\n\n{table(records)}\n",
        FIGURES: json.dumps({"command": command, "figures": means(records)}, indent=1) + "\n",
    }
    for name, text in texts.items():
        try:
            write_bytes(folder / name, text.encode())
        except OSError as error:
            raise StorageError(f"cannot write {folder / name}: {error.strerror}") from error


def means(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Every figure as its values over seeds, their mean and their deviation."""
    figures = Figures.of(records)
    return [
        {**cell._asdict(), "values": values, "mean": figures.mean(cell), "deviation": figures.deviation(cell)}
        for cell, values in figures.items()
    ]


def table(records: Sequence[Record]) -> str:
    """Markdown: a table for each data set, system, noise and coding; rows are methods, the best of a column is bold."""
    figures = Figures.of(records)
    parts: list[str] = []
    for (dataset, system), cells in groupby(figures, key=lambda cell: cell[:2]):
        group = list(cells)
        parts += [f"## {system} on {dataset}", "", *_said(records, dataset, system), ""]
        codings = dict.fromkeys(cell[2:5] for cell in group)
        for coding in sorted(codings, key=_coding_order):
            parts += _sheet(figures, [cell for cell in group if cell[2:5] == coding])
        parts += _kept(figures, group)
    return "\n".join(parts).rstrip()


def _coding_order(coding: tuple[str, str, int]) -> tuple[int, int, int]:
    training, name, bits = coding
    return list(TRAININGS).index(training), list(CODING_NAMES).index(name), -bits


def _said(records: Sequence[Record], dataset: str, system: str) -> Iterator[str]:
    """Seeds, machine and definitions, which have to be said with the figures."""
    mine = [one for one in records if (one["dataset"], one["system"]) == (dataset, system)]
    seeds = len({one["seed"] for one in mine})
    cpus = ", ".join(sorted({one["machine"]["cpu"] for one in mine}))
    yield f"{seeds} seed{'s' * (seeds > 1)}, standard deviation in brackets; {cpus}, one thread a method."
    yield ""
    yield from (f"- {name}: {parse_protocol(name).definition}" for name in STUDIES[system].protocols)


def _sheet(figures: Figures, cells: list[Cell]) -> list[str]:
    columns = list(dict.fromkeys((cell.direction, cell.protocol) for cell in cells))
    methods = [name for name in STUDIES[cells[0].system].methods if any(c.method == name for c in cells)]
    first = cells[0]
    rows = [[first._replace(method=m, direction=d, protocol=p) for d, p in columns] for m in methods]
    best = [_best(figures, column) for column in zip(*rows, strict=True)]
    heads = [f"{DIRECTION_NAMES[d]} {p}" for d, p in columns]
    return [
        f"**{CODING_NAMES[first.coding].format(first.bits)}; {TRAININGS[first.training].about}**",
        "",
        _row(["method", *heads]),
        _row(["---", *["---:"] * len(columns)]),
        *(
            _row([method, *(_shown(figures, cell, best[i]) for i, cell in enumerate(row))])
            for method, row in zip(methods, rows, strict=True)
        ),
        "",
    ]


def _best(figures: Figures, column: Sequence[Cell]) -> float | None:
    found = [mean for cell in column if (mean := figures.mean(cell)) is not None]
    return EXTREMES.get(column[0].protocol, max)(found) if found else None


def _shown(figures: Figures, cell: Cell, best: float | None) -> str:
    mean = figures.mean(cell)
    if mean is None:
        return "–"
    spread = f" ({figures.deviation(cell):.3f})" if len(figures[cell]) > 1 else ""
    return f"**{mean:.3f}**{spread}" if mean == best else f"{mean:.3f}{spread}"


def _kept(figures: Figures, group: list[Cell]) -> list[str]:
    """How much of the system's main figure codes keep, and how much methods keep where classes are shuffled."""
    dataset, system = group[0][:2]
    study = STUDIES[system]
    own = next(iter(study.methods))
    directions = list(dict.fromkeys(cell.direction for cell in group if cell.method == own))
    found = list(dict.fromkeys(cell.training for cell in group))
    if not directions:
        return []
    codings = sorted({cell[2:5] for cell in group if cell.coding != VECTORS}, key=_coding_order)
    lines = _shares(
        f"{own}: {study.main} of codes, percent of that of float vectors",
        "codes",
        [DIRECTION_NAMES[direction] for direction in directions],
        {
            f"{CODING_NAMES[coding].format(bits)}; {TRAININGS[training].about}": [
                _share(
                    figures,
                    Cell(dataset, system, training, coding, bits, own, direction, study.main),
                    VECTORS,
                )
                for direction in directions
            ]
            for training, coding, bits in codings
            if not TRAININGS[training].shuffled
        },
    )
    noisy = [training for training in found if TRAININGS[training].shuffled]
    if noisy:
        lines += _shares(
            f"{study.main} of float vectors, percent of that with the true classes",
            "method",
            [TRAININGS[training].about for training in noisy],
            {
                method: [
                    _share(
                        figures,
                        Cell(dataset, system, training, VECTORS, 0, method, directions[0], study.main),
                    )
                    for training in noisy
                ]
                for method in study.noisy
            },
        )
    return lines


def _share(figures: Figures, cell: Cell, coding: str | None = None) -> str:
    """A figure as percent of that of another coding, or else of that of the split's own training rows."""
    other = cell._replace(training="split") if coding is None else cell._replace(coding=coding, bits=0)
    part, whole = figures.mean(cell), figures.mean(other)
    return f"{100 * part / whole:.1f} %" if part is not None and whole else "–"


def _shares(title: str, corner: str, heads: list[str], rows: dict[str, list[str]]) -> list[str]:
    return [
        f"**{title}**",
        "",
        _row([corner, *heads]),
        _row(["---", *["---:"] * len(heads)]),
        *(_row([name, *cells]) for name, cells in rows.items()),
        "",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
