from __future__ import annotations

import numpy as np
import oracles_mixer as oracle
import pytest

from spdq.training import class_items
from spdq.training.class_items import ClassItems, NoiseRule

RULE = NoiseRule(far=0.5, lead=0.1, near=0.6, apart=0.5)


def units(n, width, seed):
    rows = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("at_once", [1, 1 << 24])
@pytest.mark.parametrize("seed", range(4))
def test_the_rule_equals_the_twin(monkeypatch, seed, at_once):
    monkeypatch.setattr(class_items, "_SCORES", at_once)
    vectors, weights = units(60, 4, seed), 3 * units(9, 4, seed + 50)
    given = np.concatenate([np.random.default_rng(seed).integers(0, 5, 52), np.repeat([5, 6, 7, 8], 2)])
    found = RULE.judge(vectors, given, weights)
    np.testing.assert_array_equal(found, oracle.judged(vectors, given, weights, 0.5, 0.1, 0.6, 0.5))
    assert {-1} < set(found.tolist())
    assert (found != given).sum() > (found == -1).sum() > 0
    assert (found[52:] == -1).any()


def test_by_hand():
    """Two classes at right angles; items 2 and 5 look like the other one, 6 like neither; 7 and 8 are two strangers."""
    axes = np.eye(4, dtype=np.float32)
    vectors = axes[[0, 0, 1, 1, 1, 0, 2, 0, 3]]
    given = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])
    weights = np.array([axes[0], axes[1], axes[3]])
    np.testing.assert_array_equal(RULE.judge(vectors, given, weights), [0, 0, 1, 1, 1, 0, 1, -1, -1])


def test_two_that_are_near_each_other_stay_and_so_does_one_alone():
    axes = np.eye(4, dtype=np.float32)
    given = np.array([0, 0, 1, 1, 2])
    vectors = axes[[0, 0, 1, 2, 3]]
    np.testing.assert_array_equal(RULE.judge(vectors, given, axes[:3]), [0, 0, -1, -1, 2])
    np.testing.assert_array_equal(RULE.judge(axes[:1], given[:1], axes[:1]), [0])


def test_an_item_near_no_class_enough_counts_for_none():
    axes = np.eye(3, dtype=np.float32)
    lost = np.array([[0.0, 0.4, 0.9165]], np.float32)
    vectors, given = np.concatenate([axes[[0, 0, 1]], lost]), np.array([0, 0, 1, 0])
    np.testing.assert_array_equal(RULE.judge(vectors, given, axes[:2]), [0, 0, 1, -1])


def test_one_class_in_all_has_no_other():
    vectors = np.array([[1, 0], [-1, 0], [-1, 0]], np.float32)
    np.testing.assert_array_equal(RULE.judge(vectors, np.array([0, 0, 0]), vectors[:1]), [0, 0, 0])


@pytest.mark.parametrize(("power", "shares"), [(1.0, [0.6, 0.3, 0.1]), (0.0, [1 / 3] * 3), (0.5, None)])
def test_classes_are_drawn_by_size_to_the_power(power, shares):
    given = np.repeat([0, 1, 2], [6, 3, 1])
    drawn = ClassItems(given, power).draw(30_000, np.random.default_rng(0))
    expected = shares or np.sqrt([6, 3, 1]) / np.sqrt([6, 3, 1]).sum()
    np.testing.assert_allclose(np.bincount(given[drawn]) / 30_000, expected, atol=0.012)
    within = np.bincount(drawn)[:6] / np.count_nonzero(drawn < 6)
    np.testing.assert_allclose(within, np.full(6, 1 / 6), atol=0.015)


def test_items_that_count_for_none_are_not_drawn():
    samples = ClassItems(np.array([0, 0, 1, 2]), 0.5)
    samples.count_for(np.array([1, -1, 1, -1]))
    assert set(samples.draw(200, np.random.default_rng(0)).tolist()) == {0, 2}
    np.testing.assert_array_equal(samples.classes, [1, -1, 1, -1])


def test_items_cannot_all_count_for_none():
    samples = ClassItems(np.array([0, 1]), 1.0)
    samples.count_for(np.array([-1, -1]))
    np.testing.assert_array_equal(samples.classes, [0, 1])


def test_a_draw_at_the_very_end():
    class Last:
        def random(self, count):
            return np.full(count, np.nextafter(1.0, 0.0))

    samples = ClassItems(np.array([0, 1, 1, 2]), 0.3)
    samples.count_for(np.array([0, 1, 1, -1]))
    assert samples.draw(1, Last()).tolist() == [2]
