"""CVH is CCA with the ridge of its public code."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.cvh import CVH


def test_nine_classes_in_eight_directions() -> None:
    made = (9, 1, 20, 18, 0.1)
    training = class_pairs(320, *made)
    method = CVH().fit(training, 8)
    assert min(precision(method, held_out(80, *made), training)) > 0.95


def test_both_sides_of_a_common_signal_get_its_signs() -> None:
    random = np.random.default_rng(0)
    signal = random.choice([-1.0, 1.0], (300, 8)) * np.arange(3, 11)
    pairs = Pairs(
        (signal @ random.standard_normal((8, 12))).astype(np.float32) + 5,
        (signal @ random.standard_normal((8, 10))).astype(np.float32) - 2,
    )
    method = CVH().fit(pairs, 8)
    assert np.unpackbits(method.encode_image(pairs.image) ^ method.encode_text(pairs.text)).mean() < 0.01


def test_solves_the_equation_of_the_paper() -> None:
    pairs = class_pairs(50, 3, seed=3, d_image=10, d_text=9, noise=1.0)
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    method = CVH().fit(pairs, 8)
    image_covariance, text_covariance = oracle.covariance(x, 1e-4), oracle.covariance(y, 1e-4)
    cross = x.T @ y / 50
    directions = np.linalg.lstsq(x, method.embed_image(pairs.image).astype(np.float64), rcond=None)[0]
    left = cross @ np.linalg.inv(text_covariance) @ cross.T @ directions
    right = image_covariance @ directions
    # Cxy Cyy^-1 Cyx w = rho^2 Cxx w: both sides are parallel, column by column, rho descending.
    values = (left * right).sum(axis=0) / (right**2).sum(axis=0)
    np.testing.assert_allclose(left, right * values, atol=1e-4)
    assert (np.diff(values) < 0).all()
    assert method.settings == {"ridge": 1e-4, "directions": 8}
