"""Weighted sums of queries."""

from __future__ import annotations

import numpy as np
import pytest
from oracles_index import (
    ATTRIBUTES,
    add_made_up,
    assert_found,
    assert_within,
    float_codebooks,
    integer_codebooks,
    kernel_distances,
    made_up_codes,
    nearest_of,
    random_index,
    within,
)

from spdq.errors import DataError, UsageError
from spdq.index import Index


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("n_words", [5, 16, 256])
def test_mixes_are_sums_of_lookup_tables(metric, n_words):
    codebooks = float_codebooks(4, n_words)
    index, names, codes = random_index(codebooks, 700, 3, metric)
    chance = np.random.default_rng(2)
    queries = chance.normal(size=(5, 12)).astype(np.float32)
    mixes = chance.normal(size=(300, 5)).astype(np.float32)
    mixes[:3] = [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, -2, -0.5, -1, -0.25]]
    distances = kernel_distances(codebooks, metric, codes, queries, mixes)
    found = index.search(queries, 12, mix=mixes)
    assert_found(found, nearest_of(distances, names, 12, [None] * 300, metric))
    radius = float(np.quantile(distances, 0.02)) * (1 if metric == "l2" else -1)
    expected = within(distances, names, radius, [None] * 300, metric)
    assert_within(index.range_search(queries, radius, mix=mixes, threads=2), expected)
    for row in (0, 1, 2, 255, 256, 299):
        alone = index.search(queries, 12, mix=mixes[row])
        np.testing.assert_array_equal(alone[0][0], found[0][row])
        np.testing.assert_array_equal(alone[1][0], found[1][row])
    plain = index.search(queries[0], 12)
    np.testing.assert_array_equal(plain[0][0], found[0][1])
    np.testing.assert_array_equal(plain[1][0], found[1][1])
    assert found[0][0].tolist() == [0.0] * 12
    assert found[1][0].tolist() == names[:12]


def test_mixes_of_one_query():
    index, names, _ = random_index(float_codebooks(), 200)
    query = np.random.default_rng(3).normal(size=12)
    near = index.search(query, 200)
    twice = index.search(query, 200, mix=[2])
    np.testing.assert_array_equal(twice[0], 2 * near[0])
    assert twice[1].tolist() == near[1].tolist()
    far = index.search(query, 200, mix=[[-1.0]])
    np.testing.assert_array_equal(far[0][0], -near[0][0][::-1])
    both = index.search([query, query], 200, mix=np.array([[1, -1]], np.int8))
    assert both[0].tolist() == [[0.0] * 200]
    assert both[1].tolist() == [names]


def test_mixes_of_additive_codes():
    codebooks = integer_codebooks(kind="additive")
    index, names, codes = random_index(codebooks, 100, 2, "ip", "str")
    queries = np.random.default_rng(4).integers(-2, 3, (2, 6)).astype(np.float32)
    distances, ids = index.search(queries, 100, mix=[3, -2])
    products = codebooks.decode(codes) @ (3 * queries[0] - 2 * queries[1])
    order = sorted(range(100), key=lambda row: (-products[row], names[row].encode()))
    assert ids[0].tolist() == [names[row] for row in order]
    assert distances[0].tolist() == products[order].tolist()


def test_mixes_and_filters():
    index = add_made_up(Index(integer_codebooks(), attributes=ATTRIBUTES), 60, 3)
    queries = np.random.default_rng(5).integers(-2, 3, (2, 6))
    mixes = [[1, 1], [1, -1], [0.5, 0]]
    distances = kernel_distances(index.codebooks, "l2", made_up_codes(range(60)), queries, mixes)
    filters = ["label = 'l1'", None, index.filter(allow=[5, 50])]
    masks = [np.arange(60) % 3 == 1, None, np.isin(np.arange(60), [5, 50])]
    assert_found(
        index.search(queries, 30, filters, mix=mixes), nearest_of(distances, list(range(60)), 30, masks)
    )
    expected = within(distances, list(range(60)), 3, masks)
    assert_within(index.range_search(queries, 3, filters, mix=mixes), expected)
    with pytest.raises(UsageError, match="expected one filter or 3, one a query, got 2"):
        index.search(queries, 5, [None, None], mix=mixes)


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ([1], "mix has weights for 1 queries, got 2"),
        ([[1, 2, 3]], "mix has weights for 3 queries, got 2"),
        ([], "mix must be an array of weights, got|mix has weights for 0 queries, got 2"),
        (1.0, r"mix must be finite weights \(n, queries\), got shape \(\)"),
        (np.ones((1, 1, 2)), r"mix must be finite weights \(n, queries\), got shape \(1, 1, 2\)"),
        ([1, np.nan], r"mix must be finite weights"),
        ([1, -np.inf], "mix must be finite weights"),
        ([1, 1e39], "mix must be finite weights"),
        ([1, 10**400], "mix must be an array of weights, got object"),
        ([1, None], "mix must be an array of weights, got object"),
        (["0.5", "0.5"], "mix must be an array of weights, got <U3"),
        ([1j, 1], "mix must be an array of weights, got complex128"),
        ([True, False], "mix must be an array of weights, got bool"),
        ([[1, 2], [1]], "mix must be an array of weights: "),
        ("half", "mix must be an array of weights, got <U4"),
        ([1e38, 1e38], None),
        ([-3e38, 1], "too large to multiply"),
        ([3e38, -3e38], "too large to multiply"),
    ],
)
def test_weights_at_the_edge_of_sense(mix, message):
    index = Index(integer_codebooks())
    index.add_codes(made_up_codes(range(5)))
    for use in (
        lambda: index.search(np.full((2, 6), 9), mix=mix),
        lambda: index.range_search(np.full((2, 6), 9), 5, mix=mix),
    ):
        if message is None:
            use()
        else:
            with pytest.raises(DataError, match=message):
                use()
