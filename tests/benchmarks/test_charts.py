import xml.etree.ElementTree as ET

import pytest

from spdq_benchmarks.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    SHAPES,
    TOP,
    WIDTH,
    Axis,
    Point,
    Series,
    around,
    from_zero,
    line_chart,
    logarithmic,
    scatter_chart,
    ticks,
)


def parsed(*args):
    return ET.fromstring(line_chart(*args))


def places(figure, number):
    group = figure.find(f".//g[@class='series-{number}']")
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in group.findall("circle")]


@pytest.mark.parametrize(
    ("high", "expected"),
    [
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.79, [0, 0.2, 0.4, 0.6, 0.8]),
        (608, [0, 200, 400, 600, 800]),
        (44.1, [0, 10, 20, 30, 40, 50]),
        (0.003, [0, 0.001, 0.002, 0.003]),
        (0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ],
)
def test_ticks_are_round_and_reach_the_highest_value(high, expected):
    assert ticks(high) == expected


def test_points_stand_where_the_axes_say():
    figure = parsed("Loss", "step", "loss", [Series("a", [(0, 0), (50, 5), (100, 10)])])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    assert places(figure, 0) == [(LEFT, bottom), ((LEFT + right) / 2, (TOP + bottom) / 2), (right, TOP)]


def test_each_series_has_its_line_its_legend_and_its_values():
    figure = parsed("Loss", "step", "loss", [Series("a", [(1, 2), (2, 1)]), Series("b", [(1, 0.5)])])
    assert [item.find("span").tail for item in figure.findall(".//ul/li")] == ["a", "b"]
    assert len(places(figure, 0)) == 2
    assert [title.text for title in figure.iter("title")] == [
        "a, step 1: 2",
        "a, step 2: 1",
        "b, step 1: 0.5",
    ]
    assert figure.find("svg").get("aria-label") == "Loss: a goes from 2 to 1; b goes from 0.5 to 0.5."
    axes = [text.text for text in figure.iter("text") if text.get("class") == "axis"]
    assert axes == ["step", "loss"]


def test_names_are_escaped():
    figure = parsed("<b>&", "<i>", "<u>", [Series('"<script>', [(0, 0)])])
    assert figure.find("figcaption").text == "<b>&"
    assert figure.find(".//ul/li/span").tail == '"<script>'
    assert not list(figure.iter("script"))


def test_a_slot_decides_the_colour():
    figure = parsed("t", "x", "y", [Series("a", [(1, 2)], slot=7), Series("b", [(1, 2)])])
    assert [key.get("class") for key in figure.findall(".//ul/li/span")] == ["key series-7", "key series-1"]
    assert places(figure, 7) == places(figure, 1)


def test_lines_without_dots_tell_their_names():
    figure = ET.fromstring(line_chart("t", "x", "y", [Series("a&b", [(0, 1), (1, 2)])], dots=False))
    assert [title.text for title in figure.iter("title")] == ["a&b"]
    assert not list(figure.iter("circle"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.31, 0.44], [0.3, 0.35, 0.4, 0.45]),
        ([0.3, 0.4], [0.3, 0.32, 0.34, 0.36, 0.38, 0.4]),
        ([0.5], [0.5, 0.5002]),
        ([0.0, 0.93], [0, 0.2, 0.4, 0.6, 0.8, 1]),
        ([-0.1, 0.1], [-0.1, -0.05, 0, 0.05, 0.1]),
    ],
)
def test_an_axis_around_values_is_round_and_holds_them(values, expected):
    axis = around("y", values)
    assert axis.ticks == expected
    assert (axis.low, axis.high) == (expected[0], expected[-1])


def test_a_logarithmic_axis_places_powers_evenly():
    axis = logarithmic("bits", [16, 32, 64, 128])
    assert [axis.place(value) for value in axis.ticks] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_axes_of_ones_own():
    axes = Axis("x", 10, 20, [10, 20]), Axis("y", 0.5, 1, [0.5, 1])
    figure = ET.fromstring(line_chart("t", *axes, [Series("a", [(10, 0.5), (20, 1)])]))
    assert places(figure, 0) == [(LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, TOP)]
    assert [text.text for text in figure.iter("text")][:4] == ["0.5", "1", "10", "20"]


def test_a_scatter_chart_has_shapes_for_slots_and_circles_for_the_rest():
    points = [Point("a<b", 1, 0.5, slot=0), Point("other", 0, 0), Point("c", 0.5, 0.25, slot=2)]
    axes = from_zero("x", 1), from_zero("y", 0.5)
    figure = ET.fromstring(scatter_chart("t", *axes, points, [(0.5, 0.25), (1, 0.5)]))
    assert [item.find("svg").tail for item in figure.findall("ul/li")] == ["a<b", "c"]
    groups = figure.findall("./svg/g")
    assert [group.get("class") for group in groups] == ["other", "series-2 shape", "series-0 shape"]
    assert [group.find(".//title").text for group in groups] == [
        "other: x 0, y 0",
        "c: x 0.5, y 0.25",
        "a<b: x 1, y 0.5",
    ]
    assert groups[2].get("transform") == f"translate({WIDTH - RIGHT} {TOP})"
    assert groups[1].find("path").get("d") == SHAPES[2]
    front = figure.find("./svg/path[@class='front']").get("d")
    assert front == f"M{(LEFT + WIDTH - RIGHT) // 2} {(TOP + HEIGHT - BOTTOM) // 2} L{WIDTH - RIGHT} {TOP}"
    assert figure.find("./svg").get("aria-label") == "t: a<b at 1, 0.5; c at 0.5, 0.25."


def test_a_scatter_chart_without_front():
    figure = ET.fromstring(scatter_chart("t", from_zero("x", 1), from_zero("y", 1), [Point("a", 1, 1)]))
    assert figure.find("./svg/path") is None
    assert figure.findall("ul/li") == []


def test_shapes_differ():
    assert len(set(SHAPES)) == len(SHAPES) == 8
