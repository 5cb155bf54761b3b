"""Rankings of a contestant against figures worked out by hand from its distances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_training import made_dataset

from spdq.errors import DataError
from spdq.evaluation import evaluate_instances, evaluate_labels
from spdq_benchmarks.retrieval.contestant import Contestant
from spdq_benchmarks.retrieval.judging import judge, label_sets, labels_of, make_items, rankings
from spdq_benchmarks.retrieval.trainings import make_splits

PROTOCOLS = ("map@all", "map@5", "pr-curve", "map@5/first-hits", "instance-recall@1", "instance-recall@3")
BY_LABEL = {"seen": PROTOCOLS[:4], "unseen": PROTOCOLS[:4], "queries": PROTOCOLS[:1]}


class Plain(Contestant):
    """Ten columns of the features themselves; a code is the sign of each, eight to a byte."""

    def __init__(self, dataset):
        super().__init__(16, {"cut": 10}, 1.0, 0.0)
        self.dataset = dataset

    def images(self, rows):
        return self.dataset.image_features[rows, :10]

    def texts(self, rows, first_line=False):
        return self.dataset.text_features[rows] + np.float32(first_line)

    def units(self, images, texts):
        return images + texts

    def weighted(self, queries):
        return 2 * queries

    def encode(self, vectors):
        return np.packbits(vectors > 0, axis=1)

    def code_distances(self, queries, codes):
        return -(queries @ (2.0 * np.unpackbits(codes, axis=1, count=10).T - 1))


@pytest.fixture(scope="module")
def dataset():
    made = made_dataset(60, every=4)
    labels = made.labels.copy()
    labels[0] = 0
    return replace(made, labels=labels)


def searched(dataset, direction, rows):
    images, texts = dataset.image_features[rows, :10], dataset.text_features[rows]
    return {"i": images, "t": texts, "u": images + texts}[direction[2]]


def asked(dataset, direction, rows):
    return 2 * (dataset.image_features[rows, :10] if direction[0] == "i" else dataset.text_features[rows] + 1)


@pytest.mark.parametrize("coding", ["codes", "vectors"])
@pytest.mark.parametrize("training", ["rest", "half", "everything"])
def test_figures_by_hand(dataset, training, coding):
    contestant = Plain(dataset)
    splits = make_splits(training, len(dataset), dataset.split.query, 1)
    items = make_items(contestant, splits, coding)
    found = list(rankings(contestant, items, splits, coding))
    assert [(r.name, r.direction) for r in found] == [
        (name, direction) for name in splits for direction in ("i2t", "t2i", "t2u", "i2u")
    ]
    for ranking in found:
        split = splits[ranking.name]
        items_there = searched(dataset, ranking.direction, split.database)
        if coding == "codes":
            items_there = np.where(items_there > 0, 1.0, -1.0)
        distances = -(asked(dataset, ranking.direction, split.query) @ items_there.T)
        entries = judge(ranking, dataset, PROTOCOLS)
        if ranking.name in BY_LABEL:
            expected = [
                (prefix, figure)
                for prefix, columns in (("group:", slice(5)), ("topic:", slice(5, None)))
                for figure in evaluate_labels(
                    distances,
                    dataset.labels[split.query, columns],
                    dataset.labels[split.database, columns],
                    BY_LABEL[ranking.name],
                    each=True,
                )
            ]
        else:
            own = np.searchsorted(split.database, split.query)
            expected = [
                ("", figure) for figure in evaluate_instances(distances, own, PROTOCOLS[4:], each=True)
            ]
        assert len(entries) == len(expected)
        for entry, (prefix, figure) in zip(entries, expected, strict=True):
            assert (entry["split"], entry["labels"], entry["direction"], entry["protocol"]) == (
                ranking.name,
                prefix,
                ranking.direction,
                figure.protocol,
            )
            assert entry["value"] == pytest.approx(figure.value, abs=1e-6)
            assert (entry["queries"], entry["empty"]) == (len(split.query), figure.empty)
            if figure.points:
                assert "each" not in entry
                assert entry["points"][-1]["precision"][0] == pytest.approx(
                    figure.points[-1].precision[0], abs=1e-5
                )
            else:
                given = [np.nan if score is None else score for score in entry["each"]]
                assert given == pytest.approx(figure.each, abs=1e-5, nan_ok=True)
                assert all(score is None or score == round(score, 5) for score in entry["each"])


def test_items_are_made_once_for_all_splits(dataset):
    contestant = Plain(dataset)
    splits = make_splits("rest", len(dataset), dataset.split.query, 0)
    items = make_items(contestant, splits, "codes")
    np.testing.assert_array_equal(items.rows, np.arange(len(dataset)))
    assert {name: codes.shape for name, codes in items.codes.items()} == dict.fromkeys("itu", (60, 2))
    assert set(items.seconds) == {"encode_per_image", "encode_per_text"}
    assert all(seconds > 0 for seconds in items.seconds.values())
    assert make_items(contestant, splits, "vectors").codes == {}


def test_a_split_without_protocols_of_its_own_is_not_judged(dataset):
    contestant = Plain(dataset)
    splits = make_splits("rest", len(dataset), dataset.split.query, 0)
    items = make_items(contestant, splits, "codes")
    for ranking in rankings(contestant, items, splits, "codes"):
        assert bool(judge(ranking, dataset, ("map@5",))) == (ranking.name == "seen")


def test_label_sets(dataset):
    assert label_sets(dataset) == ["group:", "topic:"]
    names = tuple(name.partition(":")[2] for name in dataset.label_names)
    assert label_sets(replace(dataset, label_names=names)) == [""]
    assert label_sets(replace(dataset, label_names=("plain", *dataset.label_names[1:]))) == [""]
    np.testing.assert_array_equal(labels_of(dataset, "topic:"), dataset.labels[:, 5:])
    np.testing.assert_array_equal(labels_of(dataset, ""), dataset.labels)
    with pytest.raises(DataError, match="data set made has no /labels to judge by"):
        labels_of(replace(dataset, labels=None, label_names=()), "")
