"""The spectral embedding of IMH."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import imh
from spdq_benchmarks.baselines.imh import IMH, laplacian, regression


def test_nine_classes_in_eight_directions() -> None:
    made = (9, 1, 20, 18, 0.1)
    training = class_pairs(320, *made)
    method = IMH().fit(training, 8)
    assert min(precision(method, held_out(80, *made), training)) > 0.9


def test_vectors_are_the_limit_of_the_coupled_problem() -> None:
    pairs = class_pairs(25, 3, seed=3, d_image=12, d_text=10, noise=0.5)
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    image, text = oracle.inter_media(x, y, 8, imh.NEIGHBOURS, coupling=1e7)
    method = IMH().fit(pairs, 8)
    for rows, embedding, vectors in (
        (x, image, method.embed_image(pairs.image)),
        (y, text, method.embed_text(pairs.text)),
    ):
        projected = rows @ np.linalg.inv(rows.T @ rows + np.eye(rows.shape[1])) @ rows.T @ embedding
        assert oracle.agree_up_to_sign(vectors, projected - np.median(projected, axis=0), 1e-4)


def test_bits_are_balanced_on_the_training_rows() -> None:
    pairs = class_pairs(100, 5, seed=0)
    method = IMH().fit(pairs, 16)
    for codes in (method.encode_image(pairs.image), method.encode_text(pairs.text)):
        assert np.unpackbits(codes, axis=1).mean(axis=0) == pytest.approx(0.5, abs=0.02)


def test_laplacian_of_points_on_a_line() -> None:
    rows = np.array([[0.0], [1.0], [3.0], [3.5]])
    # Nearest: 0-1, 1-0, 2-3, 3-2.
    expected = [[1, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]]
    assert laplacian(rows, 1).tolist() == expected
    # More neighbours than others: everyone's.
    assert np.array_equal(laplacian(rows, 9), 4 * np.eye(4) - 1)


def test_regression() -> None:
    rows = np.random.default_rng(0).standard_normal((8, 3))
    expected = np.linalg.inv(rows.T @ rows + np.eye(3)) @ rows.T
    np.testing.assert_allclose(regression(rows), expected, atol=1e-12)


def test_more_items_than_the_eigenproblem_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imh, "MAX_ITEMS", 40)
    pairs = class_pairs(100, 5, seed=0)
    first, second = IMH().fit(pairs, 8), IMH().fit(pairs, 8, seed=1)
    assert first.settings["items"] == 40
    assert not np.array_equal(first.embed_text(pairs.text), second.embed_text(pairs.text))
