from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq_kernels import additive_tables, product_tables, project, reference


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    n_queries=st.integers(0, 5),
    n_codebooks=st.integers(1, 5),
    n_words=st.sampled_from([1, 2, 100, 256]),
    dim=st.integers(1, 11),
    metric=st.sampled_from(["l2", "ip"]),
    threads=st.sampled_from([1, 3, None]),
)
def test_product_tables_equal_the_reference(seed, n_queries, n_codebooks, n_words, dim, metric, threads):
    queries, words = normal(seed, n_queries, n_codebooks * dim), normal(seed + 1, n_codebooks, n_words, dim)
    found = product_tables(queries, words, metric, threads)
    assert found.tobytes() == reference.product_tables(queries, words, metric).tobytes()
    assert np.isinf(found[:, :, n_words:]).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    n_queries=st.integers(0, 5),
    n_codebooks=st.integers(1, 5),
    n_words=st.sampled_from([1, 2, 100, 256]),
    dim=st.integers(1, 30),
)
def test_additive_tables_equal_the_reference(seed, n_queries, n_codebooks, n_words, dim):
    queries, words = normal(seed, n_queries, dim), normal(seed + 1, n_codebooks, n_words, dim)
    found = additive_tables(queries, words, "ip")
    assert found.tobytes() == reference.additive_tables(queries, words, "ip").tobytes()
    norms = np.abs(normal(seed + 2, 256 if n_words > 2 else n_words))
    found = additive_tables(queries, words, "l2", norms)
    assert found.shape == (n_queries, n_codebooks + 1, 256)
    assert found.tobytes() == reference.additive_tables(queries, words, "l2", norms).tobytes()


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_tables_of_4_bit_codes(metric):
    queries, words = normal(7, 5, 12), normal(8, 3, 16, 4)
    found = product_tables(queries, words, metric, bits=4)
    assert found.shape == (5, 3, 16)
    assert found.tobytes() == reference.product_tables(queries, words, metric, bits=4).tobytes()
    assert np.array_equal(found, product_tables(queries, words, metric)[:, :, :16])


def test_distances_by_a_norm_byte():
    words, codes = normal(9, 3, 50, 12), np.random.default_rng(0).integers(0, 50, (20, 3))
    items = sum(words[m, codes[:, m]] for m in range(3))
    norms = (items**2).sum(axis=1)
    queries = normal(10, 4, 12)
    tables = additive_tables(queries, words, "l2", norms)
    found = sum(tables[:, m, codes[:, m]] for m in range(3)) + tables[:, 3, :20]
    expected = ((queries[:, None] - items) ** 2).sum(axis=2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_values_are_distances():
    queries, words = normal(0, 7, 12), normal(1, 3, 50, 4)
    parts = queries.reshape(7, 3, 1, 4)
    l2, ip = product_tables(queries, words, "l2"), product_tables(queries, words, "ip")
    np.testing.assert_allclose(l2[:, :, :50], ((parts - words) ** 2).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(ip[:, :, :50], -(parts * words).sum(-1), rtol=1e-5, atol=1e-5)
    full = normal(2, 3, 50, 12)
    np.testing.assert_allclose(
        additive_tables(queries, full, "ip")[:, :, :50],
        -np.einsum("nd,mkd->nmk", queries, full),
        rtol=1e-5,
        atol=1e-5,
    )


def test_a_query_does_not_depend_on_its_batch():
    queries, words = normal(3, 300, 33), normal(4, 4, 256, 33)
    together = additive_tables(queries, words, "ip")
    for i in (0, 17, 299):
        assert additive_tables(queries[i : i + 1], words, "ip").tobytes() == together[i].tobytes()


def test_words_stored_column_by_column():
    queries, words = normal(5, 3, 8), normal(6, 2, 16, 8)
    columns = np.ascontiguousarray(words.transpose(0, 2, 1)).transpose(0, 2, 1)
    assert np.array_equal(additive_tables(queries, columns, "ip"), additive_tables(queries, words, "ip"))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), n=st.integers(0, 9), dim=st.integers(1, 9), width=st.integers(1, 40))
def test_project_equals_the_reference(seed, n, dim, width):
    vectors, matrix = normal(seed, n, dim), normal(seed + 1, dim, width)
    found = project(vectors, matrix)
    assert found.tobytes() == reference.project(vectors, matrix).tobytes()
    np.testing.assert_allclose(found, vectors @ matrix, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "queries", "words", "metric", "error", "match"),
    [
        (product_tables, normal(0, 2, 8), normal(0, 2, 4, 4), "cosine", ValueError, 'must be "l2" or "ip"'),
        (
            product_tables,
            normal(0, 2, 9),
            normal(0, 2, 4, 4),
            "l2",
            ValueError,
            "queries must have 8 columns",
        ),
        (product_tables, normal(0, 2, 8), normal(0, 2, 257, 4), "l2", ValueError, "K in 1..256"),
        (product_tables, normal(0, 2, 8), normal(0, 0, 4, 4), "l2", ValueError, "M in 1..256"),
        (product_tables, normal(0, 2, 8), normal(0, 2, 4, 0), "l2", ValueError, "d >= 1"),
        (product_tables, normal(0, 2, 8).astype("f8"), normal(0, 2, 4, 4), "l2", TypeError, "dtype float32"),
        (product_tables, normal(0, 2, 8), normal(0, 2, 4, 4).astype("f2"), "l2", TypeError, "not float16"),
        (
            product_tables,
            normal(0, 8),
            normal(0, 2, 4, 4),
            "l2",
            ValueError,
            "queries must have 2 dimensions",
        ),
        (product_tables, normal(0, 2, 16)[:, ::2], normal(0, 2, 4, 4), "l2", ValueError, "C-contiguous"),
        (additive_tables, normal(0, 2, 4), normal(0, 2, 4, 4), "l2", ValueError, "codes needs norms"),
        (additive_tables, normal(0, 2, 4), normal(0, 2, 4, 4), None, ValueError, "not None"),
        (
            additive_tables,
            normal(0, 2, 8),
            normal(0, 2, 4, 4),
            "ip",
            ValueError,
            "queries must have 4 columns",
        ),
    ],
)
def test_bad_arguments(function, queries, words, metric, error, match):
    with pytest.raises(error, match=match):
        function(queries, words, metric)


@pytest.mark.parametrize(
    ("norms", "metric", "error", "match"),
    [
        (np.ones(257, np.float32), "l2", ValueError, r"norms must have 1..256 entries, not 257"),
        (np.ones(0, np.float32), "l2", ValueError, "1..256 entries, not 0"),
        (np.ones(3), "l2", TypeError, "norms must have dtype float32"),
        (np.ones(3, np.float32), "ip", ValueError, 'norms are for metric "l2"'),
    ],
)
def test_bad_norms(norms, metric, error, match):
    with pytest.raises(error, match=match):
        additive_tables(normal(0, 2, 4), normal(0, 2, 4, 4), metric, norms)


def test_more_words_than_4_bits_can_name():
    with pytest.raises(ValueError, match=r"K in 1..16, d >= 1, not \(2, 17, 4\)"):
        product_tables(normal(0, 2, 8), normal(0, 2, 17, 4), "l2", bits=4)
    with pytest.raises(ValueError, match="bits must be 4 or 8, not 5"):
        product_tables(normal(0, 2, 8), normal(0, 2, 16, 4), "l2", bits=5)


def test_a_matrix_of_another_width():
    with pytest.raises(ValueError, match="vectors must have 5 columns"):
        project(normal(0, 3, 4), normal(0, 5, 2))
