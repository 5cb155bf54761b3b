from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.training.partners import Partners


@settings(max_examples=60)
@given(
    classes=st.lists(st.integers(-1, 4), min_size=1, max_size=20),
    trained=st.lists(st.booleans(), min_size=20, max_size=20),
    seed=st.integers(0, 99),
)
def test_a_partner_is_another_training_row_of_the_class(classes, trained, seed):
    train = np.flatnonzero(trained[: len(classes)])
    partners = Partners(np.array(classes, np.int64), train, len(classes))
    drawn = partners.draw(train, np.random.default_rng(seed))
    for row, partner in zip(train, drawn, strict=True):
        others = [r for r in train if r != row and classes[r] == classes[row] >= 0]
        assert partner in others if others else partner == row


def test_every_partner_is_drawn_equally_often():
    partners = Partners(np.array([0, 1, 0, 0, 0]), np.array([0, 1, 2, 3]), 5)
    drawn = partners.draw(np.zeros(3000, np.int64), np.random.default_rng(0))
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(values, [2, 3])
    assert abs(counts[0] - 1500) < 120


def test_without_classes_everything_means_itself():
    partners = Partners(None, np.arange(4), 4)
    rows = np.array([2, 0, 3])
    np.testing.assert_array_equal(partners.draw(rows, np.random.default_rng(0)), rows)
    np.testing.assert_array_equal(partners.differ(rows), ~np.eye(3, dtype=bool))


def test_same_and_differ_are_opposites():
    partners = Partners(np.array([5, -1, 5, -1]), np.arange(4), 4)
    rows = np.arange(4)
    expected = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], bool)
    np.testing.assert_array_equal(partners.same(rows, rows), expected)
    np.testing.assert_array_equal(partners.differ(rows), ~expected)


def test_all_items_without_a_class():
    partners = Partners(np.full(3, -1), np.arange(3), 3)
    np.testing.assert_array_equal(partners.draw(np.arange(3), np.random.default_rng(0)), np.arange(3))
