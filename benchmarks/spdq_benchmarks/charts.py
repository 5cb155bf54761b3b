"""Line charts as inline SVG: no script, no library, colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
N_TICKS = 5


@dataclass(frozen=True)
class Series:
    """One line: a name and its points (x, y), at least one, x ascending."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, x_label: str, y_label: str, series: Sequence[Series]) -> str:
    """One ``<figure>``: caption, legend and chart; each point tells its value on hover.

    The y axis starts at 0, so that a small gain does not look large. Line ``i`` has the class ``series-i``.
    """
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    x_end = max(xs) or 1.0
    x_ticks, y_ticks = [x for x in ticks(x_end) if x <= x_end], ticks(max(ys))
    frame = _Frame(x_end, y_ticks[-1])
    drawn = "".join(_line(number, line, frame, x_label) for number, line in enumerate(series))
    legend = "".join(
        f'<li><span class="key series-{number}"></span>{escape(line.name)}</li>'
        for number, line in enumerate(series)
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption><ul class="legend">{legend}</ul>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_told(title, series))}">'
        f"{_axes(frame, x_ticks, y_ticks, x_label, y_label)}{drawn}</svg></figure>"
    )


def ticks(high: float) -> list[float]:
    """Up to six round numbers from 0 to at least ``high``, 1, 2 or 5 times a power of ten apart."""
    high = high if high > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(high / N_TICKS))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * N_TICKS >= high * (1 - 1e-9))
    return [round(step * i, 12) for i in range(math.ceil(high / step - 1e-9) + 1)]


@dataclass(frozen=True)
class _Frame:
    """Where a value lies in the picture; both axes start at 0."""

    x_end: float
    y_end: float

    def x(self, value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_end, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_end, 1)


def _line(number: int, line: Series, frame: _Frame, x_label: str) -> str:
    places = [(frame.x(x), frame.y(y), x, y) for x, y in line.points]
    path = "M" + " L".join(f"{px} {py}" for px, py, _, _ in places)
    dots = "".join(
        f'<circle cx="{px}" cy="{py}" r="3"><title>{escape(f"{line.name}, {x_label} {x:g}: {y:.4g}")}</title>'
        "</circle>"
        for px, py, x, y in places
    )
    return f'<g class="series-{number}"><path d="{path}"/>{dots}</g>'


def _axes(
    frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
) -> str:
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{frame.y(y)}" y2="{frame.y(y)}"/>'
        f'<text x="{LEFT - 6}" y="{frame.y(y) + 4}" text-anchor="end">{y:g}</text>'
        for y in y_ticks
    ]
    parts += [
        f'<text x="{frame.x(x)}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>'
        for x in x_ticks
    ]
    parts.append(
        f'<text class="axis" x="{middle_x}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text class="axis" transform="translate(11 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return "".join(parts)


def _told(title: str, series: Sequence[Series]) -> str:
    """The chart in words, for those who do not see it."""
    lines = [f"{line.name} goes from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in series]
    return f"{title}: {'; '.join(lines)}."
