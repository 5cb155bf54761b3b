from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_quantizers import squared_product_error
from sklearn.base import clone

from spdq.errors import DataError, UsageError
from spdq.index import Index
from spdq.quantizers import AdditiveQuantizer, ProductQuantizer
from spdq.quantizers.codebooks import Codebooks
from spdq.quantizers.query_metric import PRIOR_QUERIES, RIDGE, QueryMetric

KINDS = pytest.mark.parametrize(
    "quantizer",
    [
        ProductQuantizer(n_codebooks=2, n_words=8, random_state=0),
        ProductQuantizer(n_codebooks=2, n_words=8, rotation="opq", random_state=0),
        AdditiveQuantizer(n_codebooks=2, n_words=8, random_state=0),
    ],
    ids=["product", "opq", "additive"],
)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def two_modalities(seed, n, m):
    """Items (n, 12) that vary most where queries (m, 12) are nearly zero."""
    items = normal(seed, n, 12) * np.float32([1] * 4 + [3] * 8)
    return items, normal(seed + 1, m, 12) * np.float32([1] * 4 + [0.1] * 8)


@pytest.mark.parametrize("n_queries", [1, 3, 40])
def test_an_error_is_as_long_as_queries_see_it(n_queries):
    queries, errors = normal(0, n_queries, 6) * np.float32([5, 2, 1, 1, 0, 0]), normal(1, 9, 6)
    seen = (QueryMetric.of(queries, 6).vectors(errors).astype(np.float64) ** 2).sum(axis=1)
    expected = squared_product_error(
        errors.astype(np.float64), queries.astype(np.float64), RIDGE, PRIOR_QUERIES
    )
    np.testing.assert_allclose(seen / seen[0], expected / expected[0], rtol=1e-4)


def test_only_directions_count():
    queries = normal(2, 20, 5)
    lengths = np.random.default_rng(3).uniform(0.01, 100, (20, 1))
    again = np.concatenate([-queries * lengths, np.zeros((7, 5))])
    np.testing.assert_allclose(
        QueryMetric.of(again, 5).root, QueryMetric.of(queries, 5).root, rtol=1e-4, atol=1e-6
    )


@KINDS
def test_inner_products_of_queries_are_kept_better(quantizer):
    items, queries = two_modalities(4, 600, 500)
    errors = []
    for given_queries in (None, queries[:250]):
        fitted = clone(quantizer).fit(items, queries=given_queries)
        missing = items - fitted.decode(fitted.encode(items))
        errors.append(float(((queries[250:] @ missing.T) ** 2).mean()))
    assert errors[1] < 0.6 * errors[0]


@KINDS
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), rank=st.integers(1, 8), count=st.integers(1, 30))
def test_inner_products_are_those_with_what_codes_stand_for(quantizer, seed, rank, count):
    asked = normal(seed, count, rank) @ normal(seed + 1, rank, 8)
    fitted = clone(quantizer).fit(normal(seed + 2, 40, 8), queries=asked)
    queries, codes = normal(seed + 3, 5, 8), fitted.encode(normal(seed + 4, 30, 8))
    found = fitted.lookup_tables(queries)[:, np.arange(2), codes].sum(axis=2)
    np.testing.assert_allclose(found, -(queries @ fitted.decode(codes).T), rtol=1e-3, atol=1e-3)


@KINDS
def test_without_queries_nothing_changes(quantizer):
    vectors = normal(5, 100, 8)
    plain, none = clone(quantizer).fit(vectors), clone(quantizer).fit(vectors, queries=None)
    assert plain.codebooks_.fingerprint == none.codebooks_.fingerprint
    assert plain.codebooks_.dual is None
    assert "dual" not in plain.codebooks_.tensors()


@KINDS
def test_the_same_queries_give_the_same_codebooks(quantizer):
    vectors, queries = two_modalities(6, 100, 30)
    fits = [clone(quantizer).fit(vectors, queries=queries).codebooks_ for _ in range(2)]
    assert fits[0].fingerprint == fits[1].fingerprint
    assert fits[0].fingerprint != clone(quantizer).fit(vectors, queries=queries[1:]).codebooks_.fingerprint


@KINDS
@pytest.mark.parametrize(
    "queries",
    [
        np.eye(8)[:1],
        np.tile(np.eye(8)[:2], (50, 1)),
        np.full((3, 8), 1e6),
        np.full((3, 8), 1e-30),
        -np.ones((9, 8)),
    ],
    ids=["one", "of rank two", "large", "small", "alike"],
)
@pytest.mark.parametrize("size", [1, 1e6])
def test_degenerate_queries(quantizer, queries, size):
    vectors = np.clip(normal(7, 60, 8) / 3, -1, 1) * np.float32(size)
    fitted = clone(quantizer).fit(vectors, queries=queries)
    assert np.isfinite(fitted.decode(fitted.encode(vectors))).all()
    few = clone(quantizer).fit(vectors[:5], queries=queries)
    np.testing.assert_allclose(few.decode(few.encode(vectors[:5])), vectors[:5], atol=1e-3 * size)


@KINDS
@pytest.mark.parametrize(
    ("queries", "match"),
    [
        (np.zeros((0, 8)), "expected at least one query that is not zero, got 0 queries"),
        (np.zeros((4, 8)), "expected at least one query that is not zero, got 4 queries"),
        (np.full((2, 8), np.nan), "queries must be finite and at most 1e.06 in size: row 0 is not"),
        (np.ones((2, 7)), "queries must have 8 columns as the vectors have, not 7"),
        (np.ones(8), r"queries must be real numbers \(n, D\)"),
        ([["a"] * 8], "queries must be an array of numbers"),
    ],
)
def test_bad_queries(quantizer, queries, match):
    with pytest.raises(DataError, match=match):
        clone(quantizer).fit(normal(8, 20, 8), queries=queries)


@KINDS
def test_an_index_is_stored_and_searched_by_inner_product(quantizer, tmp_path):
    items, queries = two_modalities(9, 300, 60)
    fitted = clone(quantizer).fit(items, queries=queries)
    with Index.create(tmp_path / "i", fitted, metric="ip") as index:
        index.add(items)
    with Index.open(tmp_path / "i") as index:
        distances, ids = index.search(queries, k=5)
        scores = queries @ fitted.decode(fitted.encode(items)).T
        np.testing.assert_allclose(distances, -np.sort(-scores)[:, :5], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(np.take_along_axis(scores, ids, 1), distances, rtol=1e-3, atol=1e-3)
        with pytest.raises(UsageError, match="have no place in a Faiss file"):
            index.to_faiss(tmp_path / "f")
    with pytest.raises(UsageError, match='keep inner products: metric must be "ip", not "l2"'):
        Index(fitted, metric="l2")


@KINDS
def test_stored_codebooks_that_were_changed_are_refused(quantizer):
    codebooks = clone(quantizer).fit(normal(10, 40, 8), queries=normal(11, 9, 8) * np.arange(8)).codebooks_
    again = Codebooks.from_tensors(codebooks.tensors(), codebooks.metadata())
    assert again.fingerprint == codebooks.fingerprint
    assert again.dual is not None
    tensors = dict(codebooks.tensors())
    for name in ("dual", "rotation"):
        with pytest.raises(DataError, match="rotation"):
            Codebooks.from_tensors(tensors | {name: tensors[name] * 2}, codebooks.metadata())
    with pytest.raises(DataError, match="rotation must be orthogonal"):
        Codebooks.from_tensors({n: t for n, t in tensors.items() if n != "dual"}, codebooks.metadata())
