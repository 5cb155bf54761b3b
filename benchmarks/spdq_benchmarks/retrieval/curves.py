"""What the charts of a report show: which methods are drawn, and the points of their lines."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from spdq_benchmarks.charts import (
    Axis,
    Point,
    Series,
    around,
    from_zero,
    line_chart,
    logarithmic,
    scatter_chart,
)
from spdq_benchmarks.retrieval.cells import DEFAULT, LABEL_SPLITS, PAPER, Cell, Results, Topic, not_ours
from spdq_benchmarks.retrieval.sheets import direction_name
from spdq_benchmarks.retrieval.standing import Plane, columns, planes, ranked

CURVE = "pr-curve"
STRONGEST = 5
UNLABELLED = "cca"
"""Drawn beside the strongest: what can be had without labels and without training."""
LAST_RANK = 500
"""Of the precision curves."""
APART = 8.0
"""Pixels that two neighbouring points of a curve are apart at least."""
WIDTH, HEIGHT = 382, 198
"""Of the drawn area, for APART."""


def drawn_methods(results: Results) -> dict[str, int]:
    """Slot by method, the same in every chart: our recipes, the five of the best mean rank, and CCA.

    The rank is that among all methods of a column, over the columns of label figures with both directions averaged at
    64 bits; ours are not among the five.
    """
    places: dict[str, list[float]] = defaultdict(list)
    for column in columns(results, averaged=True):
        if column.bits == results.reference:
            order = ranked(results, column)
            for place, (method, _) in enumerate(order):
                places[method].append(place / len(order))
    others = [m for m in places if not_ours(m) == 3 and m != UNLABELLED]
    strongest = sorted(others, key=lambda m: (math.fsum(places[m]) / len(places[m]), m))[:STRONGEST]
    wanted = [DEFAULT, PAPER, *strongest, UNLABELLED]
    return {method: slot for slot, method in enumerate(wanted) if method in results.methods}


def length_charts(results: Results, dataset: str, drawn: dict[str, int]) -> list[str]:
    """map@all over bits: one chart a split, label set and direction."""
    if len(results.bits) < 2:
        return []
    charts = []
    for topic, direction in _questions(results, dataset, "map@all"):
        lines = [
            Series(method, [(bits, c.mean) for bits, c in cells if not math.isnan(c.mean)], slot)
            for method, slot in drawn.items()
            if (cells := _over_bits(results, topic, direction, method))
        ]
        lines = [line for line in lines if line.points]
        if lines:
            y = around(topic.protocol, [value for line in lines for _, value in line.points])
            charts.append(line_chart(_title(topic, direction), logarithmic("bits", results.bits), y, lines))
    return charts


def precision_charts(results: Results, dataset: str, drawn: dict[str, int]) -> list[str]:
    """precision@N at 64 bits, N up to 500, spaced by its logarithm."""
    charts = []
    for topic, direction in _questions(results, dataset, CURVE):
        lines = _curves(results, topic, direction, drawn, "rank", "precision", LAST_RANK)
        end = max((x for line in lines for x, _ in line.points), default=1)
        if end > 1:
            marks = [n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500) if n < end] + [end]
            x = Axis("N", 1, end, marks if marks[-2] * 1.3 < end else [*marks[:-2], end], log=True)
            y = around("precision@N", [value for line in lines for _, value in line.points])
            charts.append(_curve_chart("precision@N", results, topic, direction, x, y, lines))
    return charts


def recall_charts(results: Results, dataset: str, drawn: dict[str, int]) -> list[str]:
    """Precision over recall at 64 bits."""
    charts = []
    for topic, direction in _questions(results, dataset, CURVE):
        lines = _curves(results, topic, direction, drawn, "recall", "precision", None)
        if lines:
            y = from_zero("precision", max(value for line in lines for _, value in line.points))
            charts.append(_curve_chart(CURVE, results, topic, direction, from_zero("recall", 1), y, lines))
    return charts


def pareto_charts(results: Results, drawn: dict[str, int]) -> list[str]:
    """Label MAP against instance recall at 64 bits, every method a point, the front a line."""
    return [_plane(plane, drawn) for plane in planes(results) if plane.bits == results.reference]


def _questions(results: Results, dataset: str, protocol: str) -> Iterator[tuple[Topic, str]]:
    for topic in results.topics:
        if (topic.dataset, topic.protocol) == (dataset, protocol) and topic.split in LABEL_SPLITS:
            for direction in results.main_directions(topic):
                yield topic, direction


def _over_bits(results: Results, topic: Topic, direction: str, method: str) -> list[tuple[int, Cell]]:
    found = ((bits, results.cell(topic, direction, method, bits)) for bits in results.bits)
    return [(bits, cell) for bits, cell in found if cell]


def _curves(
    results: Results,
    topic: Topic,
    direction: str,
    drawn: dict[str, int],
    x: str,
    y: str,
    last: int | None,
) -> list[Series]:
    lines = []
    for method, slot in drawn.items():
        cell = results.cell(topic, direction, method, results.reference)
        points = [
            (found[x], found[y]) for found in curve_points(cell) if last is None or found["rank"] <= last
        ]
        if points:
            lines.append(Series(method, _thinned(points, is_log=x == "rank"), slot))
    return lines


def curve_points(cell: Cell | None) -> list[dict[str, float]]:
    """Rank, recall and precision of a curve, each the mean over the seeds that have the rank; by rank."""
    by_rank: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for run in cell.runs if cell else ():
        for point in run.points:
            by_rank[point["rank"]].append((point["recall"][0], point["precision"][0]))
    return [
        {
            "rank": rank,
            "recall": math.fsum(r for r, _ in found) / len(found),
            "precision": math.fsum(p for _, p in found) / len(found),
        }
        for rank, found in sorted(by_rank.items())
    ]


def _thinned(points: Sequence[tuple[float, float]], is_log: bool) -> list[tuple[float, float]]:
    """First, last, and those between that are far enough from the one kept before them to be seen."""
    end = points[-1][0]

    def place(point: tuple[float, float]) -> tuple[float, float]:
        along = math.log(point[0]) / math.log(end) if is_log and end > 1 else point[0]
        return WIDTH * along, HEIGHT * point[1]

    kept = [points[0]]
    for point in points[1:-1]:
        if math.dist(place(point), place(kept[-1])) >= APART:
            kept.append(point)
    return kept + list(points[1:][-1:])


def _curve_chart(
    what: str, results: Results, topic: Topic, direction: str, x: Axis, y: Axis, lines: Sequence[Series]
) -> str:
    title = f"{_title(topic._replace(protocol=what), direction)}, {results.reference} bits"
    return line_chart(title, x, y, lines, dots=False)


def _plane(plane: Plane, drawn: dict[str, int]) -> str:
    points = [Point(method, x, y, drawn.get(method)) for method, (x, y) in plane.points.items()]
    points.sort(key=lambda point: math.inf if point.slot is None else point.slot)
    x = around(
        f"{plane.labels.protocol}, {plane.labels.split}, mean of both directions", [p.x for p in points]
    )
    y = around(f"{plane.instances.protocol}, {plane.instances.split}", [p.y for p in points])
    labels = f", labels {plane.labels.labels.rstrip(':')}" if plane.labels.labels else ""
    title = f"{plane.labels.dataset}{labels}, {plane.labels.split}, {plane.bits} bits"
    return scatter_chart(title, x, y, points, [plane.points[method] for method in plane.front])


def _title(topic: Topic, direction: str) -> str:
    labels = f", labels {topic.labels.rstrip(':')}" if topic.labels else ""
    return f"{topic.protocol}, {topic.dataset} {topic.split}{labels}, {direction_name(direction)}"
