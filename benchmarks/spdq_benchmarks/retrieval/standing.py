"""Where each method stands over all columns of a run, and where our default recipe is behind."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spdq_benchmarks.retrieval.cells import CROSS_MODAL, DEFAULT, LABEL_SPLITS, Cell, Results, Topic
from spdq_benchmarks.retrieval.trainings import QUERIES

PARETO = "map@all", "heldout", "instance-recall@10"
"""Protocol of the labels; split and protocol of the instance recall."""
PARETO_DIRECTIONS = ("t2u", "t2i", "i2u", "i2t")
"""The first of these that was measured is the instance recall's."""


class Column(NamedTuple):
    """One column of figures: several directions mean their average."""

    topic: Topic
    directions: tuple[str, ...]
    bits: int


Standing = tuple[Column, list[tuple[str, Cell]]]
"""A column and its methods with their figures, best first."""


@dataclass(frozen=True)
class Tally:
    """In how many columns of a split a method was judged, was best, and was within one deviation of the best."""

    columns: int
    best: int
    near: int


@dataclass(frozen=True)
class Shortfall:
    """A column where our default recipe is below another method by more than one deviation: the farthest above it."""

    column: Column
    ours: float
    """Over the seeds that both methods have, as ``best``."""
    best_method: str
    best: float
    slack: float
    """The larger of the two methods' deviations over seeds."""


def is_main(topic: Topic) -> bool:
    """Whether a topic counts in summaries: mean average precision as defined here, or instance recall, but nothing
    whose database is the queries' own items."""
    if topic.split == QUERIES:
        return False
    return topic.is_instance or (topic.protocol.startswith("map@") and "/" not in topic.protocol)


def columns(results: Results, averaged: bool) -> list[Column]:
    """Every column of codes that counts, of the main directions; ``averaged`` are label figures with both in one."""
    found = []
    for topic in filter(is_main, results.topics):
        directions = results.main_directions(topic)
        if averaged and not (set(CROSS_MODAL) <= set(directions) and topic.split in LABEL_SPLITS):
            continue
        shown = [CROSS_MODAL] if averaged else [(direction,) for direction in directions]
        found += [Column(topic, names, bits) for names in shown for bits in results.bits]
    return found


def ranked(results: Results, column: Column) -> list[tuple[str, Cell]]:
    """The methods of a column, best first; those without a figure are left out."""
    found = [
        (method, cell)
        for method in results.judged(column.topic)
        if (cell := results.mean(column.topic, column.directions, method, column.bits))
        and not math.isnan(cell.mean)
    ]
    return sorted(found, key=lambda pair: -pair[1].mean)


def standings(results: Results, averaged: bool) -> list[Standing]:
    """Every column that counts with its methods, best first."""
    return [(column, ranked(results, column)) for column in columns(results, averaged)]


def tallies(found: Sequence[Standing]) -> dict[str, dict[str, Tally]]:
    """By method and split; the most often best method first. Two methods are compared on the seeds both have."""
    counts: dict[str, dict[str, Tally]] = defaultdict(dict)
    for column, order in found:
        for method, cell in order:
            gaps = [_gap(cell, other) for _, other in order if other is not cell]
            is_best = all(gap >= 0 for gap, _ in gaps)
            is_near = all(gap >= -slack for gap, slack in gaps)
            old = counts[method].get(column.topic.split, Tally(0, 0, 0))
            counts[method][column.topic.split] = Tally(
                old.columns + 1, old.best + is_best, old.near + is_near
            )

    def place(method: str) -> tuple[int, int, str]:
        found = counts[method].values()
        return -sum(tally.best for tally in found), -sum(tally.near for tally in found), method

    return {method: counts[method] for method in sorted(counts, key=place)}


def shortfalls(found: Sequence[Standing]) -> list[Shortfall]:
    """Every column where our default recipe is behind by more than one deviation, the farthest behind first."""
    behind = []
    for column, order in found:
        cells = dict(order)
        ours = cells.pop(DEFAULT, None)
        gaps = [(*_gap(ours, other), method) for method, other in cells.items()] if ours else []
        gaps = [gap for gap in gaps if gap[0] < -gap[1]]
        if ours and gaps:
            _, slack, method = min(gaps)
            best = cells[method]
            behind.append(Shortfall(column, ours.on_seeds_of(best), method, best.on_seeds_of(ours), slack))
    return sorted(behind, key=lambda gap: gap.ours - gap.best)


def _gap(cell: Cell, other: Cell) -> tuple[float, float]:
    """How far a cell is above another on the seeds both have, and the larger of their deviations over all seeds."""
    return cell.on_seeds_of(other) - other.on_seeds_of(cell), max(cell.deviation, other.deviation)


def kept(results: Results, method: str, short: int, long: int) -> list[tuple[float, Column]]:
    """The share of the long codes' label MAP that short ones keep, lowest first: one a column of one direction."""
    shares = []
    for column in columns(results, averaged=False):
        if column.bits != short or column.topic.is_instance:
            continue
        cells = [results.mean(column.topic, column.directions, method, bits) for bits in (short, long)]
        if all(cells):
            few, many = (cell.mean for cell in cells if cell)
            if many > 0:
                shares.append((few / many, column))
    return sorted(shares, key=lambda share: share[0])


@dataclass(frozen=True)
class Plane:
    """Methods by label MAP (both directions averaged) and instance recall, at one code length."""

    labels: Topic
    instances: Topic
    direction: str
    bits: int
    cells: dict[str, tuple[Cell, Cell]]
    """By method, of label MAP and of instance recall."""

    @property
    def points(self) -> dict[str, tuple[float, float]]:
        """The means by method."""
        return {method: (x.mean, y.mean) for method, (x, y) in self.cells.items()}

    @property
    def front(self) -> list[str]:
        """Methods that no other is at least as good as in both and better in one, by falling label MAP."""
        kept = [method for method in self.cells if not self.dominating(method)]
        return sorted(kept, key=lambda method: (-self.cells[method][0].mean, method))

    def dominating(self, method: str) -> list[str]:
        """The methods that dominate one, compared on the seeds both have."""
        x, y = self.cells[method]
        found = []
        for other, (a, b) in self.cells.items():
            gaps = _gap(a, x)[0], _gap(b, y)[0]
            if min(gaps) >= 0 and max(gaps) > 0:
                found.append(other)
        return found


def planes(results: Results) -> list[Plane]:
    """A plane for every data set, label split, label set and code length that has both figures."""
    protocol, split, recall = PARETO
    found = []
    for labels in results.topics:
        instances = Topic(labels.dataset, split, "", recall)
        if labels.protocol != protocol or labels.split not in LABEL_SPLITS or instances not in results.topics:
            continue
        measured = results.directions(instances)
        direction = next((d for d in PARETO_DIRECTIONS if d in measured), measured[0])
        for bits in results.bits:
            cells = {}
            for method in results.judged(labels):
                x = results.mean(labels, CROSS_MODAL, method, bits)
                y = results.cell(instances, direction, method, bits)
                if x and y and not math.isnan(x.mean) and not math.isnan(y.mean):
                    cells[method] = x, y
            if cells:
                found.append(Plane(labels, instances, direction, bits, cells))
    return found
