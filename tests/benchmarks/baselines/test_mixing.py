"""Mixes of predictions: convex, of three, and only where vectors are few."""

from __future__ import annotations

import numpy as np
import pytest
from made_pairs import class_pairs

from spdq_benchmarks.baselines import mixing
from spdq_benchmarks.baselines.kernel_ridge_aq import KernelRidgeAQ
from spdq_benchmarks.baselines.mixing import convex_mixes


def test_mixes_are_convex_combinations_of_three():
    mixes = convex_mixes(np.eye(8, dtype=np.float32), 500, np.random.default_rng(0))
    assert mixes.shape == (500, 8)
    assert mixes.dtype == np.float32
    np.testing.assert_allclose(mixes.sum(axis=1), 1, rtol=1e-6)
    assert mixes.min() >= 0
    assert np.count_nonzero(mixes, axis=1).max() == 3


@pytest.mark.parametrize(("enough", "expected"), [(79, 80), (80, 80), (81, 380)])
def test_few_vectors_are_mixed(monkeypatch, enough, expected):
    monkeypatch.setattr(mixing, "MIXES", 300)
    monkeypatch.setattr(mixing, "ENOUGH_VECTORS", enough)
    fitted = []

    class Watched(mixing.AdditiveQuantizer):
        def fit(self, X, y=None, sample_weight=None):
            fitted.append(len(X))
            return super().fit(X, y, sample_weight)

    monkeypatch.setattr(mixing, "AdditiveQuantizer", Watched)
    KernelRidgeAQ().fit(class_pairs(40, 3, 0, noise=2.0), 8)
    assert fitted == [expected]
