import math

import numpy as np
import pytest
from made_records import bare_record, made_figure, told_figure, told_records

from spdq_benchmarks.retrieval.cells import Results, Topic
from spdq_benchmarks.retrieval.comparisons import compare_all
from spdq_benchmarks.retrieval.sheets import (
    ABOVE,
    BELOW,
    difference_sheet,
    figure_sheets,
    number,
    signed,
    topic_about,
)

SEEN = Topic("made", "seen", "", "map@all")
BOTH = ("i2t", "t2i")


def sheets(records, directions=BOTH, topic=SEEN):
    results = Results(records)
    return figure_sheets(results, topic, compare_all(results), directions)


def texts(sheet):
    return {name: [entry.text for entry in entries] for name, entries in sheet.rows}


@pytest.mark.parametrize(("value", "text"), [
    (0.7594, ".759"), (0.0, ".000"), (1.0, "1.000"), (0.9996, "1.000"), (-0.25, "-.250"), (math.nan, "undefined"),
    (12.5, "12.500"),
])  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("value", "text"), [
    (0.25, "+.250"), (-0.25, "-.250"), (0.0, "+.000"), (math.nan, "undefined"),
])  # fmt: skip
def test_signed_numbers(value, text):
    assert signed(value) == text


def test_columns_are_bits_by_direction_and_the_best_is_marked():
    means = {"spdq": {16: [0.4], 64: [0.50, 0.52]}, "a": {16: [0.3], 64: [0.5104]}, "b": {64: [0.2]}}
    (sheet,) = sheets(told_records(means))
    assert sheet.heads == (
        ("image → text", "16 bits"),
        ("image → text", "64 bits"),
        ("text → image", "16 bits"),
        ("text → image", "64 bits"),
    )
    assert texts(sheet) == {"spdq": [".400", ".510"] * 2, "a": [".300", ".510"] * 2, "b": ["–", ".200"] * 2}
    rows = dict(sheet.rows)
    assert [entry.spread for entry in rows["spdq"]] == ["", ".014"] * 2
    assert [entry.strong for entry in rows["spdq"]] == [True, True] * 2
    assert [entry.strong for entry in rows["a"]] == [False, True] * 2
    assert not any(entry.strong for entry in rows["b"])


def test_float_vectors_stand_apart():
    codes, vectors = sheets(told_records({"spdq": {0: [0.6], 64: [0.5]}, "cvh": {64: [0.9]}}))
    assert texts(codes) == {"spdq": [".500"] * 2, "cvh": [".900"] * 2}
    assert (vectors.title, texts(vectors)) == (
        "map@all, seen: float vectors, no codes", {"spdq": [".600"] * 2},
    )  # fmt: skip
    assert vectors.heads == (("image → text", "vectors"), ("text → image", "vectors"))


def test_a_figure_that_is_undefined_is_never_the_best():
    records = [
        bare_record(method, 64, [told_figure("seen", "", "i2t", "map@all", value)])
        for method, value in (("a", None), ("b", 0.1))
    ]
    (sheet,) = sheets(records, ["i2t"])
    assert texts(sheet) == {"b": [".100"], "a": ["undefined"]}
    assert [entries[0].strong for _, entries in sheet.rows] == [True, False]
    (alone,) = sheets(records[:1], ["i2t"])
    assert not alone.rows[0][1][0].strong


def scored(method, scores, bits=64):
    figures = [made_figure("seen", "", direction, "map@all", scores) for direction in BOTH]
    return bare_record(method, bits, figures)


def test_marks_stand_at_64_bits_only():
    ours = np.linspace(0.3, 0.6, 12)
    given = {"spdq": ours, "low": ours - 0.1, "high": ours + 0.1, "same": ours}
    records = [scored(method, scores, bits) for method, scores in given.items() for bits in (16, 64)]
    (sheet,) = sheets(records)
    marks = {name: [entry.mark for entry in entries] for name, entries in sheet.rows}
    assert marks == {"spdq": [""] * 4, "low": ["", BELOW] * 2, "high": ["", ABOVE] * 2, "same": [""] * 4}


def test_differences_have_interval_and_corrected_p():
    ours = np.linspace(0.3, 0.6, 12)
    results = Results([scored("spdq", ours), scored("low", ours - 0.1), scored("same", ours)])
    sheet = difference_sheet(results, SEEN, compare_all(results))
    assert sheet.heads[:3] == tuple(
        ("image → text", name) for name in ("difference [95 %]", "corrected p", "seeds")
    )
    # Twelve equal differences: two of all 2^12 flips are as far out, twice that by Holm.
    assert texts(sheet) == {
        "same": ["+.000 [+.000, +.000]", "1.000", "1"] * 2,
        "low": ["+.100 [+.100, +.100]", ".001", "1"] * 2,
    }
    assert "spdq less the method, 64 bits, made" in sheet.about


def test_no_differences_without_scores():
    results = Results(told_records({"spdq": {64: [0.5]}, "cca": {64: [0.4]}}))
    assert difference_sheet(results, SEEN, compare_all(results)) is None


def test_a_table_tells_protocol_split_queries_and_ties():
    figure = told_figure("unseen", "group:", "i2t", "map@50", 0.5)
    figure |= {"highest": 0.52, "empty": 3}
    topic = Topic("emoji", "unseen", "group:", "map@50")
    record = bare_record("cca", 64, [figure], dataset="emoji", training="half")
    (sheet,) = sheets([record], ["i2t"], topic)
    assert sheet.title == "map@50, unseen, labels group"
    assert sheet.about == (
        "emoji; unseen: the database was not trained on: the figure for new items; 40 queries (3 without a "
        "relevant item). map@50: sum of precision at the hits in the top 50 / hits in the top 50; a query without "
        "one counts 0. Widest range of ties: .020."
    )


def test_a_small_p_is_not_told_as_zero():
    ours = np.linspace(0.3, 0.6, 30)
    results = Results([scored("spdq", ours), scored("low", ours - 0.1)])
    assert texts(difference_sheet(results, SEEN, compare_all(results)))["low"][1] == "< .001"


def test_a_split_without_a_meaning_is_named():
    topic = Topic("made", "seen", "", "instance-recall@10")
    record = bare_record("cca", 64, [told_figure("other", "", "t2u", "instance-recall@10", 0.5)])
    about = topic_about(Results([record]), topic._replace(split="other"), [("t2u", 64)])
    assert about.startswith(
        "made; other; 40 queries. instance-recall@10: 1 when the query's own item is in the top 10"
    )


def test_ties_are_those_of_the_tables_own_columns():
    records = told_records({"spdq": {0: [0.6], 64: [0.5]}})
    records[1]["figures"][0]["highest"] = 0.55
    codes, vectors = sheets(records)
    assert codes.about.endswith("Widest range of ties: .050.")
    assert vectors.about.endswith("Widest range of ties: .000.")
    assert sheets(records, ["t2i"])[0].about.endswith("Widest range of ties: .000.")


def test_no_directions_no_table():
    assert sheets(told_records({"cca": {64: [0.5]}}), []) == []
