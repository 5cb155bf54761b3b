"""Boosted bits."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import cmssh
from spdq_benchmarks.baselines.cmssh import (
    CMSSH,
    agreeing_thresholds,
    best_threshold,
    boost,
    signed_weights,
    weighted_cross,
)


def test_classes_that_do_not_touch() -> None:
    training = class_pairs(200, 8, seed=1)
    method = CMSSH().fit(training, 32)
    assert min(precision(method, held_out(80, 8, seed=1), training)) > 0.97


def test_bits_equal_those_of_the_plain_algorithm() -> None:
    pairs = class_pairs(18, 3, seed=4, d_image=5, d_text=4, noise=1.0)
    labels = pairs.labels
    assert labels is not None
    expected = oracle.boosted_bits(oracle.centred(pairs.image), oracle.centred(pairs.text), labels, 8)
    method = CMSSH().fit(pairs, 8)
    for vectors, signs in zip(
        (method.embed_image(pairs.image), method.embed_text(pairs.text)), expected, strict=True
    ):
        assert np.array_equal(np.where(vectors >= 0, 1, -1), signs)


def test_weights_of_both_kinds_of_pairs() -> None:
    signed = signed_weights(np.array([[1, 0], [1, 1], [0, 0]], np.uint8))
    # Items 0 and 1 share a label, item 2 has none and is unlike itself too.
    np.testing.assert_allclose(signed[:2, :2], 0.125)
    np.testing.assert_allclose([signed[2], signed[:, 2]], -0.1)


def test_every_pair_similar() -> None:
    np.testing.assert_allclose(signed_weights(np.ones((2, 1), np.uint8)), 0.125)


@pytest.mark.parametrize(("d", "e"), [(4, 6), (6, 4)])
def test_cross(d: int, e: int) -> None:
    random = np.random.default_rng(0)
    image, text = random.standard_normal((7, d)), random.standard_normal((7, e))
    signed = random.standard_normal((7, 7)).astype(np.float32)
    np.testing.assert_allclose(weighted_cross(image, signed, text), image.T @ signed @ text, atol=1e-5)


def test_best_threshold_is_the_best_of_all() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        projections, gains = random.integers(-4, 5, 12).astype(float), random.standard_normal(12)
        found = best_threshold(projections, gains, 0.0)
        cuts = [t for t in np.arange(-3.5, 4, 1) if 0 < (projections + t >= 0).sum() < 12]
        tried = [float(gains @ np.where(projections + t >= 0, 1, -1)) for t in cuts]
        assert float(gains @ np.where(projections + found >= 0, 1, -1)) == pytest.approx(max(tried))


def test_threshold_stays_where_nothing_is_better() -> None:
    projections = np.array([-1.0, 1.0])
    assert best_threshold(projections, np.array([-1.0, 1.0]), 0.3) == 0.3
    # One side only: a cut is taken though none gains.
    assert best_threshold(projections, np.array([1.0, 1.0]), 5.0) == 0.0
    # Nothing to cut.
    assert best_threshold(np.zeros(3), np.ones(3), 0.5) == 0.5


def test_search_by_turns_never_loses_agreement() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        u, v = random.standard_normal(15), random.standard_normal(15)
        signed = random.standard_normal((15, 15)).astype(np.float32)
        a, b = agreeing_thresholds(u, v, signed)
        before = np.sign(u) @ signed @ np.sign(v)
        after = np.where(u + a >= 0, 1, -1) @ signed @ np.where(v + b >= 0, 1, -1)
        assert after >= before - 1e-4


def test_boosting_step() -> None:
    random = np.random.default_rng(0)
    signed = random.standard_normal((6, 6)).astype(np.float32)
    signed /= np.abs(signed).sum()
    h, g = (random.choice([-1, 1], 6).astype(np.float32) for _ in range(2))
    step = np.arctanh(float((signed * np.outer(h, g)).sum()))
    expected = signed * np.exp(-step * np.sign(signed) * np.outer(h, g))
    expected /= np.abs(expected).sum()
    boost(signed, h, g)
    np.testing.assert_allclose(signed, expected, atol=1e-6)
    # The bit just learned tells the new weights nothing.
    assert float((signed * np.outer(h, g)).sum()) == pytest.approx(0, abs=1e-5)


def test_a_bit_that_is_always_right() -> None:
    signed = np.array([[0.25, -0.25], [-0.25, 0.25]], np.float32)
    signs = np.array([1, -1], np.float32)
    boost(signed, signs, signs)
    np.testing.assert_allclose(np.abs(signed), 0.25, atol=1e-6)


def test_more_items_than_are_boosted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cmssh, "MAX_ITEMS", 40)
    pairs = class_pairs(100, 4, seed=0)
    method = CMSSH().fit(pairs, 8)
    assert method.settings["items"] == 40
    other = CMSSH().fit(pairs, 8, seed=1)
    assert not np.array_equal(method.embed_text(pairs.text), other.embed_text(pairs.text))
