from __future__ import annotations

import math

import numpy as np
import pytest

from spdq.evaluation.averages import LEFT_OUT, Score, average


def test_plain_mean():
    assert average([Score(0.5, 0.25, 1.0), Score(0.0, 0.0, 0.5), LEFT_OUT]) == (0.25, 0.125, 0.75)


def test_nobody_counts():
    assert all(math.isnan(x) for x in average([]))
    assert all(math.isnan(x) for x in average([LEFT_OUT, LEFT_OUT]))


def test_uncertain_query_beside_a_sure_one():
    # Half of the orders: (.2 + .8) / 2; the other half: .2 alone.
    value, low, high = average([Score(0.2, 0.2, 0.2), Score(0.4, 0.8, 0.8, 0.5)])
    assert (value, low, high) == pytest.approx((0.35, 0.2, 0.5))


def test_only_uncertain_queries():
    # Given that one counts: both (1/4) mean .5, only the first (1/4) .2, only the second (1/4) .8.
    value, low, high = average([Score(0.1, 0.2, 0.2, 0.5), Score(0.4, 0.8, 0.8, 0.5)])
    assert (value, low, high) == pytest.approx((0.5, 0.2, 0.8))


def test_two_thousand_uncertain_queries_alike():
    # Each counts with .3 and then scores .6 on average: so does their mean.
    value, low, high = average([Score(0.18, 0.1, 0.9, 0.3)] * 2000)
    assert (value, low, high) == pytest.approx((0.6, 0.1, 0.9), rel=1e-12)


def test_expected_ratio_against_enumeration():
    rng = np.random.default_rng(0)
    values, counted = rng.random(8), rng.choice([0.2, 0.5, 0.9, 1.0], 8)
    masks = (np.arange(256)[:, None] >> np.arange(8)) & 1 == 1
    chance = np.where(masks, counted, 1 - counted).prod(axis=1)
    some = masks.any(axis=1) & (chance > 0)
    means = (masks * values).sum(axis=1)[some] / masks.sum(axis=1)[some]
    found = average([Score(v * p, v, v, p) for v, p in zip(values, counted, strict=True)])
    expected = chance[some] @ means / chance[some].sum()
    assert found == pytest.approx((expected, means.min(), means.max()), abs=1e-12)
