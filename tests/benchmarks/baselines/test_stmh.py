"""STMH: topics on and off, the objective that never rises, and the codes of new items."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import oracles_baselines_factorisation as oracle
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.stmh import STMH, _factors, learn_topics, lowest_half


def inputs(n=24):
    pairs = class_pairs(n, 3, 0, d_image=6, d_text=5, noise=0.8)
    return [rows - rows.mean(axis=0) for rows in (pairs.image.astype(float), pairs.text.astype(float))]


def learned(iterations):
    return learn_topics(*inputs(), 8, np.random.default_rng(0), iterations)


def state(topics):
    return topics.topics, topics.centroids, topics.factors, topics.basis, topics.link


def test_classes_are_told_apart():
    training = class_pairs(200, 3, 0)
    assert min(precision(STMH().fit(training, 32), held_out(60, 3, 0), training)) > 0.75


def test_objective_never_rises():
    values = [oracle.stmh_objective(*inputs(), *state(learned(iterations))) for iterations in range(1, 12)]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(values))
    assert values[-1] < values[0]


def test_half_of_the_topics_of_each_item_are_on():
    topics = learned(4).topics
    assert set(np.unique(topics)) == {0.0, 1.0}
    assert (topics.sum(axis=1) == 4).all()


def test_lowest_half_is_the_cheapest_and_prefers_earlier_columns():
    costs = np.random.default_rng(0).standard_normal((12, 6))
    np.testing.assert_array_equal(lowest_half(costs), oracle.cheapest_half(costs))
    np.testing.assert_array_equal(lowest_half(np.zeros((1, 4))), [[1, 1, 0, 0]])


def test_factors_solve_the_equation_of_each_item():
    random = np.random.default_rng(0)
    image, topics = random.standard_normal((5, 6)), lowest_half(random.standard_normal((5, 8)))
    basis, link, weights = (
        random.standard_normal((8, 6)),
        random.standard_normal((8, 8)),
        random.uniform(0.1, 2, 5),
    )
    for row, factor in enumerate(_factors(image, topics, basis, link, weights)):
        left = 0.5 * weights[row] * basis @ basis.T + 0.5 * link @ link.T + 1e-4 * np.eye(8)
        right = 0.5 * weights[row] * basis @ image[row] + 0.5 * link @ topics[row]
        np.testing.assert_allclose(factor, np.linalg.solve(left, right), rtol=1e-6, atol=1e-8)


def test_centroids_are_the_means_of_their_texts():
    found = learned(1)
    _, text = inputs()
    random = np.random.default_rng(0)
    random.standard_normal((24, 8))
    topics = lowest_half(random.random((24, 8)))
    for topic, centroid in zip(topics.T, found.centroids, strict=True):
        np.testing.assert_allclose(centroid, text[topic == 1].sum(axis=0) / (topic.sum() + 2e-4), atol=1e-9)


def test_new_texts_have_the_topics_of_the_nearest_centroids():
    pairs = class_pairs(40, 3, 0)
    method = STMH().fit(pairs, 16)
    new = held_out(10, 3, 0).text
    for row, vector in zip(new, method.embed_text(new), strict=True):
        distances = [
            float(np.sum((row - method._text_mean - centroid) ** 2)) for centroid in method._centroids
        ]
        np.testing.assert_array_equal(np.flatnonzero(vector >= 0), np.sort(np.argsort(distances)[:8]))


def test_new_images_have_half_of_their_bits():
    """Where no two topics have the same texts, whose bits would be the same."""
    pairs = class_pairs(60, 3, 0, noise=2.0)
    method = STMH().fit(pairs, 16)
    new = held_out(10, 3, 0, noise=2.0).image
    assert (np.unpackbits(method.encode_image(new), axis=1).sum(axis=1) == 8).all()


def test_texts_that_are_all_the_same_are_near_to_everything():
    pairs = Pairs(class_pairs(12, 3, 0).image, np.ones((12, 2), np.float32))
    method = STMH().fit(pairs, 16)
    assert (method.encode_text(pairs.text) == 255).all()
    assert np.isfinite(method.embed_image(pairs.image)).all()
