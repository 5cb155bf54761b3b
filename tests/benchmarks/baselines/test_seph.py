"""SePH: affinities, the divergence and its slopes, kernel logistic regression, and what cannot be learned."""

from __future__ import annotations

import numpy as np
import oracles_baselines_factorisation as oracle
import pytest
from made_pairs import class_pairs, held_out, precision
from sklearn.metrics.pairwise import rbf_kernel

from spdq.errors import DataError
from spdq_benchmarks.baselines import seph
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.seph import SePHKMeans, SePHRandom

METHODS = pytest.mark.parametrize("method", [SePHKMeans, SePHRandom], ids=lambda method: method.name)
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 1, 1]], np.uint8)


@METHODS
def test_classes_are_told_apart(method):
    training = class_pairs(200, 4, 0)
    assert min(precision(method().fit(training, 32), held_out(60, 4, 0), training)) > 0.95


def test_affinities():
    expected = oracle.label_affinities(LABELS)
    np.testing.assert_allclose(seph.label_affinities(LABELS), expected, atol=1e-7)
    assert not expected[3].any()


def test_labels_that_no_two_items_share_are_refused():
    pairs = class_pairs(6, 6, 0)
    with pytest.raises(DataError, match="seph needs at least two training items that share a label"):
        SePHKMeans().fit(pairs, 8)


def test_divergence_and_its_slopes():
    affinities = seph.label_affinities(LABELS)
    codes = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    cost, slopes = seph.divergence(affinities, codes)
    exact = affinities.astype(float)
    known = exact[exact > 0]
    expected = oracle.seph_objective(exact, codes.astype(float), 0.01)
    assert cost + float(np.sum(known * np.log(known))) == pytest.approx(expected, rel=1e-5)
    numeric = oracle.numeric_slopes(lambda at: oracle.seph_objective(exact, at, 0.01), codes.astype(float))
    np.testing.assert_allclose(slopes, numeric, atol=1e-5)


def test_descent_keeps_the_best_codes_and_separates_classes():
    labels = class_pairs(60, 3, 0).labels
    affinities = seph.label_affinities(labels)

    def cost(steps):
        return seph.divergence(affinities, seph.learn_codes(affinities, 8, np.random.default_rng(0), steps))[
            0
        ]

    assert cost(100) < cost(20) < cost(0)
    signs = seph.learn_codes(affinities, 8, np.random.default_rng(0), 100) >= 0
    of = labels.argmax(axis=1)
    apart = (signs[:, None] != signs).sum(axis=2)
    assert apart[of[:, None] == of].max() < apart[of[:, None] != of].min()


def test_logistic_regression_of_each_bit(monkeypatch):
    monkeypatch.setattr(seph, "LOGISTIC_ITERATIONS", 2000)
    random = np.random.default_rng(0)
    inputs = random.standard_normal((40, 3))
    bits = (inputs[:, :2] + random.standard_normal((40, 2)) > 0) & (inputs[:, 2:] > -1)
    kernel, own = rbf_kernel(inputs, inputs[:7], gamma=0.5), rbf_kernel(inputs[:7], gamma=0.5)
    found = seph.kernel_logistic(kernel, own, bits)
    for weights, bit in zip(found.T, bits.T, strict=True):
        expected = kernel @ oracle.logistic_weights(kernel, own, bit, 0.01)
        np.testing.assert_allclose(kernel @ weights, expected, atol=0.01 * np.abs(expected).max())


def test_width_of_the_kernel_is_the_mean_squared_distance():
    pairs = class_pairs(30, 3, 0)
    method = SePHRandom().fit(pairs, 8)
    distances = [float(np.sum((a - b) ** 2)) for a in pairs.text for b in pairs.text]
    assert method._text.gamma == pytest.approx(1 / (2 * np.mean(distances)), rel=1e-5)


def test_centres(monkeypatch):
    monkeypatch.setattr(seph, "CENTRES", 5)
    pairs = class_pairs(60, 5, 0, noise=0.01)
    random, means = SePHRandom().fit(pairs, 8)._image.centres, SePHKMeans().fit(pairs, 8)._image.centres
    assert random.shape == means.shape == (5, 20)
    assert all((pairs.image == centre.astype(np.float32)).all(axis=1).any() for centre in random)
    classes = np.array([pairs.image[of::5].mean(axis=0) for of in range(5)])
    nearest = np.linalg.norm(means[:, None] - classes, axis=2).min(axis=1)
    assert np.median(nearest) < 0.1


def test_many_pairs_are_sampled(monkeypatch):
    monkeypatch.setattr(seph, "MAX_ROWS", 40)
    training = class_pairs(200, 3, 0)
    method = SePHRandom().fit(training, 16)
    assert len(method._image.centres) == 40
    assert min(precision(method, held_out(30, 3, 0), training)) > 0.9


@METHODS
def test_equal_inputs_have_equal_codes(method):
    """Neither centres that coincide nor distances of 0 stop the regression."""
    pairs = Pairs(np.ones((9, 4), np.float32), class_pairs(9, 3, 0).text, class_pairs(9, 3, 0).labels)
    fitted = method().fit(pairs, 8)
    assert len(np.unique(fitted.encode_image(pairs.image))) == 1
    assert np.isfinite(fitted.embed_image(pairs.image)).all()
