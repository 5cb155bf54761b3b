import pytest
from made_records import made_records, told_records

from spdq_benchmarks.retrieval.cells import Results
from spdq_benchmarks.retrieval.costs import cost_sheet, dataset_sheet, machine_sentences, seed_sentences


def texts(sheet):
    return {name: [entry.text for entry in entries] for name, entries in sheet.rows}


def test_data_sets_with_counts_digest_and_seeds():
    results = Results(made_records({"b": [""]}, {"spdq": 0.6, "cca": 0.3}, (16,), queries=3))
    sheet = dataset_sheet(results)
    (digest,) = {record["dataset_digest"] for record in results.records}
    assert texts(sheet) == {
        "b": [
            digest[:16],
            "everything 203, half 3, rest 3",
            "everything 203, half 100, rest 200",
            "heldout 203, seen 200, trained 203, unseen 100",
            "0, 1",
            "2",
        ]
    }
    assert sheet.is_text


def test_methods_by_their_seeds():
    results = Results(
        told_records({"spdq": {16: [0.5, 0.5]}, "a": {16: [0.5]}, "spdq-paper": {16: [0.5, 0.5]}})
    )
    assert seed_sentences(results) == ["Seeds 0, 1: spdq, spdq-paper.", "Seed 0: a."]


def test_machines_and_versions_each_once():
    records = told_records({"cca": {16: [0.5, 0.5, 0.5]}})
    records[2]["machine"] = {"cpu": "other", "flags": ["avx2", "fma"]}
    assert machine_sentences(Results(records)) == [
        "Machine: cpu made, cores 2.",
        "Machine: cpu other, flags avx2 fma.",
        "Threads of one job: 1.",
        "Versions: spdq 0.1.0, numpy 2.4.6.",
    ]


def test_costs_are_means_over_seeds_at_64_bits():
    results = Results(
        told_records({"spdq-paper": {64: [0.5], 0: [0.5]}, "cca": {16: [0.5], 64: [0.5, 0.5, 0.5]}})
    )
    sheet = cost_sheet(results, "made")
    # Seed s takes 10 + s seconds.
    assert texts(sheet) == {
        "spdq-paper": ["10.00", "1.00", "0.25", "15.0", "25.0", "8", "256", "float", "labels"],
        "cca": ["11.00", "1.10", "0.25", "15.0", "25.0", "8", "–", "float", "labels"],
    }


def test_costs_without_the_papers_recipe_have_no_ratio():
    sheet = cost_sheet(Results(told_records({"dcmh": {64: [0.5]}, "cca": {16: [0.5]}})), "made")
    assert texts(sheet) == {"dcmh": ["10.00", "–", "0.25", "15.0", "25.0", "8", "–", "code", "labels"]}


@pytest.mark.parametrize("split", ["unseen", "trained"])
def test_costs_are_those_of_training_on_all_but_the_queries(split):
    assert cost_sheet(Results(told_records({"cca": {64: [0.5]}}, split)), "made") is None
