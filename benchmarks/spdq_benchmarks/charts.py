"""Charts as inline SVG: no script, no library; colours and dashes come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
N_TICKS = 5
SHAPES = (
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0 -4 0Z",
    "M-4 -4H4V4H-4Z",
    "M0 -5L5 4H-5Z",
    "M0 -5L5 0L0 5L-5 0Z",
    "M0 5L5 -4H-5Z",
    "M-5 -2H-2V-5H2V-2H5V2H2V5H-2V2H-5Z",
    "M-4 -5L4 5H-4L4 -5Z",
    "M-5 -4L5 4V-4L-5 4Z",
)
"""Outlines around (0, 0), one a slot: circle, square, triangle, diamond, triangle down, plus, hourglass, bow tie."""


@dataclass(frozen=True)
class Series:
    """One line: a name and its points (x, y), at least one, x ascending; ``slot`` decides colour and dashes."""

    name: str
    points: Sequence[tuple[float, float]]
    slot: int | None = None
    """None takes the place among the series."""


@dataclass(frozen=True)
class Point:
    """One point of a scatter chart; without a slot it is one of many, small and grey."""

    name: str
    x: float
    y: float
    slot: int | None = None


@dataclass(frozen=True)
class Axis:
    """Label, ends and ticks; ``log`` spaces values by their logarithm."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def from_zero(label: str, high: float) -> Axis:
    """From 0 to the round number that reaches ``high``, so that a small gain does not look large."""
    marks = ticks(high)
    return Axis(label, 0.0, marks[-1], marks)


def around(label: str, values: Sequence[float]) -> Axis:
    """Round numbers around values that all are far from 0: where lines have to be told apart."""
    low, high = min(values), max(values)
    step = ticks(max(high - low, 1e-3))[1]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = [round(step * i, 12) for i in range(first, max(last, first + 1) + 1)]
    return Axis(label, marks[0], marks[-1], marks)


def logarithmic(label: str, marks: Sequence[float]) -> Axis:
    """From the first of two or more ascending positive marks to the last, evenly in logarithm."""
    return Axis(label, marks[0], marks[-1], marks, log=True)


def line_chart(title: str, x: str | Axis, y: str | Axis, series: Sequence[Series], dots: bool = True) -> str:
    """One ``<figure>``: caption, legend and chart. A line of slot ``i`` has the class ``series-i``.

    An axis given by its label alone starts at 0. With ``dots`` each point tells its value on hover, else each line its
    name.
    """
    if isinstance(x, str):
        end = max(x for line in series for x, _ in line.points) or 1.0
        x = Axis(x, 0.0, end, [tick for tick in ticks(end) if tick <= end])
    if isinstance(y, str):
        y = from_zero(y, max(y for line in series for _, y in line.points))
    slots = [number if line.slot is None else line.slot for number, line in enumerate(series)]
    legend = "".join(
        f'<li><span class="key series-{slot}"></span>{escape(line.name)}</li>'
        for slot, line in zip(slots, series, strict=True)
    )
    drawn = "".join(_line(slot, line, x, y, dots) for slot, line in zip(slots, series, strict=True))
    return _figure(title, legend, _told(title, series), _axes(x, y) + drawn)


def scatter_chart(
    title: str, x: Axis, y: Axis, points: Sequence[Point], front: Sequence[tuple[float, float]] = ()
) -> str:
    """One ``<figure>``: points with a slot have its colour and shape and stand in the legend, each tells its values.

    ``front`` is a line through (x, y), drawn under the points.
    """
    named = [(point, point.slot) for point in points if point.slot is not None]
    legend = "".join(
        f'<li><svg class="shape series-{slot}" viewBox="-6 -6 12 12" aria-hidden="true">'
        f'<path d="{_shape(slot)}"/></svg>{escape(point.name)}</li>'
        for point, slot in named
    )
    places = " L".join(f"{_x(x, a)} {_y(y, b)}" for a, b in front)
    drawn = f'<path class="front" d="M{places}"/>' if front else ""
    # The first slot is drawn last, over all others.
    order = sorted(points, key=lambda point: math.inf if point.slot is None else point.slot, reverse=True)
    drawn += "".join(_point(point, x, y) for point in order)
    told = f"{title}: {'; '.join(f'{p.name} at {p.x:.3g}, {p.y:.3g}' for p, _ in named)}."
    return _figure(title, legend, told, _axes(x, y) + drawn)


def ticks(high: float) -> list[float]:
    """Up to six round numbers from 0 to at least ``high``, 1, 2 or 5 times a power of ten apart."""
    high = high if high > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(high / N_TICKS))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * N_TICKS >= high * (1 - 1e-9))
    return [round(step * i, 12) for i in range(math.ceil(high / step - 1e-9) + 1)]


def _figure(title: str, legend: str, told: str, drawn: str) -> str:
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption><ul class="legend">{legend}</ul>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">{drawn}</svg></figure>'
    )


def _x(axis: Axis, value: float) -> str:
    return _place(LEFT + (WIDTH - LEFT - RIGHT) * axis.place(value))


def _y(axis: Axis, value: float, down: int = 0) -> str:
    return _place(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * axis.place(value) + down)


def _place(pixels: float) -> str:
    return f"{round(pixels, 1):g}"


def _line(slot: int, line: Series, x: Axis, y: Axis, dots: bool) -> str:
    places = [(_x(x, a), _y(y, b), a, b) for a, b in line.points]
    path = "M" + " L".join(f"{px} {py}" for px, py, _, _ in places)
    told = f"<title>{escape(line.name)}</title>"
    if dots:
        told = "".join(
            f'<circle cx="{px}" cy="{py}" r="3"><title>{escape(f"{line.name}, {x.label} {a:g}: {b:.4g}")}</title>'
            "</circle>"
            for px, py, a, b in places
        )
    return f'<g class="series-{slot}"><path d="{path}"/>{told}</g>'


def _point(point: Point, x: Axis, y: Axis) -> str:
    place = f"translate({_x(x, point.x)} {_y(y, point.y)})"
    told = f"<title>{escape(f'{point.name}: {x.label} {point.x:.4g}, {y.label} {point.y:.4g}')}</title>"
    if point.slot is None:
        return f'<g class="other" transform="{place}"><circle r="2.5">{told}</circle></g>'
    return f'<g class="series-{point.slot} shape" transform="{place}"><path d="{_shape(point.slot)}">{told}</path></g>'


def _shape(slot: int) -> str:
    return SHAPES[slot % len(SHAPES)]


def _axes(x: Axis, y: Axis) -> str:
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) // 2, (TOP + HEIGHT - BOTTOM) // 2
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{_y(y, tick)}" y2="{_y(y, tick)}"/>'
        f'<text x="{LEFT - 6}" y="{_y(y, tick, 4)}" text-anchor="end">{tick:g}</text>'
        for tick in y.ticks
    ]
    parts += [
        f'<text x="{_x(x, tick)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{tick:g}</text>'
        for tick in x.ticks
    ]
    parts.append(
        f'<text class="axis" x="{middle_x}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x.label)}</text>'
    )
    parts.append(
        f'<text class="axis" transform="translate(11 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    return "".join(parts)


def _told(title: str, series: Sequence[Series]) -> str:
    """The chart in words, for those who do not see it."""
    lines = [f"{line.name} goes from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in series]
    return f"{title}: {'; '.join(lines)}."
