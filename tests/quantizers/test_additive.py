from __future__ import annotations

import numpy as np
import pytest

from spdq.errors import DataError, UsageError
from spdq.quantizers import AdditiveQuantizer, Codebooks, ProductQuantizer, update_words
from spdq.quantizers.additive import reseed_unused, residual_words


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def layered(seed, n, dim=24):
    """Vectors that are sums of one of 40 and one of 12 places, and noise: what sums of words can learn."""
    places, offsets = normal(90, 40, dim), normal(91, 12, dim) / 2
    random = np.random.default_rng(seed)
    return places[random.integers(0, 40, n)] + offsets[random.integers(0, 12, n)] + normal(seed, n, dim) / 8


def solved_directly(codes, targets, words, ridge, weights):
    """Equation 22 with its ridge as one dense least squares problem."""
    n_codebooks, n_words, dim = words.shape
    members = np.zeros((len(codes), n_codebooks * n_words))
    for row, code in enumerate(codes):
        for m, word in enumerate(code):
            members[row, m * n_words + word] += 1
    previous = words.reshape(-1, dim).astype(np.float64)
    scale = np.sqrt(weights)[:, None]
    left = np.vstack([scale * members, np.sqrt(ridge) * np.eye(members.shape[1])])
    right = np.vstack([scale * targets, np.sqrt(ridge) * previous])
    return np.linalg.lstsq(left, right, rcond=None)[0].reshape(words.shape)


@pytest.mark.parametrize("n", [10, 200], ids=["fewer vectors than words", "more vectors than words"])
@pytest.mark.parametrize("weighted", [False, True])
def test_updated_words_solve_the_equation(n, weighted):
    targets, words = normal(0, n, 5), normal(1, 3, 8, 5)
    codes = np.random.default_rng(2).integers(0, 8, (n, 3), np.uint8)
    weights = np.random.default_rng(3).uniform(0, 2, n) if weighted else np.ones(n)
    found = update_words(codes, targets, words, 0.7, weights if weighted else None)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, solved_directly(codes, targets, words, 0.7, weights), atol=1e-5)


def test_the_same_by_way_of_words_and_of_vectors():
    targets, words = normal(4, 24, 5), normal(5, 3, 8, 5)
    codes = np.tile(np.arange(8, dtype=np.uint8)[:, None], (3, 3))
    several = np.vstack([codes, codes[:1]])
    more = np.vstack([targets, targets[:1]])
    with_more = update_words(several, more, words, 2.0, np.r_[np.ones(24), 0])
    np.testing.assert_allclose(with_more, update_words(codes, targets, words, 2.0), atol=1e-5)


def test_words_that_no_code_names_stay():
    words = normal(6, 2, 8, 3)
    codes = np.zeros((20, 2), np.uint8)
    updated = update_words(codes, normal(7, 20, 3), words, 1.0)
    assert np.array_equal(updated[:, 1:], words[:, 1:])
    assert not np.array_equal(updated[:, 0], words[:, 0])


def test_a_large_ridge_holds_and_a_small_one_fits():
    targets, words = normal(8, 50, 4), normal(9, 2, 4, 4)
    codes = np.random.default_rng(10).integers(0, 4, (50, 2), np.uint8)
    np.testing.assert_allclose(update_words(codes, targets, words, 1e9), words, atol=1e-5)

    def error(words):
        return ((targets - Codebooks(words, "additive").decode(codes)) ** 2).sum()

    errors = [error(update_words(codes, targets, words, ridge)) for ridge in (1e-3, 1, 100)]
    assert errors == sorted(errors)
    assert errors[-1] < error(words)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"ridge": 0}, UsageError, "ridge must be above 0, not 0"),
        ({"ridge": float("nan")}, UsageError, "ridge must be above 0, not nan"),
        ({"targets": normal(0, 5, 3)}, DataError, "6 codes for 5 targets"),
        ({"targets": normal(0, 6, 4)}, DataError, "targets have 4 columns, the words 3"),
        ({"codes": np.zeros((6, 3), np.uint8)}, DataError, r"codes must be \(n, 2\) uint8"),
        ({"codes": np.full((6, 2), 9, np.uint8)}, DataError, "codes name word 9"),
        ({"sample_weight": -np.ones(6)}, DataError, "sample_weight must be finite, not negative"),
    ],
)
def test_bad_updates(change, error, match):
    arguments = {"codes": np.zeros((6, 2), np.uint8), "targets": normal(0, 6, 3), "words": normal(1, 2, 4, 3)}
    with pytest.raises(error, match=match):
        update_words(**({"ridge": 1.0} | arguments | change))


@pytest.mark.parametrize("bits", [16, 32, 64, 128])
def test_code_lengths(bits):
    vectors = layered(0, 600)
    quantizer = AdditiveQuantizer(n_codebooks=bits // 8, random_state=0).fit(vectors)
    assert quantizer.codebooks_.bits == bits
    assert quantizer.codebooks_.words.shape == (bits // 8, 256, 24)
    assert quantizer.encode(vectors).shape == (600, bits // 8)


def test_more_codebooks_are_better():
    train, held_out = layered(1, 1500), layered(2, 300)
    scores = [
        AdditiveQuantizer(n_codebooks=m, n_words=32, random_state=0).fit(train).score(held_out)
        for m in (1, 2, 4)
    ]
    assert scores[0] < 1.5 * scores[1] < 1.5 * scores[2]


@pytest.mark.parametrize("n_codebooks", [2, 4])
def test_not_worse_than_its_start_on_new_vectors(n_codebooks):
    train, held_out = layered(3, 1500), layered(4, 500)
    residual, additive = (
        AdditiveQuantizer(n_codebooks, n_words=32, n_iterations=n, random_state=0).fit(train) for n in (0, 4)
    )
    assert additive.score(train) > residual.score(train)
    assert additive.score(held_out) > residual.score(held_out)


def test_better_than_a_product_quantizer_on_sums():
    train, held_out = layered(5, 1500), layered(6, 500)
    additive, product = (
        kind(n_codebooks=2, n_words=64, random_state=0).fit(train).score(held_out)
        for kind in (AdditiveQuantizer, ProductQuantizer)
    )
    assert additive > product / 2


def test_no_codebook_collapses():
    quantizer = AdditiveQuantizer(n_codebooks=4, n_words=16, random_state=0).fit(layered(7, 1000))
    codes = quantizer.encode(layered(8, 1000))
    assert min(len(np.unique(codes[:, m])) for m in range(4)) > 12


def test_residual_codes_belong_to_their_words():
    vectors = layered(9, 500)
    words, codes = residual_words(vectors, np.ones(500), 3, 16, np.random.RandomState(0))
    residuals = vectors.copy()
    for m in range(3):
        for word in np.unique(codes[:, m]):
            mean = residuals[codes[:, m] == word].mean(axis=0)
            np.testing.assert_allclose(words[m, word], mean, atol=0.25)
        residuals -= words[m, codes[:, m]]
    assert (residuals**2).sum() < 0.5 * ((vectors - vectors.mean(axis=0)) ** 2).sum()


def test_unused_words_repair_the_worst_vectors():
    words, vectors = normal(12, 2, 6, 3) / 10, normal(13, 40, 3) / 10
    vectors[[7, 30]] += [[50], [90]]
    codes = np.random.default_rng(14).integers(0, 4, (40, 2), np.uint8)
    moved = reseed_unused(words, codes, vectors, np.ones(40))
    assert np.array_equal(moved[:, :4], words[:, :4])
    before, after = (Codebooks(w, "additive") for w in (words, moved))
    again = after.decode(after.encode(vectors))
    np.testing.assert_allclose(again[[7, 30]], vectors[[7, 30]], atol=1e-4)
    assert ((before.decode(before.encode(vectors)) - vectors)[[7, 30]] ** 2).sum() > 1e4


def test_unused_words_stay_where_nothing_is_wrong():
    words = normal(15, 2, 6, 3)
    codes = np.random.default_rng(16).integers(0, 3, (40, 2), np.uint8)
    vectors = Codebooks(words, "additive").decode(codes)
    assert np.array_equal(reseed_unused(words, codes, vectors, np.ones(40)), words)


def test_heavy_vectors_are_coded_better():
    vectors = layered(10, 800)
    weights = np.where(np.arange(800) < 100, 50.0, 1.0)
    errors = []
    for sample_weight in (None, weights):
        quantizer = AdditiveQuantizer(2, 16, random_state=0).fit(vectors, sample_weight=sample_weight)
        errors.append(-quantizer.score(vectors[:100]))
    assert errors[1] < errors[0]


def test_new_vectors_keep_their_inner_products_where_the_error_along_them_counts():
    learned, new = layered(12, 2000), layered(13, 200)
    lost = []
    for along in (1.0, 8.0):
        quantizer = AdditiveQuantizer(4, 64, along=along, random_state=0).fit(learned)
        assert quantizer.codebooks_.along == along
        errors = new - quantizer.decode(quantizer.encode(new))
        lost.append((errors * new).sum(axis=1).std())
    assert lost[1] < lost[0] / 2


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"ridge": 0.0}, "ridge must be above 0"),
        ({"along": 0.5}, r"along must be from 1 to 1e\+06, not 0.5"),
        ({"n_iterations": -1}, "n_iterations must be a whole number from 0"),
        ({"n_codebooks": 33}, "at most 8192 words in all, not 33 times 256"),
    ],
)
def test_bad_parameters(parameters, match):
    with pytest.raises(UsageError, match=match):
        AdditiveQuantizer(**parameters).fit(layered(11, 20))
