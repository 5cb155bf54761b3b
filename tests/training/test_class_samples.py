from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_gated import made_drawings

from spdq.errors import DataError
from spdq.training import inputs
from spdq.training.class_samples import classed_rows, held_out_classes, learners


def test_rows_with_a_class():
    dataset = made_drawings()
    classes = dataset.classes.copy()
    classes[dataset.split.train[::2]] = -1
    rows, found = classed_rows(replace(dataset, classes=classes))
    np.testing.assert_array_equal(rows, dataset.split.train[1::2])
    np.testing.assert_array_equal(found, classes)


@pytest.mark.parametrize("classes", [None, np.full(80, -1), np.full(80, 7)])
def test_fewer_than_two_classes(classes):
    match = "needs /classes, two at least among the training rows: .* train spdq or gated on it"
    with pytest.raises(DataError, match=match):
        classed_rows(replace(made_drawings(), classes=classes))


def test_no_split():
    with pytest.raises(DataError, match="training needs /split, which data set drawings has not"):
        classed_rows(made_drawings().with_split(None))


def test_whole_classes_are_held_out(monkeypatch):
    rows, classes = np.arange(3, 63), np.repeat(np.arange(21), 3)
    classes[60:] = -1
    classes[3:6] = [50, 51, 52]
    assert len(held_out_classes(rows, classes, 0)[1]) == 0
    monkeypatch.setattr(inputs, "MIN_ROWS_TO_VALIDATE", 10)
    monkeypatch.setattr(inputs, "VALIDATION_SHARE", 0.2)
    train, held = held_out_classes(rows, classes, 0)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), rows)
    assert not set(classes[train]) & set(classes[held])
    assert len(held) == 9, "3 of the 18 classes of several items"


def test_a_part_learns_nothing_of_a_class_that_it_reads():
    classes, parts = np.array([0, 0, 1, 2, 2]), np.array([3, 1, 0, -1, -1])
    expected = [[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    np.testing.assert_array_equal(learners(classes, parts, 4), np.array(expected, bool))


def test_a_common_class_is_kept_from_each_items_own_part():
    classes, parts = np.zeros(4, np.int64), np.array([0, 1, 2, 2])
    expected = [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 0, 1]]
    np.testing.assert_array_equal(learners(classes, parts, 4), np.array(expected, bool))


def test_a_single_part_learns_all():
    assert learners(np.array([0, 1]), np.array([0, -1]), 1).all()
