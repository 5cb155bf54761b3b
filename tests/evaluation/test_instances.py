from __future__ import annotations

import numpy as np
import pytest

from spdq.errors import DataError, UsageError
from spdq.evaluation import evaluate_instances, evaluate_ranking


def values(figures):
    return [(f.value, f.lowest, f.highest) for f in figures]


def test_by_hand():
    # Own item: alone in front; tied with one other behind one item; last of three.
    distances = np.float32([[0, 1, 2], [0, 1, 1], [3, 1, 2]])
    found = evaluate_instances(distances, np.array([0, 2, 0]), ["instance-recall@1", "instance-recall@2"])
    assert [f.protocol for f in found] == ["instance-recall@1", "instance-recall@2"]
    assert values(found) == [pytest.approx((1 / 3,) * 3), pytest.approx((0.5, 1 / 3, 2 / 3))]
    assert (found[0].queries, found[0].skipped, found[0].empty) == (3, 0, 0)


@pytest.mark.parametrize("block", [1, 7, 256])
def test_is_recall_with_one_relevant_item(block):
    rng = np.random.default_rng(0)
    distances, own = (
        rng.integers(0, 6, (30, 40)).astype(np.float32),
        rng.integers(0, 40, 30).astype(np.uint16),
    )
    relevant = np.arange(40) == own[:, None]
    cuts = (1, 3, 10, 40, 99)
    done = []
    found = evaluate_instances(
        lambda rows: distances[rows],
        own,
        [f"instance-recall@{n}" for n in cuts],
        block=block,
        progress=lambda *step: done.append(step),
    )
    expected = evaluate_ranking(distances, relevant, [f"recall@{n}" for n in cuts])
    np.testing.assert_allclose(values(found), values(expected), atol=1e-12)
    assert done[-1] == (30, 30)
    assert len(done) == -(-30 // block)


def test_all_tied_is_chance():
    figure = evaluate_instances(np.zeros((4, 20)), np.arange(4), "instance-recall@5")[0]
    assert (figure.value, figure.lowest, figure.highest) == (0.25, 0, 1)


def test_no_queries():
    figure = evaluate_instances(np.zeros((0, 5)), np.zeros(0, int), "instance-recall@5")[0]
    assert np.isnan(figure.value)
    assert str(figure) == "instance-recall@5 undefined: no query counts (0 queries)"


@pytest.mark.parametrize("own", [[0, 3], [-1, 0]])
def test_own_row_outside(own):
    with pytest.raises(DataError, match=r"own_rows: expected rows of a database of 3 items, got (3|-1)"):
        evaluate_instances(np.zeros((2, 3)), np.array(own), "instance-recall@1")


@pytest.mark.parametrize("own", [np.zeros((2, 1), int), np.zeros(2)])
def test_own_rows_of_another_form(own):
    with pytest.raises(DataError, match=r"own_rows: expected 1-d integers, got shape \(2"):
        evaluate_instances(np.zeros((2, 3)), own, "instance-recall@1")


def test_other_protocols_are_refused():
    with pytest.raises(UsageError, match="map@all judges by relevance: use evaluate_labels"):
        evaluate_instances(np.zeros((2, 3)), np.zeros(2, int), "map@all")
