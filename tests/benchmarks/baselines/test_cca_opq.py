"""Canonical variates by cosine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq.data.wikipedia import load_wikipedia
from spdq.evaluation import evaluate_labels
from spdq.models.inputs import fit_image_input, fit_text_input
from spdq_benchmarks.baselines.cca_opq import CCAOPQ
from spdq_benchmarks.baselines.contract import Pairs

REAL = Path(os.environ.get("SPDQ_DATA", "absent")) / "wikipedia"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the Wikipedia set is absent (SPDQ_DATA/wikipedia)")


@pytest.mark.parametrize("bits", [16, 32])
def test_classes_that_do_not_touch(bits: int) -> None:
    training = class_pairs(200, 8, seed=1)
    method = CCAOPQ().fit(training, bits)
    assert min(precision(method, held_out(80, 8, seed=1), training)) > 0.98


def test_vectors_equal_those_of_a_generic_solver() -> None:
    pairs = class_pairs(40, 3, seed=3, d_image=6, d_text=8, noise=1.0)
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    rho, image, text = oracle.canonical(x, y, 1.0)
    method = CCAOPQ().fit(pairs, 16)
    first, second = (x @ image) * np.sqrt(rho), (y @ text) * np.sqrt(rho)
    expected = (first @ second.T) / np.linalg.norm(first, axis=1)[:, None] / np.linalg.norm(second, axis=1)
    found = method.embed_image(pairs.image) @ method.embed_text(pairs.text).T
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert method.settings == {"ridge": 1.0, "directions": 6}


@needs_real
@pytest.mark.parametrize(
    ("features", "image_to_text", "text_to_image"), [("sift", 0.259, 0.211), ("cnn", 0.319, 0.296)]
)
def test_figures_of_the_literature(
    features: Literal["sift", "cnn"], image_to_text: float, text_to_image: float
) -> None:
    dataset = load_wikipedia(REAL, features, "paired")
    split, labels = dataset.split, dataset.labels
    images, texts = dataset.image_features, dataset.text_features
    assert split is not None
    assert labels is not None
    assert images is not None
    assert texts is not None
    train, test = split.train, split.query
    assert len(test) == 693
    image_input = fit_image_input(images[train], 256)
    text_input = fit_text_input(texts[train], 1024, weighted=False)
    method = CCAOPQ().fit(Pairs(image_input(images[train]), text_input(texts[train])), 64)
    image = method.embed_image(image_input(images[test]))
    text = method.embed_text(text_input(texts[test]))
    for queries, database, published in ((image, text, image_to_text), (text, image, text_to_image)):
        (figure,) = evaluate_labels(-queries @ database.T, labels[test], labels[test], ["map@all"])
        assert figure.value == pytest.approx(published, abs=0.01)
