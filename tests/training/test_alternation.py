from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import oracles_training as oracle
import pytest

from spdq.quantizers.codebooks import Codebooks
from spdq.training.alternation import (
    RIDGE,
    WORD_RIDGE,
    LabelRows,
    initial_alignment,
    procrustes,
    update_alignment,
)

BETA = 0.7


def setting(n=60, classes=5, shared=6, dim=6, words=4, seed=0):
    """Outputs of two towers that follow the labels, the labels, and where the alternation starts."""
    random = np.random.default_rng(seed)
    labels = (random.random((n, classes)) < 0.4).astype(np.float32)
    labels[0] = 0
    mixing = random.normal(size=(2, classes, shared))
    image, text = (
        np.tanh(labels @ m + 0.3 * random.normal(size=(n, shared))).astype(np.float32) for m in mixing
    )
    rows = LabelRows.of(labels)
    return image, text, labels, rows, initial_alignment(rows, shared, dim, 2, words, seed)


def random_rotation(random, dim, shared):
    return np.linalg.qr(random.normal(size=(shared, dim)))[0].T


def test_label_rows_are_distinct_and_counted():
    labels = np.array([[1, 0], [0, 0], [1, 0], [1, 1]], np.float32)
    rows = LabelRows.of(labels)
    assert rows.rows.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert rows.counts.tolist() == [1, 2, 1]
    np.testing.assert_array_equal(rows.rows[rows.of_item], labels)


@pytest.mark.parametrize(("dim", "shared"), [(6, 6), (3, 6), (1, 4)])
def test_procrustes_is_the_best_of_many_rotations(dim, shared):
    random = np.random.default_rng(1)
    targets, outputs = (
        random.normal(size=(50, dim)),
        random.normal(size=(50, shared)).astype(np.float32),
    )
    best = procrustes(targets, outputs)
    assert best.dtype == np.float32
    np.testing.assert_allclose(best @ best.T, np.eye(dim), atol=1e-5)
    reached = np.sum(targets * (outputs @ best.T))
    for _ in range(300):
        assert np.sum(targets * (outputs @ random_rotation(random, dim, shared).T)) < reached


def test_procrustes_finds_the_rotation_that_was_used():
    random = np.random.default_rng(2)
    rotation = random_rotation(random, 5, 5)
    outputs = random.normal(size=(40, 5)).astype(np.float32)
    np.testing.assert_allclose(procrustes(outputs @ rotation.T, outputs), rotation, atol=1e-5)


def test_procrustes_of_nothing_is_still_a_rotation():
    found = procrustes(np.zeros((3, 2)), np.zeros((3, 4), np.float32))
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-6)


@pytest.mark.parametrize(("dim", "classes"), [(6, 4), (3, 5)])
def test_the_start_is_orthonormal_and_seeded(dim, classes):
    *_, rows, start = setting(shared=8, dim=dim, classes=classes)
    assert start.image.shape == start.text.shape == (dim, 8)
    assert start.prototypes.shape == (dim, classes)
    assert start.words.shape == (2, 4, dim)
    assert start.codes.shape == (len(rows.rows), 2)
    for rotation in (start.image, start.text):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(dim), atol=1e-6)
    assert not np.allclose(start.image, start.text)
    z = start.prototypes if dim >= classes else start.prototypes.T
    np.testing.assert_allclose(z.T @ z, np.eye(min(dim, classes)), atol=1e-6)
    again, other = (initial_alignment(rows, 8, dim, 2, 4, seed) for seed in (0, 1))
    for name, part in vars(start).items():
        np.testing.assert_array_equal(part, vars(again)[name])
    assert not np.array_equal(start.prototypes, other.prototypes)


def test_the_start_codes_few_label_rows_exactly():
    *_, rows, _ = setting()
    start = initial_alignment(rows, 6, 6, 2, 64, 0)
    np.testing.assert_allclose(
        Codebooks(start.words, "additive").decode(start.codes), rows.rows @ start.prototypes.T, atol=1e-6
    )


@pytest.mark.parametrize("dim", [6, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_turn_equals_the_plain_twin(dim, seed):
    image, text, labels, rows, now = setting(dim=dim, seed=seed)
    new = update_alignment(now, image, text, rows, BETA)
    targets = labels.astype(np.float64) @ now.prototypes.T
    np.testing.assert_array_equal(new.image, procrustes(targets, image))
    np.testing.assert_array_equal(new.text, procrustes(targets, text))

    codes = now.codes[rows.of_item]
    decoded = [oracle.decoded(now.words, code) for code in codes]
    ridge = oracle.prototypes_ridge(labels, BETA, RIDGE)
    z = oracle.prototypes(new.image, new.text, image, text, labels, decoded, BETA, ridge)
    np.testing.assert_allclose(new.prototypes, z, rtol=1e-4, atol=1e-5)

    words = oracle.words_of(codes, labels @ new.prototypes.T.astype(np.float64), now.words, WORD_RIDGE)
    np.testing.assert_allclose(new.words, words, rtol=1e-3, atol=1e-4)
    distinct = (rows.rows @ new.prototypes.T).astype(np.float32)
    np.testing.assert_array_equal(new.codes, Codebooks(new.words, "additive").encode(distinct))


def test_z_is_a_stationary_point_of_the_cost():
    image, text, labels, rows, now = setting()
    turned = update_alignment(now, image, text, rows, BETA)
    codes = now.codes[rows.of_item]
    ridge = oracle.prototypes_ridge(labels, BETA, RIDGE)

    def cost(z):
        changed = replace(now, image=turned.image, text=turned.text, prototypes=z)
        return oracle.alignment_cost(changed, codes, image, text, labels, BETA) + ridge * np.sum(z**2)

    z = turned.prototypes.astype(np.float64)
    random = np.random.default_rng(3)
    for _ in range(20):
        step = random.normal(size=z.shape)
        step *= 1e-3 / np.linalg.norm(step)
        slope = (cost(z + step) - cost(z - step)) / 2e-3
        assert abs(slope) < 1e-3
        assert cost(z + step) > cost(z)


@pytest.mark.parametrize("seed", range(4))
def test_the_cost_never_rises_where_c_keeps_all_dimensions(seed):
    """Only with d = S is Procrustes the least-squares answer; else it leaves out ||C s||."""
    image, text, labels, rows, now = setting(seed=seed)
    ridge = oracle.prototypes_ridge(labels, BETA, RIDGE)
    costs = []
    for _ in range(8):
        costs.append(
            oracle.alignment_cost(now, now.codes[rows.of_item], image, text, labels, BETA)
            + ridge * np.sum(now.prototypes.astype(np.float64) ** 2)
        )
        now = update_alignment(now, image, text, rows, BETA)
    for before, after in pairwise(costs):
        assert after <= before * (1 + 1e-5)
    assert costs[-1] < 0.8 * costs[0]


def test_an_absent_class_has_a_prototype_of_zeros():
    image, text, labels, *_ = setting()
    labels[:, 3] = 0
    rows = LabelRows.of(labels)
    new = update_alignment(initial_alignment(rows, 6, 6, 2, 4, 0), image, text, rows, BETA)
    np.testing.assert_array_equal(new.prototypes[:, 3], np.zeros(6))
    assert all(np.isfinite(part).all() for part in vars(new).values())


@pytest.mark.parametrize(
    "labels", [np.zeros((7, 3), np.float32), np.ones((1, 3), np.float32), np.eye(3, dtype=np.float32)]
)
def test_degenerate_labels_stay_finite(labels):
    random = np.random.default_rng(0)
    image, text = random.normal(size=(2, len(labels), 4)).astype(np.float32)
    rows = LabelRows.of(labels)
    now = initial_alignment(rows, 4, 3, 2, 256, 0)
    for _ in range(3):
        now = update_alignment(now, image, text, rows, BETA)
    assert all(np.isfinite(part).all() for part in vars(now).values())
    np.testing.assert_allclose(now.image @ now.image.T, np.eye(3), atol=1e-5)
    if not labels.any():
        np.testing.assert_array_equal(now.prototypes, np.zeros((3, 3)))


def test_rows_of_zeros_pull_at_no_prototype():
    image, text, labels, rows, now = setting()
    zeros = ~labels.any(axis=1)
    assert zeros.any()
    changed = np.where(zeros[:, None], 9.0, image).astype(np.float32)
    a, b = (update_alignment(now, outputs, text, rows, BETA) for outputs in (image, changed))
    np.testing.assert_array_equal(a.prototypes, b.prototypes)
