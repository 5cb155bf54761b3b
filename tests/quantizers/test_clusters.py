from __future__ import annotations

import numpy as np
import pytest

from spdq.quantizers.clusters import cluster, seeds


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_far_apart_clusters_are_found():
    centres = normal(0, 5, 4) * 100
    vectors = np.repeat(centres, 30, axis=0) + normal(1, 150, 4)
    words, labels = cluster(vectors, 5, np.ones(150), np.random.RandomState(0), max_iter=10)
    assert len(set(labels)) == 5
    assert (labels.reshape(5, 30) == labels[::30, None]).all()
    np.testing.assert_allclose(words[labels[::30]], vectors.reshape(5, 30, 4).mean(axis=1), rtol=1e-4)


def test_a_label_is_the_nearest_word():
    vectors = normal(2, 300, 3)
    words, labels = cluster(vectors, 20, np.ones(300), np.random.RandomState(0), max_iter=100)
    distances = ((vectors[:, None] - words) ** 2).sum(axis=2)
    assert np.array_equal(labels, distances.argmin(axis=1))


def test_heavy_rows_pull_their_word():
    vectors = np.array([[0.0], [1.0], [100.0], [101.0]], np.float32)
    weights = np.array([3.0, 1.0, 1.0, 1.0])
    words, labels = cluster(vectors, 2, weights, np.random.RandomState(0), max_iter=10)
    np.testing.assert_allclose(words[labels].ravel(), [0.25, 0.25, 100.5, 100.5])


@pytest.mark.parametrize("copies", [1, 7])
def test_few_distinct_vectors_become_the_words(copies):
    distinct = normal(3, 6, 5)
    vectors = np.tile(distinct, (copies, 1))
    words, labels = cluster(vectors, 10, np.ones(len(vectors)), np.random.RandomState(0), max_iter=10)
    assert words.shape == (10, 5)
    assert np.array_equal(words[labels], vectors)
    assert len(np.unique(words, axis=0)) == 6


def test_a_start_is_improved():
    vectors = normal(4, 200, 2)
    start = vectors[:4]
    words, labels = cluster(vectors, 4, np.ones(200), np.random.RandomState(0), 50, start)
    before = ((vectors[:, None] - start) ** 2).sum(axis=2).min(axis=1).sum()
    assert ((vectors - words[labels]) ** 2).sum() < before


def test_seeds_reach_every_cluster():
    centres = np.arange(8, dtype=np.float32)[:, None] * 1000
    vectors = np.repeat(centres, 50, axis=0) + normal(5, 400, 1)
    found = seeds(vectors, 8, np.ones(400), np.random.RandomState(0))
    assert sorted(np.rint(found[:, 0] / 1000).astype(int)) == list(range(8))


def test_seeds_where_float32_sees_no_distance():
    vectors = np.float32(1) + np.arange(40, dtype=np.float32)[:, None] * np.float32(1.2e-7)
    vectors[0] = -1e6
    found = seeds(vectors, 10, np.ones(40), np.random.RandomState(0))
    assert found.shape == (10, 1)
    words, labels = cluster(vectors, 10, np.ones(40), np.random.RandomState(0), max_iter=5)
    assert np.isfinite(words).all()
    assert labels.max() < 10
