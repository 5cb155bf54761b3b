"""Texts on their singular vectors, images regressed to them."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import svd_opq
from spdq_benchmarks.baselines.svd_opq import SVDOPQ


@pytest.mark.parametrize("bits", [16, 32])
def test_classes_that_do_not_touch(bits: int) -> None:
    training = class_pairs(200, 8, seed=1)
    method = SVDOPQ().fit(training, bits)
    assert min(precision(method, held_out(80, 8, seed=1), training)) > 0.98


def test_vectors_equal_those_of_a_plain_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svd_opq, "DIM", 4)
    pairs, others = (made(60, 4, seed=2, noise=0.3) for made in (class_pairs, held_out))
    method = SVDOPQ().fit(pairs, 16)
    _, _, axes = np.linalg.svd(oracle.centred(pairs.text))
    targets = oracle.centred(pairs.text) @ axes[:4].T
    text = (others.text - pairs.text.mean(axis=0)) @ axes[:4].T
    image = oracle.ridge(
        pairs.image.astype(float), targets, method.settings["image_penalty"], others.image.astype(float)
    )
    assert method.settings["dim"] == 4
    expected = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text)]
    found = method.embed_image(others.image), method.embed_text(others.text)
    # The signs of singular vectors are anyone's, but the same on both sides.
    assert oracle.agree_up_to_sign(np.concatenate(found), np.concatenate(expected), 2e-3)


def test_no_more_dimensions_than_the_text_has() -> None:
    assert SVDOPQ().fit(class_pairs(40, 3, seed=0, d_text=6), 8).settings["dim"] == 6
    assert SVDOPQ().fit(class_pairs(5, 2, seed=0), 8).settings["dim"] == 5
