"""Kernel ridge + AQ: classes told apart. The regression itself is tested in tests/training."""

from __future__ import annotations

import numpy as np
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import mixing
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.kernel_ridge_aq import KernelRidgeAQ


@pytest.fixture
def few_mixes(monkeypatch):
    monkeypatch.setattr(mixing, "MIXES", 300)


def noisy(n=40):
    return class_pairs(n, 3, 0, d_image=6, d_text=4, noise=2.0)


def test_classes_are_told_apart(few_mixes):
    training = class_pairs(200, 4, 0)
    assert min(precision(KernelRidgeAQ().fit(training, 16), held_out(60, 4, 0), training)) > 0.99


def test_inputs_that_are_all_the_same_predict_the_mean(few_mixes):
    pairs = noisy(30)
    method = KernelRidgeAQ().fit(Pairs(np.ones((30, 4), np.float32), pairs.text, pairs.labels), 8)
    expected = np.broadcast_to(pairs.labels.mean(axis=0), (30, 3))
    np.testing.assert_allclose(method.embed_image(np.ones((30, 4), np.float32)), expected, atol=1e-6)
