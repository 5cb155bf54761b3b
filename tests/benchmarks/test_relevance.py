from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_gated import made_drawings
from oracles_training import made_dataset

from spdq.data.query_items import QueryItems
from spdq.data.splits import Split
from spdq.errors import DataError
from spdq.evaluation import evaluate_ranking
from spdq.training.gated import RECIPES, GatedTask
from spdq.training.run import train_task
from spdq_benchmarks.evaluation import SIX_TASKS, chance_level, judge
from spdq_benchmarks.relevance import default_protocols, relevance, relevance_name


def log(queries, query, item, value):
    return QueryItems(tuple(queries), *(np.array(part, np.int64) for part in (query, item, value)))


@pytest.fixture(scope="module")
def clicked():
    """Six items, two held-out queries; the database leaves item 1 out."""
    made = made_dataset(6)
    rows = np.array([0, 2, 3, 4, 5])
    split = Split(np.zeros(0, np.int64), np.arange(6), rows, "clicks", 0)
    grades = log(["red cat", "sea"], [0, 0, 1], [0, 1, 5], [3, 3, 2])
    return replace(made, split=split, grades=grades, clicks=log(["cat"], [0], [2], [4]))


@pytest.fixture(scope="module")
def drawings():
    dataset = made_drawings()
    short = replace(RECIPES["default"], min_steps=30, max_steps=30, hidden=32, dim=16, batch=32)
    return dataset, train_task(GatedTask, dataset, 16, short)


def test_gains_of_held_out_queries(clicked):
    distances = np.tile(np.arange(5.0), (2, 1))
    (found,) = relevance(clicked, clicked.split, "")(distances, ["ndcg@5"], None)
    # Item 0 is row 0 of the database, item 1 is not searched, item 5 is its row 4.
    gains = np.array([[7, 0, 0, 0, 0], [0, 0, 0, 0, 3]])
    assert found == evaluate_ranking(distances, gains, "ndcg@5")[0]
    assert relevance_name(clicked, clicked.split, "") == "grades"
    assert default_protocols(clicked.split) == ("dcg@25", "ndcg@25")


def test_no_grades(clicked):
    with pytest.raises(DataError, match="has no /grades: no query of its click log is held out"):
        relevance(replace(clicked, grades=None), clicked.split, "")


def test_a_query_finds_its_class():
    dataset = made_drawings()
    classes = dataset.classes.copy()
    classes[dataset.split.query[0]] = -1
    dataset = replace(dataset, classes=classes)
    distances = np.random.default_rng(0).random((8, 40)).astype(np.float32)
    (found,) = relevance(dataset, dataset.split, "")(distances, ["map@all"], None)
    same = classes[dataset.split.query][:, None] == classes[dataset.split.database][None, :]
    assert found == evaluate_ranking(distances, same, "map@all")[0]
    assert found.empty == 1


def test_all_six_tasks_of_a_matched_split(drawings):
    dataset, model = drawings
    found = judge(model, dataset, directions=SIX_TASKS)
    assert {(j.direction, j.labels, j.split) for j in found} == {(d, "class", "matched") for d in SIX_TASKS}
    assert [j.figure.protocol for j in found[:5]] == [
        "recall@1",
        "recall@5",
        "recall@10",
        "median-rank",
        "map@all",
    ]
    split = dataset.split
    queries = model.weigh_query(model.embed_image(dataset.image_features[split.query]), "image")
    decoded = model.codebooks.decode(model.encode_image(dataset.image_features[split.database]))
    same = dataset.classes[split.query][:, None] == dataset.classes[split.database][None, :]
    (expected,) = evaluate_ranking(-queries @ decoded.T, same, "map@all")
    (reached,) = (j.figure for j in found if j.direction == "i2i" and j.figure.protocol == "map@all")
    assert reached.value == pytest.approx(expected.value, abs=1e-6)


def test_labels_are_asked_for_by_name(drawings):
    dataset, model = drawings
    labels = np.zeros((80, 2), np.uint8)
    labels[np.arange(80), np.arange(80) % 2] = 1
    labelled = replace(dataset, labels=labels, label_names=("parity:even", "parity:odd"))
    (found,) = judge(model, labelled, directions=("i2u",), protocols=["map@all"], labels="parity:")
    assert found.labels == "parity:"
    (level,) = chance_level(labelled, ["map@all"], "parity:")
    assert level.value == pytest.approx(0.5, abs=0.05)


def test_chance_of_held_out_queries(clicked):
    (level,) = chance_level(clicked, ["recall@1"])
    assert (level.queries, level.value) == (2, pytest.approx(1 / 5))


def test_a_click_log_has_no_picture_queries(drawings):
    _, model = drawings
    dataset = replace(
        made_drawings(), clicks=None, grades=log(["aaakkk"], [0], [0], [3]),
        split=Split(np.zeros(0, np.int64), made_drawings().split.train, np.arange(40), "clicks", 0),
    )  # fmt: skip
    (found,) = judge(model, dataset, directions=("t2i",), protocols=["recall@10"])
    assert found.figure.queries == 1
    with pytest.raises(DataError, match=r"is a click log: its held-out queries are texts \(t2i, t2t, t2u\)"):
        judge(model, dataset, directions=("i2t",))
