import itertools
import math
import re
import xml.etree.ElementTree as ET

import pytest
from made_records import RANKS, bare_record, made_records, told_figure, told_records

from spdq_benchmarks.retrieval.cells import Results, Topic
from spdq_benchmarks.retrieval.curves import (
    curve_points,
    drawn_methods,
    length_charts,
    pareto_charts,
    precision_charts,
    recall_charts,
)

METHODS = {"spdq": 0.62, "spdq-paper": 0.55, "cca": 0.3, "dcmh": 0.4}


@pytest.fixture(scope="module")
def results():
    return Results(made_records({"made": [""]}, METHODS, (16, 64), queries=6, trainings=("rest", "half")))


def parsed(charts):
    return [ET.fromstring(chart) for chart in charts]


def titles(charts):
    return [chart.find("figcaption").text for chart in charts]


def legend(chart):
    return ["".join(item.itertext()) for item in chart.findall("ul/li")]


def test_drawn_are_ours_the_five_of_the_best_rank_and_cca():
    means = {
        name: {64: [value]}
        for name, value in zip("abcdefg", (0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.2), strict=True)
    }
    means |= {"spdq": {64: [0.3]}, "spdq-paper:product": {64: [0.99]}, "cca": {64: [0.99]}}
    assert drawn_methods(Results(told_records(means))) == {
        "spdq": 0, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "cca": 7,
    }  # fmt: skip


def test_rank_counts_every_column_alike():
    """a is best by far once, b is better on the two other columns."""
    records = told_records({"a": {64: [0.9]}, "b": {64: [0.1]}})
    for protocol in ("map@50", "map@100"):
        records += told_records({"a": {64: [0.5]}, "b": {64: [0.51]}}, protocol=protocol)
    assert list(drawn_methods(Results(records))) == ["b", "a"]


def test_few_methods_are_all_drawn(results):
    assert drawn_methods(results) == {"spdq": 0, "spdq-paper": 1, "dcmh": 2, "cca": 3}


def test_code_length_charts_are_one_a_split_and_direction(results):
    charts = parsed(length_charts(results, "made", drawn_methods(results)))
    assert titles(charts) == [
        f"map@all, made {split}, {direction}"
        for split in ("seen", "unseen")
        for direction in ("image → text", "text → image")
    ]
    assert all(legend(chart) == ["spdq", "spdq-paper", "dcmh", "cca"] for chart in charts)
    cell = results.cell(Topic("made", "seen", "", "map@all"), "i2t", "dcmh", 16)
    assert f"dcmh, bits 16: {cell.mean:.4g}" in [title.text for title in charts[0].iter("title")]


def test_undefined_figures_are_not_drawn():
    records = told_records({"cca": {16: [0.5], 64: [0.6]}})
    records += [
        bare_record("dcmh", bits, [told_figure("seen", "", "i2t", "map@all", None)]) for bits in (16, 64)
    ]
    (first, _) = parsed(length_charts(Results(records), "made", {"cca": 7, "dcmh": 2}))
    assert legend(first) == ["cca"]
    assert length_charts(Results(records[-2:]), "made", {"dcmh": 2}) == []


def test_one_code_length_is_no_line():
    assert length_charts(Results(told_records({"cca": {16: [0.5]}})), "made", {"cca": 7}) == []


def test_curve_points_are_means_over_seeds(results):
    cell = results.cell(Topic("made", "seen", "", "pr-curve"), "i2t", "spdq", 64)
    points = curve_points(cell)
    assert [point["rank"] for point in points] == list(RANKS)
    expected = [run.points[3]["precision"][0] for run in cell.runs]
    assert len(expected) == 2
    assert points[3]["precision"] == pytest.approx(sum(expected) / 2)
    assert points[3]["recall"] == pytest.approx(10 / 200)
    assert curve_points(None) == []


def numbers(path):
    return [tuple(map(float, place.split())) for place in re.sub("[ML]", "|", path).split("|")[1:]]


def test_precision_charts_end_at_the_last_rank_and_have_logarithmic_ranks(results):
    charts = parsed(precision_charts(results, "made", drawn_methods(results)))
    assert titles(charts)[0] == "precision@N, made seen, image → text, 64 bits"
    assert len(charts) == 4
    line = numbers(charts[0].find(".//g[@class='series-0']/path").get("d"))
    steps = [b[0] - a[0] for a, b in itertools.pairwise(line)]
    shares = [math.log(b / a) for a, b in itertools.pairwise(RANKS)]
    assert steps == pytest.approx([sum(steps) * share / sum(shares) for share in shares], abs=0.2)
    told = [text.text for text in charts[0].iter("text") if text.get("text-anchor") == "middle"]
    assert told[:8] == ["1", "2", "5", "10", "20", "50", "100", "200"]


def test_recall_charts_go_from_the_first_to_the_last_rank(results):
    charts = parsed(recall_charts(results, "made", drawn_methods(results)))
    assert titles(charts)[-1] == "pr-curve, made unseen, text → image, 64 bits"
    line = numbers(charts[0].find(".//g[@class='series-0']/path").get("d"))
    assert (line[0][0], line[-1][0]) == pytest.approx((46 + 382 / 200, 428), abs=0.1)


def test_points_too_near_to_be_seen_are_left_out():
    points = [{"rank": r, "recall": [r / 2000] * 3, "precision": [0.5] * 3} for r in range(1, 2001)]
    figure = told_figure("seen", "", "i2t", "pr-curve", 0.5) | {"points": points}
    results = Results([bare_record("cca", 64, [figure])])
    (chart,) = parsed(recall_charts(results, "made", {"cca": 7}))
    line = numbers(chart.find(".//g[@class='series-7']/path").get("d"))
    assert 40 < len(line) < 50
    assert line[-1][0] == 428


def test_a_curve_of_one_rank_has_no_precision_chart():
    point = {"rank": 1, "recall": [0.5] * 3, "precision": [0.5] * 3}
    figure = told_figure("seen", "", "i2t", "pr-curve", 0.5) | {"points": [point]}
    results = Results([bare_record("cca", 64, [figure])])
    assert precision_charts(results, "made", {"cca": 7}) == []
    assert len(recall_charts(results, "made", {"cca": 7})) == 1


def test_no_curves_without_points():
    results = Results(told_records({"cca": {64: [0.5]}}))
    assert precision_charts(results, "made", {"cca": 7}) == recall_charts(results, "made", {"cca": 7}) == []


def test_pareto_charts_show_every_method_and_the_front(results):
    drawn = {"spdq": 0, "cca": 7}
    charts = parsed(pareto_charts(results, drawn))
    assert titles(charts) == ["made, seen, 64 bits", "made, unseen, 64 bits"]
    assert [item.strip() for item in legend(charts[0])] == ["spdq", "cca"]
    told = [title.text for title in charts[0].iter("title")]
    assert [text.partition(":")[0] for text in told] == ["spdq-paper", "dcmh", "cca", "spdq"]
    assert charts[0].find(".//path[@class='front']") is not None
