"""The rotation of iterative quantization."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.cca_itq import CCAITQ, itq


@pytest.mark.parametrize("bits", [16, 32])
def test_classes_that_do_not_touch(bits: int) -> None:
    training = class_pairs(200, 8, seed=1)
    method = CCAITQ().fit(training, bits)
    assert min(precision(method, held_out(80, 8, seed=1), training)) > 0.98


@pytest.mark.parametrize("bits", [5, 9])
def test_loss_never_rises(bits: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 5)) * [3, 2, 1, 0.5, 0.1]
    losses = [
        oracle.quantization_loss(vectors, itq(vectors, bits, turns, np.random.default_rng(1)))
        for turns in range(8)
    ]
    assert all(after <= before + 1e-9 for before, after in pairwise(losses))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("bits", [4, 7])
def test_rows_of_the_rotation_are_orthonormal(bits: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    rotation = itq(vectors, bits, 3, np.random.default_rng(1))
    assert rotation.shape == (4, bits)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-12)


def test_finds_the_corners_of_a_turned_cube() -> None:
    random = np.random.default_rng(0)
    corners = random.choice([-1.0, 1.0], (400, 3))
    turn, _ = np.linalg.qr(random.standard_normal((3, 3)))
    best = min(
        oracle.quantization_loss(corners @ turn, itq(corners @ turn, 3, 50, np.random.default_rng(seed)))
        for seed in range(5)
    )
    assert best == pytest.approx(0, abs=1e-9)


def test_vectors_are_variates_scaled_by_correlation_and_turned() -> None:
    pairs = class_pairs(40, 3, seed=3, d_image=6, d_text=9, noise=1.0)
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    rho, image, text = oracle.canonical(x, y, 1.0)
    method = CCAITQ().fit(pairs, 8)
    # Whatever the signs of directions and the rotation: inner products of vectors stay.
    found = method.embed_image(pairs.image) @ method.embed_text(pairs.text).T
    np.testing.assert_allclose(found, (x @ image * rho) @ (y @ text * rho).T, atol=1e-4)
