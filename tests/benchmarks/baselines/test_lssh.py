"""LSSH: sparse codes and atoms against general solvers, each step of the alternation, and the codes of new items."""

from __future__ import annotations

import numpy as np
import oracles_baselines_factorisation as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import lssh
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.lssh import LSSH, Pull, Semantics, sparse_codes, step, unit_rows, updated_atoms


@pytest.fixture
def few_atoms(monkeypatch):
    monkeypatch.setattr(lssh, "ATOMS", 12)


def made(rows, columns, seed=0):
    return unit_rows(np.random.default_rng(seed).standard_normal((rows, columns)))


def test_classes_are_told_apart():
    training = class_pairs(200, 4, 0)
    assert min(precision(LSSH().fit(training, 32), held_out(60, 4, 0), training)) > 0.8


def test_sparse_codes_solve_the_lasso_of_each_item():
    targets, atoms = 3 * made(6, 4), made(9, 4, seed=1)
    targets[2] *= 1e-3
    codes = sparse_codes(targets, atoms, 10_000)
    for target, code in zip(targets, codes, strict=True):
        expected = oracle.sparse_code(target, atoms, 0.5)
        np.testing.assert_allclose(code, expected, atol=1e-2 * np.abs(expected).max())
    assert 0 < (codes != 0).mean() < 0.5


def test_sparse_codes_of_nothing_are_zero():
    targets = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    assert not sparse_codes(targets, np.eye(3)[:2], 100).any()


def test_a_start_changes_the_way_only():
    targets, atoms = made(5, 4), made(9, 4, seed=1)
    start = np.random.default_rng(2).standard_normal((5, 9))
    np.testing.assert_allclose(
        sparse_codes(targets, atoms, 10_000, start), sparse_codes(targets, atoms, 10_000), atol=1e-2
    )


def test_atoms_become_the_best_of_their_length(monkeypatch):
    monkeypatch.setattr(lssh, "SWEEPS", 1)
    random = np.random.default_rng(0)
    codes, targets = random.standard_normal((30, 4)), random.standard_normal((30, 3))
    # The second atom would be longer than 1, and no code has the last.
    targets += 3 * codes[:, 1:2]
    codes[:, 3] = 0
    atoms = start = made(4, 3)
    losses = []
    for _ in range(200):
        atoms = updated_atoms(atoms, codes, targets)
        losses.append(float(np.sum((targets - codes @ atoms) ** 2)))
    best = oracle.best_atoms(codes, targets, start)
    assert (np.diff(losses) <= 1e-9 * losses[0]).all()
    assert losses[-1] < losses[0] < float(np.sum((targets - codes @ start) ** 2))
    assert losses[-1] == pytest.approx(float(np.sum((targets - codes @ best) ** 2)), rel=1e-6)
    np.testing.assert_allclose(np.linalg.norm(atoms[1]), 1)
    np.testing.assert_array_equal(atoms[3], start[3])


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_factors_are_the_best_for_all_else(few_atoms, weight):
    image, text = made(10, 5), made(10, 4, seed=1)
    before = Semantics.start(image, text, 6, np.random.default_rng(2))
    pull = Pull(made(10, 6, seed=3), made(10, 6, seed=4), weight)
    after = step(before, image, text, pull)

    def loss(factors):
        mapped = np.sum((factors - before.sparse @ before.link) ** 2)
        pulled = np.sum((factors - pull.text) ** 2)
        return 0.2 * mapped + 0.05 * np.sum((text - factors @ before.basis) ** 2) + weight * pulled

    np.testing.assert_allclose(oracle.numeric_slopes(loss, after.factors), 0, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_sparse_codes_are_the_best_for_all_that_they_stand_for(few_atoms, monkeypatch, weight):
    """The joint lasso over images, factors and, where there are any, decoded codes, one block of columns each."""
    monkeypatch.setattr(lssh, "PASSES", 10_000)
    image, text = made(10, 5), made(10, 4, seed=1)
    before = Semantics.start(image, text, 6, np.random.default_rng(2))
    pull = Pull(made(10, 6, seed=3), made(10, 6, seed=4), weight)
    after = step(before, image, text, pull)
    roots = np.sqrt([0.2, weight])
    targets = np.hstack([image, roots[0] * after.factors, roots[1] * pull.image])
    atoms = np.hstack([before.dictionary, roots[0] * before.link, roots[1] * before.link])
    for target, code in zip(targets, after.sparse, strict=True):
        expected = oracle.sparse_code(target, atoms, 0.5)
        np.testing.assert_allclose(code, expected, atol=1e-2 * np.abs(expected).max())


def test_no_pull_is_a_pull_of_no_weight(few_atoms):
    image, text = made(10, 5), made(10, 4, seed=1)
    before = Semantics.start(image, text, 6, np.random.default_rng(2))
    plain, weightless = (
        step(before, image, text),
        step(before, image, text, Pull(made(10, 6), made(10, 6), 0.0)),
    )
    np.testing.assert_allclose(plain.link, weightless.link, atol=1e-12)
    np.testing.assert_allclose(plain.factors, weightless.factors, atol=1e-12)


def test_new_texts_solve_their_own_least_squares():
    pairs = class_pairs(40, 3, 0)
    method = LSSH().fit(pairs, 8)
    new = held_out(4, 3, 0).text
    basis = method._semantics.basis
    centred = new - pairs.text.mean(axis=0)
    for row, vector in zip(centred, method.embed_text(new), strict=True):
        unit = row / np.linalg.norm(row)
        stacked = np.vstack([np.sqrt(0.05) * basis.T, np.sqrt(0.2) * np.eye(8)])
        expected = np.linalg.lstsq(stacked, np.concatenate([np.sqrt(0.05) * unit, np.zeros(8)]))[0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_new_images_go_through_their_sparse_codes_alone():
    pairs = class_pairs(40, 3, 0)
    method = LSSH().fit(pairs, 8)
    new = held_out(4, 3, 0).image
    semantics = method._semantics
    for row, vector in zip(method._views.image(new), method.embed_image(new), strict=True):
        assert np.linalg.norm(row) == pytest.approx(1)
        expected = oracle.sparse_code(row, semantics.dictionary, 0.5) @ semantics.link
        np.testing.assert_allclose(vector, expected, atol=0.05 * np.abs(expected).max())


def test_rows_that_are_the_mean_row_become_zeros():
    image = np.ones((8, 3), np.float32)
    pairs = Pairs(image, class_pairs(8, 2, 0).text)
    method = LSSH().fit(pairs, 8)
    assert not method.embed_image(image).any()
    assert np.isfinite(method.embed_text(pairs.text)).all()
