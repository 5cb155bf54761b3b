"""Centroids, nearest lists, codes in lists and tables of lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_lists import assert_same, made

from spdq_kernels import RowFilter, lists
from spdq_kernels.lists import reference


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    n=st.sampled_from([0, 1, 3, 4, 5, 70]),
    n_lists=st.sampled_from([1, 2, 15, 16, 31, 32, 33, 100, 257, 1000]),
    dim=st.sampled_from([1, 3, 4, 7, 64]),
    n_probe=st.sampled_from([1, 2, 9, 50, 2000]),
    metric=st.sampled_from(["l2", "ip"]),
    threads=st.sampled_from([1, 3, None]),
    whole_numbers=st.booleans(),
)
def test_nearest_lists_equal_the_reference(seed, n, n_lists, dim, n_probe, metric, threads, whole_numbers):
    random = np.random.default_rng(seed)
    vectors, centres = random.standard_normal((n, dim)), random.standard_normal((n_lists, dim))
    if whole_numbers:
        vectors, centres = np.rint(vectors), np.rint(centres)
    vectors, centroids = vectors.astype(np.float32), lists.Centroids(centres.astype(np.float32))
    expected = reference.nearest(vectors, centroids, n_probe, metric)
    assert_same(lists.nearest(vectors, centroids, n_probe, metric, threads), expected)
    assert expected[0].shape == (n, min(n_probe, n_lists))
    nearest = reference.assign(vectors, centroids)
    assert np.array_equal(lists.assign(vectors, centroids, threads), nearest)
    assert np.array_equal(nearest, reference.nearest(vectors, centroids, 1)[1][:, 0])


def test_a_vector_far_away_belongs_to_the_first_list():
    """All distances are infinite."""
    centroids = lists.Centroids(np.arange(40, dtype=np.float32)[:, None].copy())
    vectors = np.full((5, 1), 3e38, np.float32)
    assert lists.assign(vectors, centroids).tolist() == [0] * 5
    distances, found = lists.nearest(vectors, centroids, 3)
    assert np.isinf(distances).all()
    assert found.tolist() == [[0, 1, 2]] * 5


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_no_distance_is_negative_zero(metric):
    centroids = lists.Centroids(np.zeros((40, 2), np.float32))
    distances, found = lists.nearest(np.zeros((5, 2), np.float32), centroids, 40, metric)
    assert not np.signbit(distances).any()
    assert np.array_equal(found, np.tile(np.arange(40), (5, 1)))


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("bits", [4, 8])
def test_residual_tables_equal_the_reference(metric, bits):
    index = made(1, bits=bits)
    words = np.ascontiguousarray(index.words[:, :11])
    found = lists.residual_tables(index.queries, words, metric, bits=bits)
    assert_same([found], [reference.residual_tables(index.queries, words, metric, bits=bits)])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("n_codebooks", [3, 4])
def test_list_tables(bits, n_codebooks):
    index = made(2, n_codebooks=n_codebooks, bits=bits)
    words = np.ascontiguousarray(index.words[:, :11])
    values = lists.ListTables.of_products(index.centroids, words, bits=bits).values
    padded = n_codebooks + (bits == 4 and n_codebooks % 2)
    assert values.shape == (8, padded, 1 << bits)
    parts = np.ascontiguousarray(index.centroids.centres).reshape(8, n_codebooks, 1, -1).astype(float)
    exact = ((words.astype(float) + parts) ** 2 - parts**2).sum(axis=3)
    np.testing.assert_allclose(values[:, :n_codebooks, :11], exact, rtol=1e-4, atol=1e-5)
    assert (values[:, :n_codebooks, 11:] == np.inf).all()
    assert not values[:, n_codebooks:].any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    n_rows=st.sampled_from([0, 1, 63, 64, 65, 1000]),
    n_lists=st.sampled_from([1, 2, 9, 200]),
    n_codebooks=st.integers(1, 5),
    bits=st.sampled_from([4, 8]),
)
def test_packed_codes_are_found_again(seed, n_rows, n_lists, n_codebooks, bits):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 1 << bits, (n_rows, n_codebooks), np.uint8)
    of_list = (random.random(n_rows) ** 2 * n_lists).astype(np.int64)
    packed = lists.pack(codes, of_list, n_lists, bits)
    assert (packed.n_lists, packed.n_rows) == (n_lists, n_rows)
    allowed = RowFilter(random.random(n_rows) < 0.5)
    mask, words = allowed.mask(), packed.allowed(allowed)
    for which in range(n_lists):
        found, rows = reference.unpack(packed, which, n_codebooks, 1 << bits)
        assert np.array_equal(rows, np.flatnonzero(of_list == which))
        assert np.array_equal(found, codes[rows])
        span = slice(packed.starts[which], packed.starts[which + 1])
        filled = np.unpackbits(packed.words[span].view(np.uint8), bitorder="little")
        assert filled.tolist() == [1] * len(rows) + [0] * (len(filled) - len(rows))
        kept = np.unpackbits(words[span].view(np.uint8), bitorder="little")
        assert np.array_equal(kept[: len(rows)], mask[rows])
        assert not kept[len(rows) :].any()


def test_blocks_waste_little():
    index = made(3, 100_000, 20)
    assert index.lists.blocks.size / index.codes.size < 1 + 20 * 64 / 100_000


@pytest.mark.parametrize(
    ("centres", "error", "match"),
    [
        (np.zeros((2, 3)), TypeError, "centres must have dtype float32, not float64"),
        (np.zeros(3, np.float32), ValueError, "centres must have 2 dimensions"),
        (np.zeros((0, 3), np.float32), ValueError, r"centres must not be empty, not shape \(0, 3\)"),
        (
            np.array([[0, 1], [np.nan, 0]], np.float32),
            ValueError,
            "centres must be finite, but that of list 1 is not",
        ),
        (
            np.array([[np.inf, 1], [0, 0]], np.float32),
            ValueError,
            "centres must be finite, but that of list 0 is not",
        ),
    ],
)
def test_bad_centroids(centres, error, match):
    with pytest.raises(error, match=match):
        lists.Centroids(centres)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"centroids": np.zeros((2, 3), np.float32)}, TypeError, "centroids must be Centroids, not ndarray"),
        (
            {"queries": np.zeros((1, 3), np.float32)},
            ValueError,
            "queries must have 12 columns to match the cen.*not 3",
        ),
        ({"queries": np.zeros((1, 12))}, TypeError, "queries must have dtype float32"),
        (
            {"queries": np.full((1, 12), np.nan, np.float32)},
            ValueError,
            "queries must be finite: they contain NaN or",
        ),
        (
            {"queries": np.full((1, 12), np.inf, np.float32)},
            ValueError,
            "queries must be finite: they contain NaN or",
        ),
        ({"n_probe": 0}, ValueError, "n_probe must be at least 1, not 0"),
        ({"n_probe": 1.0}, TypeError, "n_probe must be an integer, not float"),
        ({"metric": "cosine"}, ValueError, """metric must be "l2" or "ip", not 'cosine'"""),
    ],
)
def test_bad_arguments_of_nearest(change, error, match):
    index = made()
    arguments = {"queries": index.queries, "centroids": index.centroids, "n_probe": 2}
    with pytest.raises(error, match=match):
        lists.nearest(**(arguments | change))


def test_bad_arguments_of_assign_and_residual_tables():
    index = made()
    with pytest.raises(ValueError, match="vectors must be finite: they contain NaN"):
        lists.assign(np.full((1, 12), np.nan, np.float32), index.centroids)
    with pytest.raises(ValueError, match='metric must be "l2" or "ip"'):
        lists.residual_tables(index.queries, index.words, "cosine")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"blocks": np.zeros((3, 2, 64), np.int8)}, TypeError, "blocks must have dtype uint8"),
        (
            {"blocks": np.zeros((2, 2, 64), np.uint8)},
            ValueError,
            r"must have shape \(3, M, 64\) .* not \(2, 2, 64\)",
        ),
        ({"blocks": np.zeros((3, 0, 64), np.uint8)}, ValueError, r"with M in 1..256, not \(3, 0, 64\)"),
        ({"rows": np.arange(192)}, TypeError, "rows must have dtype uint32"),
        (
            {"rows": np.arange(128, dtype=np.uint32)},
            ValueError,
            "rows must have 192 entries, 64 a block, not 128",
        ),
        (
            {"rows": np.arange(192, dtype=np.uint32)},
            ValueError,
            "rows must be below 71, the number of rows, not 128",
        ),
        (
            {"rows": np.zeros(192, np.uint32)},
            ValueError,
            "rows must name each row once, but row 1 is missing",
        ),
        ({"sizes": np.array([70.0, 1])}, TypeError, "sizes must have dtype int64"),
        ({"sizes": np.empty(0, np.int64)}, ValueError, "sizes must be of one list or more, each from 0"),
        ({"sizes": np.array([72, -1])}, ValueError, "sizes must be of one list or more, each from 0"),
        (
            {"sizes": np.array([1 << 33])},
            ValueError,
            "sizes must be of one list or more, each from 0 to 4294967295",
        ),
        (
            {"sizes": np.array([1 << 31, 1 << 31])},
            ValueError,
            "add up to at most 4294967295 rows, not 4294967296",
        ),
    ],
)
def test_bad_lists(change, error, match):
    numbers = np.zeros(192, np.uint32)
    numbers[:70], numbers[128] = np.arange(70), 70
    arguments = {"blocks": np.zeros((3, 2, 64), np.uint8), "rows": numbers, "sizes": np.array([70, 1])}
    assert lists.CodeLists(**arguments).n_rows == 71
    with pytest.raises(error, match=match):
        lists.CodeLists(**(arguments | change))


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (np.zeros((2, 3, 256)), TypeError, "values must have dtype float32"),
        (
            np.zeros((2, 3, 255), np.float32),
            ValueError,
            r"shape \(n_lists, M, 256\), or \(n_lists, even M, 16\)",
        ),
        (np.zeros((2, 3, 16), np.float32), ValueError, r"where codes are of 4 bits, not \(2, 3, 16\)"),
        (np.zeros((0, 3, 256), np.float32), ValueError, r"not \(0, 3, 256\)"),
        (
            np.full((1, 1, 256), np.nan, np.float32),
            ValueError,
            "values must not contain NaN or entries below -1e",
        ),
        (
            np.full((1, 1, 256), -1e36, np.float32),
            ValueError,
            "values must not contain NaN or entries below -1e",
        ),
    ],
)
def test_bad_list_tables(values, error, match):
    with pytest.raises(error, match=match):
        lists.ListTables(values)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"codes": np.zeros((3, 2))}, TypeError, "codes must have dtype uint8"),
        ({"lists": np.zeros(2, np.int64)}, ValueError, "lists must have 3 entries, one a code, not 2"),
        ({"lists": np.array([0, 1, 2])}, ValueError, "lists must be from 0 to 1, not 0 to 2"),
        ({"lists": np.array([0, -1, 1])}, ValueError, "lists must be from 0 to 1, not -1 to 1"),
        ({"n_lists": 0}, ValueError, "n_lists must be at least 1, not 0"),
        ({"bits": 5}, ValueError, "bits must be 4 or 8, not 5"),
    ],
)
def test_bad_arguments_of_pack(change, error, match):
    arguments = {"codes": np.zeros((3, 2), np.uint8), "lists": np.array([0, 1, 0]), "n_lists": 2}
    with pytest.raises(error, match=match):
        lists.pack(**(arguments | change))


def test_the_reference_has_every_function_of_lists():
    functions = {"assign", "nearest", "range_scan", "residual_tables", "scan"}
    assert functions == set(reference.__all__)
    assert functions <= set(lists.__all__)
