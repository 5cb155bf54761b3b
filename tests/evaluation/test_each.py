"""The score of every query beside the figure."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from spdq.evaluation import DEFINITIONS, chance, evaluate_instances, evaluate_labels, evaluate_ranking

ROWS = [row for row in DEFINITIONS if row != "instance-recall@n"]
NAMES = [row.replace("@R", "@3").replace("@n", "@3") for row in ROWS]


@pytest.fixture(scope="module")
def ranked():
    """Many ties; queries without a relevant item, and one whose only hit lies surely behind rank 3."""
    random = np.random.default_rng(0)
    distances = random.integers(0, 5, (40, 12)).astype(np.float32)
    relevant = random.random((40, 12)) < 0.2
    relevant[::9] = False
    distances[1], relevant[1] = np.arange(12), np.arange(12) == 11
    return distances, relevant


@pytest.mark.parametrize("name", NAMES)
def test_each_score_is_the_figure_of_that_query_alone(ranked, name):
    distances, relevant = ranked
    (figure,) = evaluate_ranking(distances, relevant, name, each=True, block=7)
    alone = [
        evaluate_ranking(distances[q : q + 1], relevant[q : q + 1], name)[0].value
        for q in range(len(relevant))
    ]
    assert figure.each == pytest.approx(alone, nan_ok=True)
    assert math.isnan(figure.each[0]) == (name in ("map@3/skip", "map@3/first-hits"))
    if name == "median-rank":
        assert np.median(figure.each) == figure.value
    elif name != "map@3/skip":  # there ties decide which queries the mean is over
        assert np.nanmean(figure.each) == pytest.approx(figure.value)


def test_each_score_where_no_tie_decides_who_is_left_out(ranked):
    _, relevant = ranked
    distances = np.argsort(np.random.default_rng(1).random(relevant.shape), axis=1).astype(np.float32)
    (figure,) = evaluate_ranking(distances, relevant, "map@3/skip", each=True)
    assert np.isnan(figure.each).sum() == figure.skipped > 0
    assert np.nanmean(figure.each) == pytest.approx(figure.value)


def test_by_labels_and_by_instance(ranked):
    distances, relevant = ranked
    # Query q carries label q, and the items that are relevant to it.
    of_query = np.eye(len(relevant), dtype=np.uint8)
    of_item = np.ascontiguousarray(relevant.T.astype(np.uint8))
    found = evaluate_labels(distances, of_query, of_item, NAMES, each=True)
    expected = evaluate_ranking(distances, relevant, NAMES, each=True)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.each, other.each)
    own = np.arange(len(relevant)) % 12
    names = ["instance-recall@1", "instance-recall@3"]
    for figure in evaluate_instances(distances, own, names, each=True):
        alone = [
            evaluate_instances(distances[q : q + 1], own[q : q + 1], figure.protocol)[0].value
            for q in range(len(own))
        ]
        assert figure.each == pytest.approx(alone)
        assert np.mean(figure.each) == pytest.approx(figure.value)


def test_only_where_asked_for(ranked):
    distances, relevant = ranked
    (figure,) = evaluate_ranking(distances, relevant, "map@3/skip")
    assert figure.each == ()
    assert "each" not in figure.to_json()
    assert all(figure.each == () for figure in chance(NAMES, np.eye(3, dtype=bool), np.eye(3, dtype=bool)))
    (figure,) = evaluate_instances(distances, np.zeros(40, int), "instance-recall@1")
    assert figure.each == ()


def test_a_query_left_out_is_null_in_json(ranked):
    distances, relevant = ranked
    (figure,) = evaluate_ranking(distances[:3], relevant[:3], "map@3/first-hits", each=True)
    said = json.loads(json.dumps(figure.to_json(), allow_nan=False))["each"]
    assert said == [None, *figure.each[1:]]


def test_protocols_that_share_their_scores(ranked):
    distances, relevant = ranked
    both = evaluate_ranking(distances, relevant, ["pr-curve", "map@all", "map@all"], each=True)
    assert both[0].each == both[1].each == both[2].each
    assert (both[0].value, both[0].lowest) == (both[1].value, both[1].lowest)
    assert both[0].points
    assert not both[1].points
