"""CMFH: its objective never rises, each step is the exact one, and classes are told apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import oracles_baselines_factorisation as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.cmfh import CMFH, factorise
from spdq_benchmarks.baselines.contract import Pairs


def views(n=30):
    pairs = class_pairs(n, 3, 0, d_image=7, d_text=5, noise=1.0)
    return [rows - rows.mean(axis=0) for rows in (pairs.image.astype(float), pairs.text.astype(float))]


def found(iterations):
    return factorise(views(), 8, np.random.default_rng(0), iterations)


def test_classes_are_told_apart():
    training = class_pairs(200, 4, 0)
    assert min(precision(CMFH().fit(training, 32), held_out(60, 4, 0), training)) > 0.9


def test_objective_falls():
    values = [oracle.cmfh_objective(views(), *found(iterations)) for iterations in range(1, 12)]
    assert all(after <= before for before, after in pairwise(values))
    assert values[-1] < 0.9 * values[0]


def test_maps_are_the_best_for_the_latent_matrix():
    latent, bases, maps = found(3)
    image_map = maps[0]

    def loss(candidate):
        return oracle.cmfh_objective(views(), latent, bases, [candidate, maps[1]])

    np.testing.assert_allclose(oracle.numeric_slopes(loss, image_map), 0, atol=1e-3)
    assert loss(image_map * 1.01) > loss(image_map)


def test_bases_and_latent_matrix_are_the_best_for_what_they_are_made_from():
    latent, bases, _ = found(1)
    random = np.random.default_rng(0)
    first_maps = [random.standard_normal((7, 8)), random.standard_normal((5, 8))]
    first_latent = (views()[0] @ first_maps[0] + views()[1] @ first_maps[1]) / 2

    def by_basis(candidate):
        return oracle.cmfh_objective(views(), first_latent, [bases[0], candidate], first_maps)

    def by_latent(candidate):
        return oracle.cmfh_objective(views(), candidate, bases, first_maps)

    np.testing.assert_allclose(oracle.numeric_slopes(by_basis, bases[1]), 0, atol=1e-3)
    np.testing.assert_allclose(oracle.numeric_slopes(by_latent, latent), 0, atol=1e-3)


def test_vectors_are_linear_in_centred_inputs():
    pairs = class_pairs(40, 3, 0)
    method = CMFH().fit(pairs, 16)
    shifted = CMFH().fit(Pairs(pairs.image + 5, pairs.text - 3), 16)
    np.testing.assert_allclose(
        shifted.embed_image(pairs.image + 5), method.embed_image(pairs.image), atol=1e-3
    )
    np.testing.assert_allclose(method.embed_text(pairs.text).mean(axis=0), 0, atol=1e-5)


@pytest.mark.parametrize("text", [np.zeros((12, 3), np.float32), np.ones((12, 1), np.float32)])
def test_texts_that_are_all_the_same_say_nothing(text):
    pairs = Pairs(class_pairs(12, 3, 0).image, text)
    method = CMFH().fit(pairs, 16)
    assert np.isfinite(method.embed_image(pairs.image)).all()
    assert (method.embed_text(text) == 0).all()
