import pytest
from made_records import PUBLISHED, told_records

from spdq_benchmarks.retrieval.beside import beside
from spdq_benchmarks.retrieval.cells import Results
from spdq_benchmarks.retrieval.published import load_published

SIZES = "items = 240\nquery = 40\ntrain = 200"
"""Those of made records."""


def found(means, changes=(), protocol="map@50", dataset="mirflickr", **given):
    text = PUBLISHED
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    results = Results(told_records(means, protocol=protocol, dataset=dataset, **given))
    return beside(results, load_published(text))


def texts(entry):
    return {name: [cell.text for cell in cells] for name, cells in entry.sheet.rows}


SAME = (("items = 100", SIZES), ('"MAP@50"', '"map@50"'), ('"partly"', '"seen"'))


def test_what_is_not_comparable_stands_apart_with_its_reasons():
    (entry,) = found({"scm-seq": {32: [0.31], 64: [0.9]}})
    assert entry.reasons == (
        "items: 240 here, 100 there",
        "queries: 40 here, not stated there",
        "training items: 200 here, not stated there",
        "protocol: map@50 here, MAP@50 there",
        "database trained on: all of it here, partly there",
    )
    assert entry.sheet.heads == (
        ("published: MAP@50, MIRFlickr-25K, 32 bits", "image → text"),
        ("published: MAP@50, MIRFlickr-25K, 32 bits", "text → image"),
        ("ours: map@50, mirflickr, seen, 32 bits", "image → text"),
        ("ours: map@50, mirflickr, seen, 32 bits", "text → image"),
    )
    assert texts(entry) == {"SCM / scm-seq": [".600", ".800", ".310", ".310"]}
    assert entry.differences == {}
    assert entry.sheet.about == (
        "Somebody, Somewhere 2017, Table 1. Features there: GIST. Database trained on, there: partly."
    )


def test_what_is_comparable_has_its_difference():
    (entry,) = found({"scm-seq": {16: [0.4, 0.5], 32: [0.65, 0.75]}}, SAME)
    assert entry.reasons == ()
    assert entry.sheet.heads[4:] == (
        ("ours less published", "image → text"),
        ("ours less published", "text → image"),
    )
    assert texts(entry) == {"SCM / scm-seq": [".600", ".800", ".700", ".700", "+.100", "-.100"]}
    assert entry.differences == pytest.approx({("scm-seq", "i2t"): 0.1, ("scm-seq", "t2i"): -0.1})


def test_a_direction_that_was_not_measured_has_no_figure():
    (entry,) = found({"scm-seq": {32: [0.65]}}, SAME, directions=["i2t"])
    assert texts(entry) == {"SCM / scm-seq": [".600", ".800", ".650", "–", "+.050", "–"]}


def test_a_skipping_protocol_takes_ours_without_skips():
    (entry,) = found({"scm-seq": {32: [0.65]}}, [('nearest = "map@50"', 'nearest = "map@50/skip"')])
    assert entry.sheet.heads[2][0] == "ours: map@50, mirflickr, seen, 32 bits"


@pytest.mark.parametrize("given", [
    {"protocol": "map@all"}, {"split": "unseen"}, {"means": {"scm-seq": {64: [0.5]}}}, {"means": {"cca": {32: [0.5]}}},
])  # fmt: skip
def test_what_the_run_did_not_measure_is_named(given):
    (entry,) = found(**{"means": {"scm-seq": {32: [0.5]}}, **given})
    assert (entry.sheet, entry.missing) == (None, ("scm-seq",))


def test_nothing_without_a_data_set_or_a_method_in_common():
    assert found({"scm-seq": {32: [0.5]}}, dataset="emoji") == []
    assert found({"scm-seq": {32: [0.5]}}, [('SCM = "scm-seq"', 'CCA = "cca"')]) == []


def test_training_on_half_alone_is_a_reason():
    (entry,) = found(
        {"scm-seq": {32: [0.5]}}, [*SAME, ("[table.sets", 'split = "unseen"\n[table.sets')], split="unseen"
    )
    assert entry.reasons == ("nothing here was trained on all items but the queries",)


def test_cca_on_wikipedia_by_float_vectors():
    records = told_records(
        {"cca-opq": {0: [0.255]}}, split="queries", protocol="map@all", dataset="wikipedia"
    )
    for record in records:
        record["rows"] |= {"query": 693, "train": 2173}
    (entry,) = beside(Results(records), load_published())
    assert (entry.table.id, entry.reasons) == ("wikipedia-cca", ())
    assert texts(entry) == {"CCA, vectors / cca-opq": [".259", ".211", ".255", ".255", "-.004", "+.044"]}
    assert entry.sheet.heads[2][0] == "ours: map@all, wikipedia, queries, float vectors"
