"""Ridge regression to the labels, by cosine."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.ridge_opq import RidgeOPQ


@pytest.mark.parametrize("bits", [16, 32])
def test_classes_that_do_not_touch(bits: int) -> None:
    training = class_pairs(200, 8, seed=1)
    method = RidgeOPQ().fit(training, bits)
    assert min(precision(method, held_out(80, 8, seed=1), training)) > 0.99


def test_vectors_are_centred_predictions_of_unit_length() -> None:
    pairs, others = (made(40, 4, seed=2, noise=1.0) for made in (class_pairs, held_out))
    assert pairs.labels is not None
    method = RidgeOPQ().fit(pairs, 16)
    labels = pairs.labels.astype(float)
    for side, rows, asked, vectors in (
        ("image", pairs.image, others.image, method.embed_image(others.image)),
        ("text", pairs.text, others.text, method.embed_text(others.text)),
    ):
        penalty = method.settings[f"{side}_penalty"]
        predicted = oracle.ridge(rows.astype(float), labels, penalty, asked.astype(float)) - labels.mean(
            axis=0
        )
        np.testing.assert_allclose(vectors, predicted / np.linalg.norm(predicted, axis=1)[:, None], atol=1e-5)


def test_columns_are_filled_up_to_whole_parts() -> None:
    pairs = class_pairs(40, 3, seed=2)
    method = RidgeOPQ().fit(pairs, 16)
    vectors = method.embed_text(pairs.text)
    assert vectors.shape == (40, 4)
    assert not vectors[:, 3].any()
    assert method.with_bits(64).embed_text(pairs.text).shape == (40, 8)
