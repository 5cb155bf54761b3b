"""The eigenproblem of canonical correlation: exact answers, a generic solver, data with nothing to correlate."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs
from numpy.typing import NDArray

from spdq_benchmarks.baselines.canonical import Centred, LinearMap, Whitening, canonical, leading_pair
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.registry import baseline_class

KNOWN = (0.9, 0.5, 0.2)
LINEAR = ("cvh", "cca", "cca-itq", "imh", "cmssh", "scm-seq", "scm-orth", "ridge-opq", "svd-opq", "cca-opq")


def correlated(n: int = 400) -> tuple[Centred, NDArray[np.float64], NDArray[np.float64]]:
    """Data whose sample correlations are exactly ``KNOWN``, and the directions that have them."""
    random = np.random.default_rng(0)
    white, _ = np.linalg.qr(oracle.centred(random.standard_normal((n, 7))))
    white *= np.sqrt(n)
    rho = np.array(KNOWN)
    image, text = (
        white[:, :3],
        np.concatenate([white[:, :3] * rho + white[:, 3:6] * np.sqrt(1 - rho**2), white[:, 6:]], axis=1),
    )
    mix_image, mix_text = random.standard_normal((3, 3)), random.standard_normal((4, 4))
    data = Centred(image @ mix_image, text @ mix_text, np.zeros(3), np.zeros(4))
    return data, np.linalg.inv(mix_image), np.linalg.inv(mix_text)[:, :3]


def test_known_correlations_and_directions() -> None:
    data, image, text = correlated()
    found = canonical(data, 0.0, 10)
    np.testing.assert_allclose(found.correlations, KNOWN, atol=1e-7)
    assert oracle.agree_up_to_sign(found.image, image, 1e-6)
    assert oracle.agree_up_to_sign(found.text, text, 1e-6)
    # The signs of both halves go together.
    np.testing.assert_allclose(
        np.diag(found.image.T @ data.image.T @ data.text @ found.text) / 400, KNOWN, atol=1e-7
    )


@pytest.mark.parametrize("ridge", [1e-6, 0.1, 2.0])
def test_equals_a_generic_solver(ridge: float) -> None:
    random = np.random.default_rng(1)
    x, y = oracle.centred(random.standard_normal((50, 6))), oracle.centred(random.standard_normal((50, 4)))
    found = canonical(Centred(x, y, x[0], y[0]), ridge, 4)
    values, image, text = oracle.canonical(x, y, ridge)
    np.testing.assert_allclose(found.correlations, values, atol=1e-9)
    assert oracle.agree_up_to_sign(found.image, image, 1e-7)
    assert oracle.agree_up_to_sign(found.text, text, 1e-7)


def test_asks_for_no_more_than_there_are() -> None:
    data, _, _ = correlated()
    assert canonical(data, 0.0, 2).correlations.shape == (2,)
    # A cross-covariance of rank 1 has one direction.
    rank_one = np.outer([1.0, 2.0, 3.0], [1.0, 0.0, -1.0, 2.0])
    assert canonical(data, 0.0, 10, rank_one).correlations.shape == (1,)
    nothing = canonical(data, 0.0, 10, np.zeros((3, 4)))
    assert nothing.correlations.tolist() == [0.0]
    assert np.isfinite(nothing.image).all()


def test_white_coordinates() -> None:
    random = np.random.default_rng(2)
    x, y = oracle.centred(random.standard_normal((30, 5))), oracle.centred(random.standard_normal((30, 3)))
    white = Whitening(Centred(x, y, x[0], y[0]), 0.0)
    np.testing.assert_allclose(white.image_rows(x).T @ white.image_rows(x) / 30, np.eye(5), atol=1e-7)
    np.testing.assert_allclose(white.text_rows(y).T @ white.text_rows(y) / 30, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(x @ white.image_directions(np.eye(5)), white.image_rows(x), atol=1e-9)
    np.testing.assert_allclose(y @ white.text_directions(np.eye(3)), white.text_rows(y), atol=1e-9)
    expected = white.image_rows(x).T @ white.text_rows(y)
    np.testing.assert_allclose(white.cross(x.T @ y), expected, atol=1e-9)


def test_fewer_rows_than_columns() -> None:
    random = np.random.default_rng(3)
    x, y = oracle.centred(random.standard_normal((5, 9))), oracle.centred(random.standard_normal((5, 8)))
    found = canonical(Centred(x, y, x[0], y[0]), 0.0, 8)
    # Five centred rows span four dimensions, in which anything correlates.
    np.testing.assert_allclose(found.correlations[:4], 1, atol=1e-6)
    assert np.isfinite(found.image).all()


@pytest.mark.parametrize("shape", [(3, 8), (8, 3), (1, 1)])
def test_leading_pair(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(4).standard_normal(shape)
    left, right, value = leading_pair(matrix)
    assert value == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-9)
    assert left @ matrix @ right == pytest.approx(value, rel=1e-9)
    assert np.linalg.norm(left) == pytest.approx(1)
    assert np.linalg.norm(right) == pytest.approx(1)
    assert left[np.abs(left).argmax()] > 0


def test_leading_pair_of_nothing() -> None:
    left, right, value = leading_pair(np.zeros((3, 5)))
    assert value == 0
    assert np.isfinite(left).all()
    assert np.isfinite(right).all()


def test_centring_and_linear_map() -> None:
    pairs = class_pairs(20, 3, seed=0)
    data = Centred.of(pairs)
    np.testing.assert_allclose(data.image, oracle.centred(pairs.image), atol=1e-12)
    np.testing.assert_allclose(data.text, oracle.centred(pairs.text), atol=1e-12)
    mapped = LinearMap(data.image_mean, np.eye(20)[:, :2])(pairs.image)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, data.image[:, :2], atol=1e-6)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("side", ["image", "text"])
def test_a_modality_that_never_varies(name: str, side: str) -> None:
    pairs = class_pairs(30, 3, seed=0)
    still = np.full((30, 4), 2, np.float32)
    flat = (
        Pairs(still, pairs.text, pairs.labels) if side == "image" else Pairs(pairs.image, still, pairs.labels)
    )
    method = baseline_class(name)().fit(flat, 16)
    image, text = method.embed_image(flat.image), method.embed_text(flat.text)
    assert np.isfinite(image).all()
    assert np.isfinite(text).all()
    assert (
        len(
            np.unique(
                method.encode_image(flat.image) if side == "image" else method.encode_text(still), axis=0
            )
        )
        == 1
    )
