import pytest
from made_records import told_records

from spdq_benchmarks.retrieval.cells import Results, Topic
from spdq_benchmarks.retrieval.standing import (
    Tally,
    columns,
    is_main,
    kept,
    planes,
    shortfalls,
    standings,
    tallies,
)
from spdq_benchmarks.retrieval.standing_sheets import (
    kept_sentences,
    kept_sheet,
    pareto_sentences,
    pareto_sheet,
    shortfall_sheet,
    tally_sheet,
)

MEANS = {"spdq": {64: [0.50, 0.54]}, "a": {64: [0.53]}, "b": {64: [0.60]}, "c": {64: [0.40]}}


def texts(sheet):
    return {name: [entry.text for entry in entries] for name, entries in sheet.rows}


def strong(sheet):
    return {name: [entry.strong for entry in entries] for name, entries in sheet.rows}


@pytest.mark.parametrize(("protocol", "counts"), [
    ("map@50", True), ("map@all", True), ("instance-recall@1", True), ("map@50/first-hits", False),
    ("pr-curve", False), ("precision@10", False),
])  # fmt: skip
def test_what_counts_in_summaries(protocol, counts):
    assert is_main(Topic("made", "seen", "", protocol)) is counts


def test_columns_are_those_of_the_main_directions():
    results = Results(
        told_records({"a": {16: [0.5], 64: [0.5]}}, directions=["i2t", "t2i", "t2u"])
        + told_records({"a": {16: [0.5]}}, "heldout", "instance-recall@1", ["t2i", "t2u"])
        + told_records({"a": {16: [0.5]}}, "seen", "map@50/first-hits")
    )
    single = [(c.topic.split, c.directions, c.bits) for c in columns(results, averaged=False)]
    assert single == [
        ("seen", ("i2t",), 16), ("seen", ("i2t",), 64), ("seen", ("t2i",), 16), ("seen", ("t2i",), 64),
        ("heldout", ("t2u",), 16), ("heldout", ("t2u",), 64),
    ]  # fmt: skip
    averaged = [(c.topic.split, c.directions, c.bits) for c in columns(results, averaged=True)]
    assert averaged == [("seen", ("i2t", "t2i"), 16), ("seen", ("i2t", "t2i"), 64)]


def test_methods_are_compared_on_the_seeds_both_have():
    """b is above on seed 0 by more than our deviation of .028, a by .03 as well: the farthest above is told."""
    found = standings(Results(told_records(MEANS, directions=["i2t"])), averaged=False)
    (gap,) = shortfalls(found)
    assert (gap.ours, gap.best_method, gap.best) == (0.50, "b", 0.60)
    assert gap.slack == pytest.approx(0.0283, abs=1e-4)
    assert tallies(found) == {
        "b": {"seen": Tally(1, 1, 1)},
        "a": {"seen": Tally(1, 0, 0)},
        "c": {"seen": Tally(1, 0, 0)},
        "spdq": {"seen": Tally(1, 0, 0)},
    }


@pytest.mark.parametrize(("other", "near"), [(0.52, 1), (0.528, 1), (0.529, 0)])
def test_within_one_deviation_is_near_and_no_shortfall(other, near):
    """Our deviation over both seeds is .0283, our figure on the seed both have .50."""
    records = told_records({"spdq": {64: [0.50, 0.54]}, "b": {64: [other]}}, directions=["i2t"])
    found = standings(Results(records), averaged=False)
    assert tallies(found)["spdq"]["seen"] == Tally(1, 0, near)
    assert len(shortfalls(found)) == 1 - near


def test_equal_figures_are_both_best():
    found = standings(Results(told_records({"spdq": {64: [0.5]}, "a": {64: [0.5]}})), averaged=False)
    assert {method: split["seen"] for method, split in tallies(found).items()} == {
        "a": Tally(2, 2, 2), "spdq": Tally(2, 2, 2),
    }  # fmt: skip


def test_without_our_recipe_or_without_others_nothing_is_behind():
    for means in ({"a": {64: [0.5]}, "b": {64: [0.6]}}, {"spdq": {64: [0.5]}}):
        assert shortfalls(standings(Results(told_records(means)), averaged=False)) == []


def test_shares_of_the_long_code():
    results = Results(told_records({"a": {16: [0.45], 128: [0.5]}, "b": {16: [0.5]}}, directions=["i2t"]))
    ((share, column),) = kept(results, "a", 16, 128)
    assert share == pytest.approx(0.9)
    assert (column.directions, column.bits) == (("i2t",), 16)
    assert kept(results, "b", 16, 128) == []
    assert texts(kept_sheet(results)) == {"a": ["90.0 %", "90.0 %"]}


def test_a_long_code_that_finds_nothing_has_no_shares():
    assert kept(Results(told_records({"a": {16: [0.5], 128: [0.0]}})), "a", 16, 128) == []


def test_shares_need_the_long_code():
    assert kept_sheet(Results(told_records({"a": {16: [0.5], 64: [0.5]}}))) is None
    assert kept_sheet(Results(told_records({"a": {128: [0.5]}}))) is None


def test_where_our_short_codes_keep_least():
    records = told_records({"spdq": {16: [0.4], 64: [0.5], 128: [0.5]}}, directions=["t2i"])
    assert kept_sentences(Results(records)) == [
        "spdq keeps least at 16 bits on made, map@all, seen, text → image, 16 bits: 80.0 %.",
        "spdq keeps least at 64 bits on made, map@all, seen, text → image, 64 bits: 100.0 %.",
    ]


def pareto(labels, recalls):
    return Results(
        told_records({method: {64: [value]} for method, value in labels.items()}, "unseen")
        + told_records(
            {method: {64: [value]} for method, value in recalls.items()},
            "heldout",
            "instance-recall@10",
            ["i2u", "t2u"],
        )
    )


def test_the_front_is_what_nothing_dominates():
    results = pareto(
        {"spdq": 0.5, "a": 0.6, "b": 0.4, "c": 0.5, "d": 0.6, "e": 0.9},
        {"spdq": 0.8, "a": 0.7, "b": 0.9, "c": 0.7, "d": 0.7},
    )
    (plane,) = planes(results)
    assert (plane.direction, plane.bits, plane.instances.split) == ("t2u", 64, "heldout")
    assert plane.points["spdq"] == (0.5, 0.8)
    assert plane.front == ["a", "d", "spdq", "b"]
    assert plane.dominating("c") == ["spdq", "a", "d"]
    assert "e" not in plane.cells
    assert pareto_sentences([plane]) == ["spdq is on the front in 1 of 1 planes."]
    sheet = pareto_sheet([plane])
    assert texts(sheet) == {
        "spdq": [".500 / .800"],
        "a": [".600 / .700"],
        "d": [".600 / .700"],
        "b": [".400 / .900"],
    }
    assert all(entries == [True] for entries in strong(sheet).values())


def test_what_dominates_our_recipe_is_told():
    (plane,) = planes(pareto({"spdq": 0.5, "a": 0.6}, {"spdq": 0.8, "a": 0.8}))
    assert pareto_sentences([plane]) == [
        "spdq is on the front in 0 of 1 planes.",
        "made, map@all, unseen, 64 bits: .500 / .800, dominated by a .600 / .800",
    ]
    assert strong(pareto_sheet([plane])) == {"spdq": [False], "a": [True]}


def test_no_plane_without_instance_recall():
    assert planes(Results(told_records({"a": {64: [0.5]}}))) == []


def test_a_tally_names_those_that_never_are_near():
    found = standings(Results(told_records(MEANS)), averaged=True)
    sheet = tally_sheet("Title", "About.", tallies(found))
    assert sheet.about == "About. Never within one sd: a, c, spdq."
    assert sheet.heads == (("seen", "best"), ("seen", "within one sd"))
    assert texts(sheet) == {"b": ["1", "1 of 1"]}
    assert strong(sheet) == {"b": [True, False]}


def test_a_tally_of_splits_that_a_method_was_not_judged_on():
    records = told_records({"a": {64: [0.5]}}) + told_records({"b": {64: [0.5]}}, "unseen")
    sheet = tally_sheet("", "", tallies(standings(Results(records), averaged=False)))
    assert texts(sheet) == {"a": ["2", "2 of 2", "–", "–"], "b": ["–", "–", "2", "2 of 2"]}


def test_shortfalls_are_listed_one_by_one():
    sheet = shortfall_sheet("Behind", shortfalls(standings(Results(told_records(MEANS)), averaged=True)))
    assert [head for _, head in sheet.heads] == [
        "direction", "bits", "spdq", "best other", "its figure", "difference", "one sd",
    ]  # fmt: skip
    assert texts(sheet) == {
        "made, map@all, seen": ["image → text and text → image", "64", ".500", "b", ".600", "-.100", ".028"]
    }
