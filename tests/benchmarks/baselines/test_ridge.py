"""Ridge regression with the penalty of the least leave-one-out error."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest

from spdq_benchmarks.baselines.ridge import PENALTIES, Ridge


@pytest.mark.parametrize(("n", "d"), [(20, 5), (12, 18)])
def test_penalty_and_predictions_equal_refits(n: int, d: int) -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((n, d)).astype(np.float32) + 1
    targets = rows @ random.standard_normal((d, 3)) + random.standard_normal((n, 3))
    errors = [oracle.leave_one_out_error(rows.astype(float), targets, penalty) for penalty in PENALTIES]
    fitted = Ridge(rows, targets)
    assert fitted.penalty == PENALTIES[int(np.argmin(errors))]
    expected = oracle.ridge(rows.astype(float), targets, fitted.penalty, rows[:4].astype(float))
    np.testing.assert_allclose(fitted(rows[:4]), expected, atol=1e-8)


def test_exact_line() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2) ** 2
    targets = rows @ np.array([[2.0], [-1.0]]) + 7
    fitted = Ridge(rows, targets)
    assert fitted.penalty == PENALTIES[0]
    np.testing.assert_allclose(fitted(rows), targets, atol=0.05)


def test_noise_gets_a_large_penalty() -> None:
    random = np.random.default_rng(0)
    rows = random.standard_normal((30, 25)).astype(np.float32)
    fitted = Ridge(rows, random.standard_normal((30, 2)))
    assert fitted.penalty >= 100


def test_one_target_keeps_its_column() -> None:
    rows = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    assert Ridge(rows, rows[:, :1])(rows[:4]).shape == (4, 1)
