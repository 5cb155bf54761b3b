"""CMCQ: its objective and slopes, codes word by word, the constant inner products, and ranking by sums of words."""

from __future__ import annotations

from itertools import product

import numpy as np
import oracles_baselines_factorisation as oracle
import pytest
from made_pairs import class_pairs, held_out, precision

from spdq_benchmarks.baselines import cmcq
from spdq_benchmarks.baselines.cmcq import (
    CMCQ,
    encode,
    improve,
    improved_words,
    inner_products,
    start,
    words_loss,
)
from spdq_benchmarks.baselines.contract import Pairs


def vectors(n=300, dim=8, seed=0):
    random = np.random.default_rng(seed)
    image = random.standard_normal((n, dim))
    return image, image + 0.5 * random.standard_normal((n, dim))


def some(n_codebooks=3, n_words=5, dim=4, n=6, seed=0):
    random = np.random.default_rng(seed)
    words = random.standard_normal((n_codebooks, n_words, dim))
    codes = random.integers(n_words, size=(2 * n, n_codebooks)).astype(np.uint8)
    return words, codes, random.standard_normal((2 * n, dim))


def test_classes_are_told_apart():
    training = class_pairs(200, 4, 0)
    assert min(precision(CMCQ().fit(training, 16), held_out(60, 4, 0), training)) > 0.8


def test_inner_products_are_those_of_all_pairs_of_words():
    words, codes, _ = some()
    np.testing.assert_allclose(
        inner_products(words, codes), [oracle.composite_products(words, c) for c in codes]
    )


def test_objective_and_slopes():
    words, codes, both = some()

    def loss(candidate):
        return oracle.composite_objective(candidate, both[:6], both[6:], codes[:6], codes[6:], 0.4)

    cost, slopes = words_loss(words, codes, both, 0.4)
    assert cost == pytest.approx(loss(words))
    np.testing.assert_allclose(slopes, oracle.numeric_slopes(loss, words), atol=1e-5)


def test_words_nobody_names_stay_and_the_objective_falls():
    words, codes, both = some(n_words=30)
    improved = improved_words(words, codes, both, 0.0)
    assert words_loss(improved, codes, both, 0.0)[0] < 0.5 * words_loss(words, codes, both, 0.0)[0]
    for m in range(3):
        unnamed = np.setdiff1d(np.arange(30), codes[:, m])
        np.testing.assert_array_equal(improved[m, unnamed], words[m, unnamed])


def cost_of(words, constant, target, code):
    decoded = sum(words[m, k] for m, k in enumerate(code))
    return float(np.sum((target - decoded) ** 2) + (oracle.composite_products(words, code) - constant) ** 2)


def test_one_codebook_is_encoded_exactly():
    words, _, targets = some(n_codebooks=1)
    for target, code in zip(targets, encode(words, 0.3, targets, 1), strict=True):
        assert code[0] == np.argmin([cost_of(words, 0.3, target, (k,)) for k in range(5)])


def test_no_change_of_one_word_makes_a_code_better():
    words, _, targets = some()
    for target, code in zip(targets, encode(words, 0.3, targets, 50), strict=True):
        own = cost_of(words, 0.3, target, code)
        for m, k in product(range(3), range(5)):
            other = code.copy()
            other[m] = k
            assert cost_of(words, 0.3, target, other) >= own - 1e-9


def test_sweeps_from_given_codes_only_improve_them():
    words, codes, targets = some()
    after = encode(words, 0.3, targets, 1, codes)
    before = [cost_of(words, 0.3, t, c) for t, c in zip(targets, codes, strict=True)]
    assert all(cost_of(words, 0.3, t, c) <= b + 1e-9 for t, c, b in zip(targets, after, before, strict=True))
    assert (after != codes).any()


def test_product_codes_have_words_at_right_angles():
    found = start(*vectors(), n_codebooks=4, seed=0)
    for codes in (found.image_codes, found.text_codes):
        np.testing.assert_allclose(inner_products(found.words, codes), found.constant, atol=1e-5)


def test_objective_never_rises():
    image, text = vectors()
    state = start(image, text, n_codebooks=2, seed=0)
    values = []
    for _ in range(5):
        values.append(
            oracle.composite_objective(
                state.words, image, text, state.image_codes, state.text_codes, state.constant
            )
        )
        state = improve(state, image, text)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.8 * values[0]
    # The constant is the best one for the words and codes.
    both = np.concatenate([state.image_codes, state.text_codes])
    assert state.constant == pytest.approx(np.mean([oracle.composite_products(state.words, c) for c in both]))


def test_distances_are_sums_of_one_number_a_word():
    pairs = class_pairs(60, 4, 0, noise=1.0)
    method = CMCQ().fit(pairs, 24)
    queries, codes = method.embed_text(pairs.text[:5]), method.encode_image(pairs.image)
    words = method.codebooks.words
    expected = [
        [
            sum(float(words[m, k] @ words[m, k] - 2 * q @ words[m, k]) for m, k in enumerate(code))
            for code in codes
        ]
        for q in queries
    ]
    distances = method.distances(queries, codes)
    np.testing.assert_allclose(distances, expected, atol=1e-4)
    decoded = method.codebooks.decode(codes)
    exact = ((queries[:, None] - decoded) ** 2).sum(axis=2) - (queries**2).sum(axis=1, keepdims=True)
    # The Euclidean distance, but for the constant and how far a code's inner products are from it.
    off = inner_products(words.astype(float), codes)
    np.testing.assert_allclose(exact - distances, np.broadcast_to(off, exact.shape), atol=1e-4)
    assert np.abs(off - method._composite.constant).mean() < 0.1


def test_vectors_have_length_one_and_codes_all_the_bits():
    pairs = class_pairs(40, 4, 0, noise=1.0)
    method = CMCQ().fit(pairs, 24)
    assert method.codebooks.bits == 24
    assert method.codebooks.dim == 66
    for found in (method.embed_image(pairs.image), method.embed_text(pairs.text)):
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_texts_that_are_all_the_same():
    pairs = Pairs(class_pairs(20, 2, 0).image, np.ones((20, 3), np.float32))
    method = CMCQ().fit(pairs, 8)
    found = method.embed_text(pairs.text)
    assert not found.any()
    assert np.isfinite(method.distances(found, method.encode_image(pairs.image))).all()


def test_settings_are_those_of_the_module():
    assert CMCQ().fit(class_pairs(10, 2, 0), 8).settings["pull"] == cmcq.PULL
