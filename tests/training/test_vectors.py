from __future__ import annotations

import numpy as np
import pytest
from made_models import trained

from spdq.errors import DataError, UsageError
from spdq.quantizers.additive import AdditiveQuantizer
from spdq.training import quantized_for
from spdq.training import vectors as vectors_module
from spdq.training.vectors import additive_codebooks, reciprocal_rank


def test_codebooks_are_the_quantizers():
    rows = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    made = additive_codebooks(rows, 16, 2.0, 5)
    expected = AdditiveQuantizer(2, n_words=256, along=2.0, random_state=5).fit(rows).codebooks_
    np.testing.assert_array_equal(made.words, expected.words)
    assert (made.bits, made.along) == (16, 2.0)


def test_of_many_vectors_a_sample_is_taken(monkeypatch):
    monkeypatch.setattr(vectors_module, "MAX_FIT_ROWS", 50)
    rows = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    a, b, c = (additive_codebooks(rows, 16, 1.0, seed).words for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_reciprocal_rank_of_the_best_own_target():
    queries = np.eye(3, dtype=np.float32)
    targets = np.array([[0.9, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 1]], np.float32)
    own = np.array([[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], bool)
    assert reciprocal_rank(queries, targets, own) == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_ties_count_against_it():
    queries, targets = np.ones((1, 2), np.float32), np.ones((4, 2), np.float32)
    assert reciprocal_rank(queries, targets, np.array([[False, True, False, False]])) == 1 / 4


@pytest.fixture(scope="module")
def model():
    return trained()


def test_codebooks_of_what_is_searched(model):
    rows = np.random.default_rng(0).normal(size=(300, model.codebooks.dim)).astype(np.float32)
    made = quantized_for(model, rows, 32, 5)
    expected = AdditiveQuantizer(4, n_words=256, along=2.0, random_state=5).fit(rows).codebooks_
    np.testing.assert_array_equal(made.codebooks.words, expected.words)
    assert (made.config.bits, made.training["codebooks"]) == (32, "300 items, seed 5")
    assert made.fingerprint != model.fingerprint
    assert "codebooks" not in made.with_codebooks(model.codebooks).training
    assert quantized_for(model, rows).codebooks.bits == model.codebooks.bits


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bits": 24}, UsageError, "bits must be one of"),
        ({"seed": -1}, UsageError, "seed must be 0 or more"),
        ({"rows": 0}, DataError, "no vectors to learn codebooks from"),
        ({"columns": 3}, DataError, "vectors have 3 columns, those of the model"),
        ({"value": np.nan}, DataError, "vectors must be finite"),
    ],
)
def test_what_no_codebooks_can_be_learned_from(model, change, error, message):
    shape = change.get("rows", 9), change.get("columns", model.codebooks.dim)
    rows = np.full(shape, change.get("value", 1.0), np.float32)
    with pytest.raises(error, match=message):
        quantized_for(model, rows, change.get("bits"), change.get("seed", 0))
