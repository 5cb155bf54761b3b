"""Kernel ridge + AQ: classes told apart, mixes. The regression itself is tested in tests/training."""

from __future__ import annotations

import numpy as np
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import kernel_ridge_aq as module
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.kernel_ridge_aq import KernelRidgeAQ, convex_mixes


@pytest.fixture
def few_mixes(monkeypatch):
    monkeypatch.setattr(module, "MIXES", 300)


def noisy(n=40):
    return class_pairs(n, 3, 0, d_image=6, d_text=4, noise=2.0)


def test_classes_are_told_apart(few_mixes):
    training = class_pairs(200, 4, 0)
    assert min(precision(KernelRidgeAQ().fit(training, 16), held_out(60, 4, 0), training)) > 0.99


def test_mixes_are_convex_combinations_of_three():
    mixes = convex_mixes(np.eye(8, dtype=np.float32), 500, np.random.default_rng(0))
    assert mixes.shape == (500, 8)
    assert mixes.dtype == np.float32
    np.testing.assert_allclose(mixes.sum(axis=1), 1, rtol=1e-6)
    assert mixes.min() >= 0
    assert np.count_nonzero(mixes, axis=1).max() == 3


@pytest.mark.parametrize(("enough", "expected"), [(79, 80), (80, 80), (81, 380)])
def test_few_vectors_are_mixed(few_mixes, monkeypatch, enough, expected):
    monkeypatch.setattr(module, "ENOUGH_VECTORS", enough)
    fitted = []

    class Watched(module.AdditiveQuantizer):
        def fit(self, X, y=None, sample_weight=None):
            fitted.append(len(X))
            return super().fit(X, y, sample_weight)

    monkeypatch.setattr(module, "AdditiveQuantizer", Watched)
    KernelRidgeAQ().fit(noisy(), 8)
    assert fitted == [expected]


def test_inputs_that_are_all_the_same_predict_the_mean(few_mixes):
    pairs = noisy(30)
    method = KernelRidgeAQ().fit(Pairs(np.ones((30, 4), np.float32), pairs.text, pairs.labels), 8)
    expected = np.broadcast_to(pairs.labels.mean(axis=0), (30, 3))
    np.testing.assert_allclose(method.embed_image(np.ones((30, 4), np.float32)), expected, atol=1e-6)
