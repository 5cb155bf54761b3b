import math

import numpy as np
import pytest
from made_records import bare_record, made_figure, made_record, told_figure, told_records

from spdq.errors import DataError
from spdq_benchmarks.retrieval.cells import Results, Topic, not_ours

SEEN = Topic("made", "seen", "", "map@all")


def test_a_cell_has_mean_and_sample_deviation_over_seeds():
    results = Results(told_records({"spdq": {64: [0.2, 0.4, 0.9]}, "cca": {64: [0.3]}}))
    cell = results.cell(SEEN, "i2t", "spdq", 64)
    assert cell.mean == pytest.approx(0.5)
    assert cell.deviation == pytest.approx(np.std([0.2, 0.4, 0.9], ddof=1))
    single = results.cell(SEEN, "i2t", "cca", 64)
    assert (single.mean, single.deviation) == (0.3, 0.0)
    assert results.cell(SEEN, "i2t", "cca", 16) is None


def test_two_methods_meet_on_the_seeds_both_have():
    results = Results(told_records({"spdq": {64: [0.2, 0.4, 0.9]}, "cca": {64: [0.3]}}))
    ours, other = (results.cell(SEEN, "i2t", method, 64) for method in ("spdq", "cca"))
    assert (ours.on_seeds_of(other), other.on_seeds_of(ours)) == (0.2, 0.3)
    apart = Results([bare_record("dcmh", 64, [told_figure("seen", "", "i2t", "map@all", 0.7)], seed=9)])
    assert apart.cell(SEEN, "i2t", "dcmh", 64).on_seeds_of(ours) == 0.7


def test_scores_are_kept_with_what_was_left_out():
    scores = np.array([0.25, np.nan, 1.0])
    record = bare_record("cca", 16, [made_figure("seen", "", "i2t", "map@50/skip", scores)])
    cell = Results([record]).cell(Topic("made", "seen", "", "map@50/skip"), "i2t", "cca", 16)
    assert cell.scores[0] == pytest.approx(scores, nan_ok=True)
    assert (cell.runs[0].queries, cell.runs[0].skipped) == (3, 1)


def test_a_figure_where_no_query_counts_is_undefined():
    record = bare_record("cca", 16, [told_figure("seen", "", "i2t", "map@all", None)])
    assert math.isnan(Results([record]).cell(SEEN, "i2t", "cca", 16).mean)


def test_means_over_directions_are_by_seed():
    figures = [
        [told_figure("seen", "", "i2t", "map@all", a), told_figure("seen", "", "t2i", "map@all", b)]
        for a, b in ((0.2, 0.4), (0.3, 0.7))
    ]
    results = Results(bare_record("cca", 16, found, seed) for seed, found in enumerate(figures))
    cell = results.mean(SEEN, ("i2t", "t2i"), "cca", 16)
    assert cell.values == pytest.approx({0: 0.3, 1: 0.5})
    assert results.mean(SEEN, ("i2t",), "cca", 16) is results.cell(SEEN, "i2t", "cca", 16)
    assert results.mean(SEEN, ("i2t", "t2u"), "cca", 16) is None


def test_methods_are_ordered_ours_first_then_by_the_mean_at_64_bits():
    values = {"a": 0.1, "b": 0.9, "spdq-paper:no-mmd": 0.2, "spdq-paper": 0.1, "spdq": 0.05, "c": 0.9}
    given = {method: {16: [0.5], 64: [value]} for method, value in values.items()}
    results = Results(told_records(given | {"unmeasured at 64": {16: [0.99]}}))
    order = ["spdq", "spdq-paper", "spdq-paper:no-mmd", "b", "c", "a", "unmeasured at 64"]
    assert results.judged(SEEN) == order
    assert results.judged(SEEN, 64) == order[:-1]
    assert results.methods[:3] == order[:3]


@pytest.mark.parametrize(("lengths", "reference"), [
    ([16, 64, 128], 64), ([16, 32], 32), ([128], 128), ([32, 128], 128), ([0], 0),
])  # fmt: skip
def test_the_length_methods_are_compared_at(lengths, reference):
    results = Results(told_records({"cca": {bits: [0.5] for bits in lengths}}))
    assert results.reference == reference
    assert results.bits == [bits for bits in lengths if bits]


def test_float_vectors_have_no_bits():
    record = bare_record("cca", 0, [told_figure("seen", "", "i2t", "map@all", 0.5)])
    record["bits"] = 64
    assert Results([record]).cell(SEEN, "i2t", "cca", 0).mean == 0.5


def test_topics_are_ordered_and_directions_known():
    records = [
        made_record("b", ["y:", "x:"], "half", 0, "cca", 0.4, 16, queries=3),
        made_record("b", ["y:", "x:"], "rest", 0, "cca", 0.4, 16, queries=3),
        made_record("a", [""], "everything", 0, "cca", 0.4, 16, queries=3),
    ]
    results = Results(records)
    found = [(topic.dataset, topic.split, topic.labels) for topic in results.topics]
    assert list(dict.fromkeys(found)) == [
        ("a", "trained", ""), ("b", "seen", "x:"), ("b", "seen", "y:"), ("b", "unseen", "x:"),
        ("b", "unseen", "y:"), ("b", "heldout", ""),
    ]  # fmt: skip
    instance, labels = results.topics[0], results.topics[2]
    assert (instance.is_instance, labels.is_instance) == (True, False)
    assert results.directions(labels) == ["i2t", "t2i", "t2u"]
    assert (results.main_directions(labels), results.main_directions(instance)) == (["i2t", "t2i"], ["t2u"])


def test_directions_count_where_no_main_one_is():
    results = Results(told_records({"cca": {16: [0.5]}}, directions=["i2u", "t2u"]))
    assert results.main_directions(SEEN) == ["t2u", "i2u"]


@pytest.mark.parametrize(("method", "group"), [
    ("spdq", 0), ("spdq-paper", 1), ("spdq-paper:product", 2), ("spdqx", 3), ("cca", 3),
])  # fmt: skip
def test_what_is_ours(method, group):
    assert not_ours(method) == group


def test_nothing_was_measured():
    with pytest.raises(DataError, match="no records: nothing was measured"):
        Results([])


def test_two_records_of_one_job():
    records = told_records({"cca": {16: [0.5]}})
    with pytest.raises(DataError, match="two records of made, rest, cca, seed 0, 16 bits: map@all i2t"):
        Results(records * 2)


def test_two_versions_of_a_data_set():
    records = told_records({"cca": {16: [0.5, 0.6]}})
    records[1]["dataset_digest"] = "f" * 64
    with pytest.raises(DataError, match=r"data set made are of two versions of it \(.{12} and f{12}\)"):
        Results(records)
