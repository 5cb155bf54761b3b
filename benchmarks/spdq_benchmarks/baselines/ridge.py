"""Ridge regression whose penalty is the best by leave-one-out, as two methods here use it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from spdq_benchmarks.baselines.contract import Floats

PENALTIES = tuple(float(10.0**power) for power in range(-2, 7))
"""Penalties tried, on sums over rows."""


class Ridge:
    """Ridge regression with an intercept (Hoerl, Kennard, Technometrics 1970) from rows (n, d) to targets (n, t).

    Of ``PENALTIES`` it takes the one with the least squared leave-one-out error, which has a closed form.
    """

    def __init__(self, rows: Floats, targets: NDArray[Any]) -> None:
        self._fitted = RidgeCV(alphas=PENALTIES).fit(rows.astype(np.float64), targets.astype(np.float64))
        self.penalty = float(self._fitted.alpha_)

    def __call__(self, rows: Floats) -> NDArray[np.float64]:
        """Predictions (m, t) float64 for rows (m, d)."""
        predicted = self._fitted.predict(rows.astype(np.float64))
        return np.asarray(predicted, np.float64).reshape(len(rows), -1)
