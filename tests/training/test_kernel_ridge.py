from __future__ import annotations

import numpy as np
import pytest
from oracles_baselines_factorisation import left_out_error
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge as PlainKernelRidge
from sklearn.linear_model import Ridge

from spdq.training import kernel_ridge
from spdq.training.kernel_ridge import RIDGES, WIDTHS, fit_kernel_ridge, leave_one_out_error, typical_distance


def made(n=40, seed=0):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, 5)).astype(np.float32)
    labels = np.stack([rows[:, 0] > 0, rows[:, 1] + rows[:, 2] > 0.5], axis=1).astype(np.float64)
    return rows, labels


def plain(rows, targets, width, ridge):
    """scikit-learn's regression with the same kernel, on centred targets."""
    gamma = width / typical_distance(rows.astype(np.float64), 0)
    mean = targets.mean(axis=0)
    model = PlainKernelRidge(alpha=ridge, kernel="rbf", gamma=gamma).fit(
        rows.astype(np.float64), targets - mean
    )
    return lambda asked: model.predict(asked.astype(np.float64)) + mean


def test_the_error_is_that_of_leaving_each_row_out():
    rows, labels = made(24)
    centred = labels - labels.mean(axis=0)
    gamma = 0.3
    kernel = np.exp(-gamma * ((rows[:, None] - rows[None]) ** 2).sum(axis=2, dtype=np.float64))
    values, vectors = np.linalg.eigh(kernel)
    errors = []
    for left in range(len(rows)):
        kept = np.arange(len(rows)) != left
        weights = np.linalg.solve(kernel[np.ix_(kept, kept)] + 0.5 * np.eye(len(rows) - 1), centred[kept])
        errors.append(centred[left] - kernel[left, kept] @ weights)
    assert leave_one_out_error(vectors, values, centred, 0.5) == pytest.approx(
        np.mean(np.square(errors)), rel=1e-8
    )


def test_it_keeps_the_width_and_ridge_of_the_least_error():
    rows, labels = made()
    found = fit_kernel_ridge(rows, labels, 0)
    assert found.width in WIDTHS
    assert found.ridge in RIDGES
    scale = typical_distance(rows.astype(np.float64), 0)
    centred = labels - labels.mean(axis=0)
    errors = {}
    for width in WIDTHS:
        squares = ((rows[:, None] - rows[None]) ** 2).sum(axis=2, dtype=np.float64)
        values, vectors = np.linalg.eigh(np.exp(-width / scale * squares))
        errors |= {(width, ridge): leave_one_out_error(vectors, values, centred, ridge) for ridge in RIDGES}
    assert (found.width, found.ridge) == min(errors, key=errors.get)
    assert found.error == pytest.approx(min(errors.values()), rel=1e-6)


def test_predictions_are_scikit_learns_within_0_and_1():
    rows, labels = made()
    found = fit_kernel_ridge(rows, labels, 0)
    asked = np.random.default_rng(1).standard_normal((9, 5)).astype(np.float32)
    expected = np.clip(plain(rows, labels, found.width, found.ridge)(asked), 0, 1)
    assert found(asked) == pytest.approx(expected, abs=1e-5)
    assert found(asked).dtype == np.float32


def test_all_rows_as_landmarks_are_the_exact_kernel():
    rows, labels = made(30)
    exact = fit_kernel_ridge(rows, labels, 0)
    landmarks = fit_kernel_ridge(rows, labels, 0, exact_rows=10, landmarks=30)
    asked = np.random.default_rng(1).standard_normal((9, 5)).astype(np.float32)
    assert (landmarks.width, landmarks.ridge) == (exact.width, exact.ridge)
    assert landmarks(asked) == pytest.approx(exact(asked), abs=1e-4)


def test_few_landmarks_still_learn_the_labels():
    rows, labels = made(400)
    found = fit_kernel_ridge(rows, labels, 0, exact_rows=100, landmarks=60)
    assert ((found(rows) > 0.5) == labels).mean() > 0.9


@pytest.mark.parametrize(
    "rows",
    [np.ones((1, 3)), np.ones((6, 3)), np.zeros((5, 2)), np.eye(4)],
    ids=["one row", "equal rows", "zeros", "no two alike"],
)
def test_degenerate_rows_predict_finite_numbers(rows):
    labels = np.zeros((len(rows), 2))
    labels[0, 1] = 1
    found = fit_kernel_ridge(rows.astype(np.float32), labels, 0)
    assert np.isfinite(found(rows.astype(np.float32))).all()


def test_the_same_seed_gives_the_same_regression(monkeypatch):
    rows, labels = made(60)
    asked = rows[:5] + np.float32(0.1)
    first, second, other = (
        fit_kernel_ridge(rows, labels, seed, exact_rows=10, landmarks=12)(asked) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert kernel_ridge.EXACT_ROWS > kernel_ridge.LANDMARKS


def test_landmarks_give_the_ridge_regression_of_their_features():
    rows, labels = made()
    new = np.random.default_rng(1).standard_normal((9, 5)).astype(np.float32)
    found = fit_kernel_ridge(rows, labels, 3, exact_rows=10, landmarks=15)
    features = Nystroem(
        gamma=found.width / typical_distance(rows.astype(float), 3), n_components=15, random_state=3
    ).fit(rows.astype(float))
    mapped = features.transform(rows.astype(float))
    mean = labels.mean(axis=0)
    twin = Ridge(alpha=found.ridge, fit_intercept=False).fit(mapped, labels - mean)
    expected = np.clip(twin.predict(features.transform(new.astype(float))) + mean, 0, 1)
    np.testing.assert_allclose(found(new), expected, atol=1e-5)
    assert found.error == pytest.approx(left_out_error(mapped @ mapped.T, labels - mean, found.ridge))


def test_typical_distance():
    rows = np.array([[0.0], [1.0], [3.0]])
    assert typical_distance(rows, 0) == 4
    assert typical_distance(np.ones((5, 2)), 0) == 1
    many = np.random.default_rng(0).standard_normal((2100, 3))
    assert typical_distance(many, 0) == pytest.approx(typical_distance(many[:2000], 0), rel=0.05)
