from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from spdq.errors import DataError, UsageError
from spdq.quantizers import AdditiveQuantizer, ProductQuantizer

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "seeds are drawn by position and the check shuffles the rows, so words get other numbers; "
        "test_weights_count_as_repetitions holds the promise where the order stays"
    )
}

KINDS = pytest.mark.parametrize(
    "quantizer",
    [
        ProductQuantizer(n_codebooks=2, n_words=8, random_state=0),
        ProductQuantizer(n_codebooks=2, n_words=8, rotation="opq", random_state=0),
        AdditiveQuantizer(n_codebooks=2, n_words=8, random_state=0),
    ],
    ids=["product", "opq", "additive"],
)


def clustered(seed, n, dim=8, centres=12):
    random = np.random.default_rng(seed)
    places = np.random.default_rng(100).standard_normal((centres, dim)) * 3
    return (places[random.integers(0, centres, n)] + random.standard_normal((n, dim)) / 2).astype(np.float32)


@parametrize_with_checks(
    [
        ProductQuantizer(n_codebooks=1, n_words=2),
        ProductQuantizer(n_codebooks=1, n_words=2, rotation="opq"),
        AdditiveQuantizer(n_codebooks=1, n_words=2),
    ],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_keeps_the_rules_of_scikit_learn(estimator, check):
    check(estimator)


@KINDS
def test_the_same_seed_gives_the_same_codebooks(quantizer):
    vectors = clustered(0, 300)
    fingerprints = [clone(quantizer).fit(vectors).codebooks_.fingerprint for _ in range(2)]
    other = clone(quantizer).set_params(random_state=1).fit(vectors).codebooks_.fingerprint
    assert fingerprints[0] == fingerprints[1] != other


@KINDS
def test_methods_agree(quantizer):
    vectors = clustered(1, 200)
    fitted = clone(quantizer).fit(vectors)
    codes = fitted.encode(vectors)
    assert codes.shape == (200, 2)
    assert np.array_equal(codes, fitted.transform(vectors))
    assert np.array_equal(codes, fitted.codebooks_.encode(vectors))
    decoded = fitted.decode(codes)
    assert np.array_equal(decoded, fitted.inverse_transform(codes))
    assert np.array_equal(fitted.lookup_tables(vectors, "ip"), fitted.codebooks_.lookup_tables(vectors, "ip"))
    squares = ((vectors - decoded) ** 2).sum(axis=1)
    assert fitted.score(vectors) == pytest.approx(-squares.mean(), rel=1e-5)
    weights = np.arange(200.0)
    assert fitted.score(vectors, sample_weight=weights) == pytest.approx(
        -np.average(squares, weights=weights), rel=1e-5
    )
    name = type(quantizer).__name__.lower()
    assert fitted.get_feature_names_out().tolist() == [f"{name}0", f"{name}1"]


@KINDS
def test_the_training_error_is_what_the_words_do_not_say(quantizer):
    vectors = clustered(1, 200)
    fitted = clone(quantizer).fit(vectors)
    assert fitted.codebooks_.training_error == pytest.approx(-fitted.score(vectors), rel=1e-5)
    # Vectors without weight are none to learn from.
    weights = np.arange(200) % 2
    weighted = clone(quantizer).fit(vectors, sample_weight=weights)
    assert weighted.codebooks_.training_error == pytest.approx(-weighted.score(vectors[1::2]), rel=1e-5)
    total, count = fitted.codebooks_.measured_error(clustered(1, 200) + 5)
    assert total / count > 2 * fitted.codebooks_.training_error


@KINDS
def test_more_words_are_better(quantizer):
    vectors = clustered(2, 400)
    scores = [
        clone(quantizer).set_params(n_words=n_words).fit(vectors).score(vectors) for n_words in (1, 4, 32)
    ]
    assert scores == sorted(scores)
    assert scores[-1] > 0.5 * scores[0]


@KINDS
def test_weights_count_as_repetitions(quantizer):
    vectors = clustered(3, 120)
    weights = np.random.default_rng(4).integers(0, 4, 120)
    weighted = clone(quantizer).fit(vectors, sample_weight=weights).codebooks_
    repeated = clone(quantizer).fit(np.repeat(vectors, weights, axis=0)).codebooks_
    np.testing.assert_allclose(weighted.words, repeated.words, atol=1e-3)


@KINDS
@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_no_more_vectors_than_words_are_kept_exactly(quantizer, n):
    vectors = clustered(5, n)
    fitted = clone(quantizer).fit(vectors)
    assert fitted.codebooks_.words.shape[:2] == (2, 8)
    np.testing.assert_allclose(fitted.decode(fitted.encode(vectors)), vectors, atol=1e-5)


@KINDS
def test_degenerate_vectors(quantizer):
    for vectors in (
        np.zeros((50, 8)),
        np.ones((50, 8)),
        np.tile(clustered(6, 3), (20, 1)),
        np.full((9, 8), 1e6),
    ):
        fitted = clone(quantizer).fit(vectors)
        assert np.isfinite(fitted.codebooks_.words).all()
        np.testing.assert_allclose(fitted.decode(fitted.encode(vectors)), vectors, rtol=1e-5, atol=1e-5)


@KINDS
def test_one_far_outlier(quantizer):
    vectors = clustered(7, 100)
    vectors[0] = 1e6
    fitted = clone(quantizer).fit(vectors)
    assert np.isfinite(fitted.score(vectors))


@KINDS
@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"n_codebooks": 0}, UsageError, "n_codebooks must be a whole number from 1 to 256, not 0"),
        ({"n_codebooks": 2.0}, UsageError, "n_codebooks must be a whole number from 1 to 256, not 2.0"),
        ({"n_words": 257}, UsageError, "n_words must be a whole number from 1 to 256, not 257"),
        ({"n_words": True}, UsageError, "n_words must be a whole number from 1 to 256, not True"),
    ],
)
def test_bad_parameters(quantizer, parameters, error, match):
    with pytest.raises(error, match=match):
        clone(quantizer).set_params(**parameters).fit(clustered(8, 20))


@KINDS
@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        (np.zeros((0, 8)), "0 sample"),
        (np.zeros(8), "Expected 2D array"),
        (np.full((3, 8), np.nan), "contains NaN"),
        (np.full((3, 8), 2e6), "X must be finite and at most 1e.06 in size: row 0 is not"),
    ],
)
def test_bad_vectors(quantizer, vectors, match):
    with pytest.raises(DataError, match=match):
        clone(quantizer).fit(vectors)


@KINDS
@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.ones(19), r"sample_weight must have shape \(20,\), not \(19,\)"),
        (np.zeros(20), "not zero everywhere"),
        (-np.ones(20), "not negative"),
        (np.full(20, np.nan), "must be finite"),
    ],
)
def test_bad_weights(quantizer, weights, match):
    with pytest.raises(DataError, match=match):
        clone(quantizer).fit(clustered(9, 20), sample_weight=weights)


@KINDS
def test_before_the_fit(quantizer):
    for method in ("encode", "decode", "transform", "inverse_transform", "score", "lookup_tables"):
        with pytest.raises(NotFittedError):
            getattr(clone(quantizer), method)(np.zeros((2, 8)))
