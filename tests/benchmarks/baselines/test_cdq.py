from __future__ import annotations

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep import squared_distance

from spdq_benchmarks.baselines import cdq, towers
from spdq_benchmarks.baselines.cdq import CDQ, squared_errors


@pytest.fixture(autouse=True, scope="module")
def few_steps():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(towers, "MIN_STEPS", 80)
        yield


@pytest.fixture(scope="module")
def fitted(few_steps):
    return CDQ().fit(class_pairs(80, 4, 0), 16)


def vectors(method):
    return np.concatenate([method.embed_image(method.pairs.image), method.embed_text(method.pairs.text)])


def test_quantization_error_against_loops():
    outputs, coded = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = [squared_distance(outputs[i], coded[i]) for i in range(4)]
    np.testing.assert_allclose(squared_errors(outputs, coded), expected, rtol=1e-5)


def test_separable_classes_are_found_out_of_sample(fitted):
    database = held_out(40, 4, 0)
    assert min(precision(fitted, database, database)) > 0.98


def test_one_additive_codebook_codes_both_modalities(fitted):
    assert (fitted.codebooks.kind, fitted.codebooks.bits, fitted.codebooks.dim) == ("additive", 16, 128)
    for found in (fitted.embed_image(fitted.pairs.image), fitted.embed_text(fitted.pairs.text)):
        errors = np.square(found - fitted.codebooks.decode(fitted.encode(found))).sum()
        assert errors < 0.1 * np.square(found).sum()


def test_distances_are_negated_inner_products_with_decoded_codes(fitted):
    rows = held_out(10, 4, 0)
    queries, codes = fitted.embed_image(rows.image), fitted.encode_text(rows.text)
    expected = -queries @ fitted.codebooks.decode(codes).T
    np.testing.assert_allclose(fitted.distances(queries, codes), expected, atol=1e-3)


def test_a_turn_does_not_raise_the_error_of_the_codes_it_found(fitted):
    before = fitted.codebooks
    found = vectors(fitted)
    codes = before.encode(found)
    images, texts = fitted._turn()
    after = np.square(found - np.concatenate([images, texts])).sum()
    assert after <= np.square(found - before.decode(codes)).sum() * (1 + 1e-5)
    fitted.codebooks = before


def test_quantization_draws_outputs_to_what_codes_can_say():
    pairs = class_pairs(200, 3, 0, noise=1.5)

    def missed(weight):
        # alpha = 0: the likelihood has no say.
        method = type("Weighted", (CDQ,), {"alpha": 0.0, "quantization": weight, "dim": 16})().fit(pairs, 8)
        found = vectors(method)
        missing = found - method.codebooks.decode(method.codebooks.encode(found))
        return np.square(missing).sum() / np.square(found).sum()

    assert missed(10.0) < 0.7 * missed(0.0)


def test_turns_are_taken_while_the_towers_learn_and_after(monkeypatch):
    turns = []
    plain = CDQ._turn

    def counted(method):
        turns.append(method.image_tower.training)
        return plain(method)

    monkeypatch.setattr(CDQ, "_turn", counted)
    CDQ().fit(class_pairs(20, 2, 0), 8)
    assert turns == [True] * cdq.TURNS + [False] * cdq.LAST_TURNS


def test_every_length_is_learned_anew(fitted):
    other = fitted.with_bits(8)
    again = CDQ().fit(fitted.pairs, 8)
    np.testing.assert_array_equal(other.codebooks.words, again.codebooks.words)
    assert (other.embed_image(fitted.pairs.image) != fitted.embed_image(fitted.pairs.image)).any()
    assert other.codebooks.bits == 8
