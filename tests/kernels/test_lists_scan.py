"""Searches among lists give what the reference gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_lists import WIDTH, assert_same, made

from spdq_kernels import RowFilter, additive_tables, cpu, lists, pack_codes, product_tables, scan
from spdq_kernels.cpu import block_scan
from spdq_kernels.lists import reference, search


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 999),
    n_queries=st.integers(0, 5),
    n_rows=st.sampled_from([0, 1, 63, 64, 65, 700, 5000]),
    n_lists=st.sampled_from([1, 2, 7, 40]),
    n_codebooks=st.integers(1, 9),
    bits=st.sampled_from([4, 8]),
    metric=st.sampled_from(["l2", "ip"]),
    residual=st.booleans(),
    n_probe=st.sampled_from([1, 2, 5, 40]),
    k=st.sampled_from([1, 2, 10, 100, 1299, 5000]),
    threads=st.sampled_from([1, 2, 3, 7, None]),
    whole_numbers=st.booleans(),
    filtered=st.sampled_from(["no", "some", "few", "none", "each"]),
)
def test_equals_the_reference_bit_for_bit(
    seed,
    n_queries,
    n_rows,
    n_lists,
    n_codebooks,
    bits,
    metric,
    residual,
    n_probe,
    k,
    threads,
    whole_numbers,
    filtered,
):
    index = made(seed, n_rows, n_lists, n_codebooks, bits, metric, n_queries, whole_numbers)
    arguments, named = index.asked(n_probe, residual)
    draw = np.random.default_rng(seed).random(n_rows)
    some = RowFilter(draw < 0.3)
    named["allowed"] = {
        "no": None,
        "some": some,
        "few": RowFilter(draw < 0.01),
        "none": RowFilter(draw < 0),
        "each": [some if i % 2 else None for i in range(n_queries)],
    }[filtered]
    expected = reference.scan(*arguments, k, **named)
    assert_same(lists.scan(*arguments, k, threads, **named), expected)
    radius = float(np.median(expected[0][:, :1])) if expected[0].size else 1.0
    for limit in (radius, radius + 1, np.inf, -np.inf):
        inside = reference.range_scan(*arguments, limit, **named)
        assert_same(lists.range_scan(*arguments, limit, threads, **named), inside)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("whole_numbers", [False, True])
def test_all_lists_are_the_flat_answer(bits, metric, whole_numbers):
    index = made(1, 9000, 30, 5, bits, metric, whole_numbers=whole_numbers)
    arguments, _ = index.asked(30, residual=False)
    blocks = pack_codes(index.codes, bits)
    for k in (1, 50, 9000):
        assert_same(lists.scan(*arguments, k), scan(arguments[0], blocks, 9000, k))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_many_queries_and_rows(residual, bits):
    """More queries than a group has, more rows than a sample needs."""
    index = made(2, 60_000, 50, 4, bits, n_queries=300)
    arguments, named = index.asked(20, residual)
    for k in (1, 10, 100):
        assert_same(lists.scan(*arguments, k, 1, **named), reference.scan(*arguments, k, **named))


@pytest.mark.parametrize("residual", [False, True])
def test_a_smaller_k_gives_the_beginning_and_a_query_is_alone_what_it_is_beside_others(residual):
    index = made(3, 20_000, 12, 4, n_queries=9, whole_numbers=True)
    (tables, _, probes), named = index.asked(5, residual)
    distances, rows = lists.scan(tables, index.lists, probes, 500, **named)
    for k in (1, 7, 256):
        found = lists.scan(tables, index.lists, probes, k, **named)
        assert_same(found, (distances[:, :k].copy(), rows[:, :k].copy()))
    for q in range(9):
        one = {name: value[q : q + 1] if name == "offsets" else value for name, value in named.items()}
        alone = lists.scan(tables[q : q + 1], index.lists, probes[q : q + 1], 500, **one)
        assert_same(alone, (distances[q : q + 1], rows[q : q + 1]))


def test_the_order_of_lists_does_not_matter():
    index = made(4, 5000, 20, 4)
    (tables, _, probes), named = index.asked(9)
    order = np.random.default_rng(0).permutation(9)
    turned = {**named, "offsets": np.ascontiguousarray(named["offsets"][:, order])}
    found = lists.scan(tables, index.lists, np.ascontiguousarray(probes[:, order]), 60, **turned)
    assert_same(found, lists.scan(tables, index.lists, probes, 60, **named))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_equal_rows_come_in_the_order_of_their_numbers(threads, residual):
    index = made(5, 4000, 10, 3)
    (tables, _, _), _ = index.asked(1, residual)
    probes = np.tile(np.arange(10)[::-1], (len(tables), 1)).copy()
    distances, rows = lists.scan(np.zeros_like(tables), index.lists, probes, 300, threads)
    assert not distances.any()
    assert np.array_equal(rows, np.tile(np.arange(300), (len(tables), 1)))


def test_rows_are_the_numbers_the_lists_give():
    index = made(6, 1000, 5, 4)
    turned = np.random.default_rng(0).permutation(1000)
    renumbered = lists.CodeLists(
        index.lists.blocks, turned[np.minimum(index.lists.rows, 999)].astype(np.uint32), index.lists.sizes
    )
    (tables, _, probes), named = index.asked(3)
    distances, rows = lists.scan(tables, index.lists, probes, 5, **named)
    assert_same(lists.scan(tables, renumbered, probes, 5, **named), (distances, turned[rows]))
    allowed = RowFilter(np.arange(1000) % 3 == 0)
    named["allowed"] = allowed
    for one in (index.lists, renumbered, index.lists):
        expected = reference.scan(tables, one, probes, 40, **named)
        assert_same(lists.scan(tables, one, probes, 40, **named), expected)
    assert allowed.listed[0] is index.lists


@pytest.mark.parametrize("away", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("bits", [4, 8])
def test_queries_far_beyond_the_spread(away, bits):
    """|q - c|^2 is far above all differences between rows: rounding decides, and the bound must allow for it."""
    index = made(7, 20_000, 16, 8, bits, spread=0.01, away=away, n_queries=6)
    for n_probe in (1, 4, 16):
        arguments, named = index.asked(n_probe)
        for k in (1, 40, 700):
            assert_same(lists.scan(*arguments, k, **named), reference.scan(*arguments, k, **named))


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-30, 1e15, 1e30])
def test_huge_and_tiny_entries(scale):
    index = made(8, 5000, 6, 4)
    (tables, _, probes), named = index.asked(4)
    with np.errstate(over="ignore", under="ignore"):
        tables = (tables * np.float32(scale)).astype(np.float32)
        named["offsets"] = named["offsets"] * np.float32(scale)
        named["list_tables"] = lists.ListTables(
            np.maximum(index.list_tables.values * np.float32(scale), np.float32(-1e35))
        )
        expected = reference.scan(tables, index.lists, probes, 40, **named)
        assert_same(lists.scan(tables, index.lists, probes, 40, **named), expected)


def test_infinite_parts():
    index = made(9, 3000, 6, 4)
    (tables, _, probes), named = index.asked(4)
    tables[:, :, 100:] = np.inf
    named["offsets"][0] = np.inf
    expected = reference.scan(tables, index.lists, probes, 900, **named)
    assert np.isinf(expected[0][0]).all()
    assert_same(lists.scan(tables, index.lists, probes, 900, **named), expected)


def test_negative_zero_is_zero():
    codes = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], np.uint8)
    one = lists.pack(codes, np.zeros(4, np.int64), 1)
    tables = np.zeros((1, 2, 256), np.float32)
    tables[:, :, 1] = -0.0
    offsets, probes = np.full((1, 1), -0.0, np.float32), np.zeros((1, 1), np.int64)
    distances, rows = lists.scan(tables, one, probes, 4, offsets=offsets)
    assert rows.tolist() == [[0, 1, 2, 3]]
    assert not np.signbit(distances).any()


def test_residual_distances_are_those_of_the_decoded_vectors():
    for metric in ("l2", "ip"):
        index = made(10, 500, 6, 4, metric=metric)
        arguments, named = index.asked(6)
        distances, rows = lists.scan(*arguments, 500, **named)
        parts = np.stack([index.words[m][index.codes[:, m]] for m in range(4)], axis=1)
        decoded = index.centroids.centres[index.of_list] + parts.reshape(500, 4 * WIDTH)
        if metric == "l2":
            exact = ((index.queries[:, None].astype(float) - decoded) ** 2).sum(axis=2)
        else:
            exact = -(index.queries.astype(float) @ decoded.T)
        np.testing.assert_allclose(distances, np.take_along_axis(exact, rows, axis=1), rtol=1e-4, atol=1e-4)


def test_additive_residuals():
    """The parts of additive codes: tables of products, and of the query the squared norms that a byte names."""
    random = np.random.default_rng(11)
    words = random.standard_normal((3, 256, 8)).astype(np.float32)
    centroids = lists.Centroids(random.standard_normal((5, 8)).astype(np.float32))
    codes, of_list = random.integers(0, 256, (900, 4), np.uint8), random.integers(0, 5, 900)
    norms = np.sort(random.random(256).astype(np.float32) * 30)
    queries = random.standard_normal((3, 8)).astype(np.float32)
    tables = additive_tables(queries, words, "l2", norms)
    tables[:, 3] = norms
    values = np.zeros((5, 4, 256), np.float32)
    values[:, :3] = -2 * additive_tables(np.ascontiguousarray(centroids.centres), words, "ip")
    offsets, probes = lists.nearest(queries, centroids, 5)
    arguments = tables, lists.pack(codes, of_list, 5), probes
    named = {"offsets": offsets, "list_tables": lists.ListTables(values)}
    distances, rows = lists.scan(*arguments, 20, **named)
    assert_same((distances, rows), reference.scan(*arguments, 20, **named))
    residuals = sum(words[m][codes[:, m]] for m in range(3)).astype(float)
    differences = queries[:, None] - centroids.centres[of_list]
    exact = (differences**2).sum(axis=2) - 2 * (differences * residuals).sum(axis=2) + norms[codes[:, 3]]
    np.testing.assert_allclose(distances, np.take_along_axis(exact, rows, axis=1), rtol=1e-4, atol=1e-3)


def test_more_hits_than_there_was_room_for():
    index = made(12, 100_000, 3, 2, n_queries=2)
    arguments, named = index.asked(3)
    for threads in (1, 2, 5):
        limits, distances, rows = lists.range_scan(*arguments, np.inf, threads, **named)
        assert_same((limits, distances, rows), reference.range_scan(*arguments, np.inf, **named))
        assert limits.tolist() == [0, 100_000, 200_000]


def counted(index, n_probe, k, residual):
    """Counters of a search."""
    (tables, _, probes), named = index.asked(n_probe, residual)
    counters = np.zeros(3, np.int64)
    asked = search._asked(tables, index.lists, probes, named.get("list_tables"), named.get("offsets"), None)
    found = search._search(asked, k, counters)
    assert_same(found, reference.scan(tables, index.lists, probes, k, **named))
    return counters


@pytest.mark.parametrize("residual", [False, True])
def test_few_rows_are_evaluated(residual):
    counters = counted(made(13, 60_000, 30, 8, n_queries=10), 20, 10, residual)
    assert counters[block_scan.EVALUATED] < 10 * 1200


def test_a_guess_too_low_is_found_out():
    """All that is sampled is nearer than nearly all others: only few rows lie below the guess."""
    random = np.random.default_rng(14)
    n_blocks = 256
    tables = random.random((1, 2, 256)).astype(np.float32)
    tables[0, 0, 0] = -5
    codes = random.integers(1, 256, (64 * n_blocks, 2), np.uint8)
    count, start, stride, _ = cpu.compiled("sample_of")(n_blocks)
    codes.reshape(n_blocks, 64, 2)[start::stride][:count, :5, 0] = 0
    one = lists.pack(codes, np.arange(len(codes)) // (64 * 32), 8)
    arguments = tables, one, np.arange(8)[None].copy()
    counters = np.zeros(3, np.int64)
    found = search._search(search._asked(*arguments, None, None, None), 1000, counters)
    assert_same(found, reference.scan(*arguments, 1000))
    assert counters[block_scan.REPEATS] >= 1


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"lists": 3}, TypeError, "lists must be CodeLists, not int"),
        (
            {"tables": np.zeros((4, 3, 256), np.float32)},
            ValueError,
            r"shape \(nq, 4, 256\) to match the blocks",
        ),
        ({"tables": np.full((4, 4, 256), np.nan, np.float32)}, ValueError, "tables must not contain NaN"),
        ({"probes": np.zeros((4, 1), np.int32)}, TypeError, "probes must have dtype int64, not int32"),
        ({"probes": np.zeros((3, 1), np.int64)}, ValueError, "probes must have 4 rows, one a query, not 3"),
        (
            {"probes": np.full((4, 1), 8)},
            ValueError,
            r"lists from 0 to 7, none of them twice, not \[8\] \(query 0\)",
        ),
        ({"probes": np.full((4, 1), -1)}, ValueError, r"not \[-1\] \(query 0\)"),
        (
            {"probes": np.array([[1, 2, 3], [3, 2, 1], [1, 2, 1], [0, 1, 2]])},
            ValueError,
            r"none of them twice, not \[1, 2, 1\] \(query 2\)",
        ),
        (
            {"list_tables": np.zeros((8, 4, 256), np.float32)},
            TypeError,
            "list_tables must be ListTables or None, not nd",
        ),
        (
            {"list_tables": lists.ListTables(np.zeros((7, 4, 256), np.float32))},
            ValueError,
            r"list_tables must have shape \(8, 4, 256\) to match lists and tables, not \(7, 4, 256\)",
        ),
        ({"offsets": np.zeros((4, 2), np.float32)}, ValueError, r"offsets must have shape \(4, 1\) to match"),
        ({"offsets": np.zeros((4, 1))}, TypeError, "offsets must have dtype float32, not float64"),
        (
            {"offsets": np.full((4, 1), np.nan, np.float32)},
            ValueError,
            "offsets must not contain NaN or entries below",
        ),
        (
            {"offsets": np.full((4, 1), -1e36, np.float32)},
            ValueError,
            "offsets must not contain NaN or entries below",
        ),
        ({"k": 0}, ValueError, "k must be at least 1, not 0"),
        ({"k": 2.0}, TypeError, "k must be an integer, not float"),
        ({"threads": 0}, ValueError, "threads must be at least 1, not 0"),
        ({"allowed": RowFilter(np.ones(9, bool))}, ValueError, "allowed must be for 3000 rows .* not 9"),
    ],
)
def test_bad_arguments(change, error, match):
    arguments = {
        "tables": np.zeros((4, 4, 256), np.float32),
        "lists": made().lists,
        "probes": np.zeros((4, 1), np.int64),
        "k": 3,
        "threads": 1,
    }
    with pytest.raises(error, match=match):
        lists.scan(**(arguments | change))


@pytest.mark.parametrize(
    ("radius", "error", "match"),
    [(np.nan, ValueError, "radius must not be NaN"), ("3", TypeError, "radius must be a number, not str")],
)
def test_bad_radius(radius, error, match):
    arguments, named = made().asked(2)
    with pytest.raises(error, match=match):
        lists.range_scan(*arguments, radius, **named)


def test_no_list_is_searched():
    index = made()
    tables = product_tables(index.queries, index.words, "l2")
    distances, rows = lists.scan(tables, index.lists, np.empty((4, 0), np.int64), 3)
    assert np.isinf(distances).all()
    assert (rows == -1).all()
    limits, distances, rows = lists.range_scan(tables, index.lists, np.empty((4, 0), np.int64), 3)
    assert (limits.tolist(), len(distances), len(rows)) == ([0] * 5, 0, 0)
