"""Directions whose codes have the similarities of labels as inner products."""

from __future__ import annotations

import numpy as np
import oracles_baselines_linear as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.canonical import Centred
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.scm import SCMOrthogonal, SCMSequential, semantic_cross


def mixed() -> tuple[Pairs, np.ndarray]:
    """30 noisy pairs of several labels each; one has none."""
    pairs = class_pairs(30, 3, seed=4, d_image=7, d_text=5, noise=1.0)
    labels = np.random.default_rng(0).integers(0, 2, (30, 3)).astype(np.uint8)
    labels[3] = 0
    return Pairs(pairs.image, pairs.text, labels), labels


@pytest.mark.parametrize(("kind", "bits", "least"), [(SCMSequential, 16, 0.98), (SCMOrthogonal, 16, 0.93)])
def test_classes_that_do_not_touch(
    kind: type[SCMSequential | SCMOrthogonal], bits: int, least: float
) -> None:
    training = class_pairs(200, 8, seed=1)
    assert min(precision(kind().fit(training, bits), held_out(80, 8, seed=1), training)) > least


def test_sequential_equals_the_algorithm_written_out() -> None:
    pairs, labels = mixed()
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    image, text, _ = oracle.semantic_directions(x, y, labels, 8, ridge=1.0)
    method = SCMSequential().fit(pairs, 8)
    assert oracle.agree_up_to_sign(method.embed_image(pairs.image), x @ image, 1e-4)
    assert oracle.agree_up_to_sign(method.embed_text(pairs.text), y @ text, 1e-4)
    assert method.settings == {"ridge": 1.0, "directions": 8}


def test_codes_come_closer_to_the_similarities_bit_by_bit() -> None:
    pairs = class_pairs(60, 4, seed=1)
    labels = pairs.labels
    assert labels is not None
    method = SCMSequential().fit(pairs, 16)
    image, text = (
        np.where(vectors >= 0, 1.0, -1.0)
        for vectors in (method.embed_image(pairs.image), method.embed_text(pairs.text))
    )
    similarity = 2.0 * (labels.astype(float) @ labels.T) - 1
    left = [
        float(((16 * similarity - image[:, :bits] @ text[:, :bits].T) ** 2).mean())
        for bits in (0, 1, 2, 4, 8, 16)
    ]
    assert left == sorted(left, reverse=True)
    assert left[-1] < 0.4 * left[0]


def test_orthogonal_equals_a_generic_solver() -> None:
    pairs, labels = mixed()
    x, y = oracle.centred(pairs.image), oracle.centred(pairs.text)
    unit = labels / np.maximum(np.linalg.norm(labels, axis=1, keepdims=True), 1)
    similarity = 2 * unit @ unit.T - np.ones((30, 30))
    _, image, text = oracle.canonical(x, y, 1.0, x.T @ similarity @ y / 30)
    method = SCMOrthogonal().fit(pairs, 8)
    again = [0, 1, 2, 0, 1, 2, 0, 1]
    assert oracle.agree_up_to_sign(method.embed_image(pairs.image), (x @ image)[:, again], 1e-4)
    assert oracle.agree_up_to_sign(method.embed_text(pairs.text), (y @ text)[:, again], 1e-4)
    assert method.settings["directions"] == 3


def test_cross_forms_no_similarities() -> None:
    pairs, labels = mixed()
    data = Centred.of(pairs)
    unit = labels / np.maximum(np.linalg.norm(labels, axis=1, keepdims=True), 1)
    similarity = 2 * unit @ unit.T - 1
    np.testing.assert_allclose(
        semantic_cross(data, labels), data.image.T @ similarity @ data.text / 30, atol=1e-9
    )
