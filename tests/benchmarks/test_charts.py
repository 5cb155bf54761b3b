import xml.etree.ElementTree as ET

import pytest

from spdq_benchmarks.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, line_chart, ticks


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
