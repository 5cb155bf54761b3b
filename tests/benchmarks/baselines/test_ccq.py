"""CCQ: the objective that never rises, rotations, out-of-sample maps and exact Euclidean ranking."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import oracles_baselines_factorisation as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines.ccq import CCQ, _map_to, learn_code
from spdq_benchmarks.baselines.contract import Pairs


def views(n=300):
    pairs = class_pairs(n, 5, 0, d_image=12, d_text=8, noise=1.0)
    return [rows - rows.mean(axis=0) for rows in (pairs.image.astype(float), pairs.text.astype(float))]


def learned(iterations):
    return learn_code(views(), 2, np.random.RandomState(0), iterations)


def test_classes_are_told_apart():
    training = class_pairs(200, 4, 0)
    assert min(precision(CCQ().fit(training, 16), held_out(60, 4, 0), training)) > 0.9


def test_objective_never_rises():
    values = []
    for iterations in range(8):
        codebooks, codes, rotations = learned(iterations)
        values.append(oracle.ccq_objective(views(), rotations, codebooks.decode(codes).astype(float)))
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(values))
    assert values[-1] < values[0]


def test_rotations_are_the_best_for_the_decoded_codes():
    _, _, rotations = learned(1)
    codebooks, codes, _ = learned(0)
    decoded = codebooks.decode(codes).astype(float)
    for rotation in rotations:
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(8), atol=1e-9)
    best = oracle.ccq_objective(views(), rotations, decoded)
    random = np.random.default_rng(0)
    for width in (1e-3, 0.1, 1.0):
        others = [
            np.linalg.qr(rotation + width * random.standard_normal(rotation.shape))[0]
            for rotation in rotations
        ]
        signs = [np.sign(np.sum(a * b, axis=0)) for a, b in zip(others, rotations, strict=True)]
        others = [a * s for a, s in zip(others, signs, strict=True)]
        assert oracle.ccq_objective(views(), others, decoded) > best


def test_no_item_has_a_worse_code_than_greedy_encoding_finds():
    codebooks, codes, rotations = learned(4)
    common = np.mean([view @ rotation for view, rotation in zip(views(), rotations, strict=True)], axis=0)
    kept = np.sum((common - codebooks.decode(codes)) ** 2, axis=1)
    for row, error in zip(common, kept, strict=True):
        rest = row.copy()
        for words in codebooks.words:
            rest = rest - words[np.argmin(np.sum((rest - words) ** 2, axis=1))]
        assert error <= np.sum(rest**2) * (1 + 1e-4) + 1e-6


def test_maps_are_ridge_regressions_at_the_length_of_the_codes():
    random = np.random.default_rng(0)
    view, decoded = random.standard_normal((40, 6)), random.standard_normal((40, 3))
    mapped = _map_to(decoded, view)
    stacked = np.vstack([view, np.sqrt(1e-3) * np.eye(6)])
    expected = np.linalg.lstsq(stacked, np.vstack([decoded, np.zeros((6, 3))]))[0]
    np.testing.assert_allclose(np.linalg.norm(view @ mapped), np.linalg.norm(decoded))
    np.testing.assert_allclose(
        mapped / np.linalg.norm(mapped), expected / np.linalg.norm(expected), atol=1e-9
    )


def test_both_modalities_have_vectors_of_one_mean_length():
    pairs = class_pairs(120, 4, 0, noise=1.0)
    scaled = Pairs(pairs.image * 20, pairs.text)
    method = CCQ().fit(scaled, 16)
    lengths = [
        np.sqrt(np.mean(np.sum(v**2, axis=1)))
        for v in (method.embed_image(scaled.image), method.embed_text(pairs.text))
    ]
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)


def test_distances_are_euclidean_and_the_code_has_all_the_bits():
    pairs = class_pairs(60, 4, 0, noise=1.0)
    method = CCQ().fit(pairs, 24)
    queries, codes = method.embed_text(pairs.text[:5]), method.encode_image(pairs.image)
    assert codes.shape == (60, 3)
    assert method.codebooks.bits == 24
    decoded = method.codebooks.decode(codes)
    expected = [[float(np.sum((q - d) ** 2) - np.sum(q**2)) for d in decoded] for q in queries]
    np.testing.assert_allclose(method.distances(queries, codes), expected, atol=1e-4)


def test_views_without_anything_in_common():
    pairs = Pairs(class_pairs(20, 2, 0).image, np.ones((20, 3), np.float32))
    method = CCQ().fit(pairs, 8)
    for vectors in (method.embed_image(pairs.image), method.embed_text(pairs.text)):
        assert np.isfinite(method.distances(vectors, method.encode(vectors))).all()
