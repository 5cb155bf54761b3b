from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import assign, encode_additive, encode_product, product_tables, reference, word_products


def normal(seed, *shape, whole_numbers=False):
    values = np.random.default_rng(seed).standard_normal(shape)
    return (np.rint(values) if whole_numbers else values).astype(np.float32)


def squared_error(vectors, words, codes):
    decoded = sum(words[m, codes[:, m]].astype(np.float64) for m in range(len(words)))
    return ((vectors - decoded) ** 2).sum(axis=1)


def weighted_error(vector, words, codes, along):
    """Guo et al., equation 4: the squared error along the vector counts more than that across it."""
    errors = vector - sum(words[m, codes[:, m]].astype(np.float64) for m in range(len(words)))
    parallel = (errors @ vector) ** 2 / (vector.astype(np.float64) @ vector)
    return (errors**2).sum(axis=1) + (along - 1) * parallel


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(0, 40),
    n_codebooks=st.integers(1, 5),
    n_words=st.sampled_from([1, 2, 5, 64]),
    dim=st.integers(1, 9),
    beam=st.sampled_from([1, 2, 8, 300]),
    sweeps=st.integers(0, 3),
    along=st.sampled_from([1.0, 2.5, 8.0, 1e3]),
    threads=st.sampled_from([1, 3, None]),
    whole_numbers=st.booleans(),
)
def test_additive_codes_equal_the_reference(
    seed, n, n_codebooks, n_words, dim, beam, sweeps, along, threads, whole_numbers
):
    vectors = normal(seed, n, dim, whole_numbers=whole_numbers)
    words = normal(seed + 1, n_codebooks, n_words, dim, whole_numbers=whole_numbers)
    found = encode_additive(vectors, words, beam, sweeps, along=along, threads=threads)
    assert found.dtype == np.uint8
    assert np.array_equal(found, reference.encode_additive(vectors, words, beam, sweeps, along=along))


@pytest.mark.parametrize("along", [1, 1.5, 8, 100])
def test_a_beam_of_all_paths_finds_the_best_code(along):
    vectors, words = normal(0, 30, 6), normal(1, 3, 4, 6)
    codes = encode_additive(vectors, words, beam=64, sweeps=0, along=along)
    every = np.array(list(itertools.product(range(4), repeat=3)), np.uint8)
    best = [every[weighted_error(vector, words, every, along).argmin()] for vector in vectors]
    assert np.array_equal(codes, best)


@pytest.mark.parametrize("size", [1e-12, 1e-30, 1e-40])
def test_the_direction_of_tiny_vectors_counts_too(size):
    vectors, words = normal(14, 30, 6) * np.float32(size), normal(15, 2, 8, 6)
    every = np.array(list(itertools.product(range(8), repeat=2)), np.uint8)
    best = [every[weighted_error(vector, words, every, 20).argmin()] for vector in vectors]
    assert np.array_equal(encode_additive(vectors, words, beam=64, sweeps=0, along=20), best)


def test_a_vector_of_zeros_has_no_direction():
    words = normal(11, 3, 16, 4)
    vectors = np.zeros((2, 4), np.float32)
    assert np.array_equal(encode_additive(vectors, words, along=8), encode_additive(vectors, words))


def test_the_error_along_the_vector_shrinks_and_that_across_it_grows():
    vectors, words = normal(12, 300, 16), normal(13, 4, 16, 16) / 2
    along, across = [], []
    for weight in (1, 4, 16):
        errors = vectors - sum(
            words[m, code] for m, code in enumerate(encode_additive(vectors, words, along=weight).T)
        )
        parallel = ((errors * vectors).sum(axis=1) / np.linalg.norm(vectors, axis=1)) ** 2
        along.append(parallel.sum())
        across.append((errors**2).sum() - parallel.sum())
    assert along == sorted(along, reverse=True)
    assert across == sorted(across)
    assert along[2] < along[0] / 2


def test_sweeps_and_beams_only_help():
    vectors, words = normal(2, 200, 16), normal(3, 4, 32, 16)
    errors = [
        squared_error(vectors, words, encode_additive(vectors, words, beam, sweeps)).sum()
        for beam, sweeps in [(1, 0), (1, 3), (8, 3), (32, 3)]
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_sums_of_words_get_their_own_code():
    random = np.random.default_rng(4)
    words = normal(5, 4, 256, 32) * (4.0 ** -np.arange(4, dtype=np.float32))[:, None, None]
    codes = random.integers(0, 256, (100, 4), np.uint8)
    vectors = words[np.arange(4), codes].sum(axis=1)
    assert np.array_equal(encode_additive(vectors, words), codes)


def test_equal_words_get_the_lowest_number():
    words = np.zeros((3, 256, 4), np.float32)
    words[0, 7:9] = 5
    vectors = np.full((2, 4), 5, np.float32)
    assert encode_additive(vectors, words).tolist() == [[7, 0, 0]] * 2
    assert encode_product(np.tile(vectors, 3), words).tolist() == [[7, 0, 0]] * 2
    assert assign(vectors, words[0]).tolist() == [7, 7]


def test_a_far_mean_costs_no_precision():
    vectors, words = normal(6, 50, 8), normal(7, 2, 16, 8)
    shift = np.float32(1000)
    moved = words + np.array([shift, 0], np.float32)[:, None, None]
    assert np.array_equal(encode_additive(vectors + shift, moved), encode_additive(vectors, words))


def test_word_products_can_be_handed_in():
    vectors, words = normal(8, 20, 8), normal(9, 3, 20, 8)
    products = word_products(words)
    np.testing.assert_allclose(
        products.products, words.reshape(60, 8) @ words.reshape(60, 8).T, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(products.half_norms, (words**2).sum(-1) / 2, rtol=1e-6)
    assert np.array_equal(encode_additive(vectors, words, products=products), encode_additive(vectors, words))
    with pytest.raises(ValueError, match=r"word products must have shapes \(2, 20\) and \(40, 40\)"):
        encode_additive(vectors, words[:2], products=products)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.integers(0, 200),
    n_codebooks=st.integers(1, 4),
    n_words=st.sampled_from([1, 3, 256]),
    dim=st.integers(1, 6),
    threads=st.sampled_from([1, 3, None]),
    whole_numbers=st.booleans(),
)
def test_product_codes_equal_the_reference(seed, n, n_codebooks, n_words, dim, threads, whole_numbers):
    vectors = normal(seed, n, n_codebooks * dim, whole_numbers=whole_numbers)
    words = normal(seed + 1, n_codebooks, n_words, dim, whole_numbers=whole_numbers)
    codes = encode_product(vectors, words, threads)
    assert np.array_equal(codes, reference.encode_product(vectors, words))
    assert np.array_equal(codes, product_tables(vectors, words, "l2").argmin(axis=2))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(0, 99), n_centres=st.integers(1, 600), dim=st.integers(1, 9))
def test_assign_equals_the_reference(seed, n, n_centres, dim):
    vectors, centres = normal(seed, n, dim), normal(seed + 1, n_centres, dim)
    found = assign(vectors, centres)
    assert found.dtype == np.int64
    assert np.array_equal(found, reference.assign(vectors, centres))


def test_nan_vectors_still_get_words_that_exist():
    vectors = np.full((3, 6), np.nan, np.float32)
    words = normal(0, 2, 5, 6)
    assert encode_additive(vectors, words).max() < 5
    assert encode_product(vectors, normal(0, 2, 5, 3)).max() < 5


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"beam": 0}, ValueError, "beam must be at least 1, not 0"),
        ({"beam": 2.0}, TypeError, "beam must be an integer, not float"),
        ({"sweeps": -1}, ValueError, "sweeps must be at least 0, not -1"),
        ({"along": 0.5}, ValueError, r"along must be from 1 to 1e\+06, not 0.5"),
        ({"along": np.inf}, ValueError, "along must be from 1 to .* not inf"),
        ({"along": np.nan}, ValueError, "along must be from 1 to .* not nan"),
        ({"along": "2"}, TypeError, "along must be a number, not str"),
        ({"along": True}, TypeError, "along must be a number, not bool"),
        ({"threads": 0}, ValueError, "threads must be at least 1, not 0"),
        ({"vectors": normal(0, 3, 7)}, ValueError, "vectors must have 8 columns to match the words, not 7"),
        ({"words": normal(0, 33, 256, 1)}, ValueError, "at most 8192 words in all, not 33 codebooks of 256"),
        ({"words": normal(0, 2, 8)}, ValueError, "words must have 3 dimensions"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        encode_additive(**({"vectors": normal(0, 3, 8), "words": normal(0, 2, 4, 8)} | arguments))


def test_no_centres():
    with pytest.raises(ValueError, match=r"centres must not be empty, not shape \(0, 8\)"):
        assign(normal(0, 3, 8), normal(0, 0, 8))
