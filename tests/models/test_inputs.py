from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse

from spdq.errors import DataError
from spdq.models.inputs import (
    LENGTH,
    MAX_COLUMNS,
    NARROW,
    Columns,
    KernelBasis,
    Principal,
    Standardise,
    fit_image_input,
    fit_text_input,
    input_map,
)


def dense(n, width, seed=0):
    return np.random.default_rng(seed).normal(2, 3, (n, width)).astype(np.float32)


def counts(n, width, seed=0):
    """Sparse word counts; the last row and the last column are empty."""
    rows = np.random.default_rng(seed).poisson(0.4, (n, width)).astype(np.float32)
    rows[-1] = rows[:, -1] = 0
    return sparse.csr_matrix(rows)


def units(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


MAPS = {
    "standardise": lambda: (Standardise.fit(dense(9, 4), log=False), dense(5, 4, 1)),
    "standardise of logarithms": lambda: (Standardise.fit(abs(dense(9, 4)), log=True), abs(dense(5, 4, 1))),
    "principal": lambda: (Principal.fit(dense(9, 12), 5), dense(5, 12, 1)),
    "columns": lambda: (fit_text_input(counts(9, 12), 5, weighted=False), counts(5, 12, 1)),
    "kernel-basis": lambda: (KernelBasis.fit(counts(9, 12), 5, np.ones(12, np.float32)), counts(5, 12, 1)),
}


@pytest.fixture(params=MAPS)
def fitted(request):
    """A map and rows it has not seen."""
    return MAPS[request.param]()


def test_standardise_equals_numpy():
    train, rows = dense(20, 6).astype(np.float64), dense(7, 6, 1).astype(np.float64)
    train[:, 2] = 5
    found = Standardise.fit(train.astype(np.float32), log=False)(rows)
    deviation = train.std(axis=0)
    deviation[2] = 1
    np.testing.assert_allclose(found, (rows - train.mean(axis=0)) / deviation, atol=1e-5)
    np.testing.assert_array_equal(
        Standardise.fit(dense(9, 4), log=False)(np.tile(dense(9, 4).mean(0), (2, 1))), 0
    )


def test_standardise_of_logarithms_equals_numpy():
    train, rows = abs(dense(20, 6)).astype(np.float64), dense(7, 6, 1).astype(np.float64)
    train[0] = 0
    found = Standardise.fit(train.astype(np.float32), log=True)(rows)
    logs, new = np.log(train + 1e-4), np.log(np.maximum(rows, 0) + 1e-4)
    assert (rows < 0).any()
    np.testing.assert_allclose(found, (new - logs.mean(axis=0)) / logs.std(axis=0), atol=1e-4)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("n", [1, 5])
def test_standardise_keeps_constant_columns_at_zero(n, log):
    made = Standardise.fit(np.full((n, 3), 2, np.float32), log)
    np.testing.assert_allclose(made(np.full((4, 3), 2, np.float32)), 0, atol=1e-6)


@pytest.mark.parametrize(("n", "width", "axes"), [(30, 8, 3), (5, 8, 8), (8, 8, 20)])
def test_principal_equals_numpy(n, width, axes):
    """Equal up to the sign of each axis: coordinates by the eigenvectors of the covariance."""
    train, rows = dense(n, width).astype(np.float64), dense(7, width, 1).astype(np.float64)
    made = Principal.fit(train.astype(np.float32), axes)
    found = made(rows)
    centred = train - train.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    kept = min(axes, n, width)
    assert made.out_width == kept
    leading = vectors[:, ::-1][:, : min(kept, n - 1)]
    scale = LENGTH / np.linalg.norm(centred @ leading, axis=1).mean()
    expected = (rows - train.mean(axis=0)) @ leading * scale
    np.testing.assert_allclose(abs(found[:, : leading.shape[1]]), abs(expected), atol=1e-3)
    assert np.linalg.norm(made(train), axis=1).mean() == pytest.approx(LENGTH, rel=1e-4)


def test_principal_of_equal_rows_is_zero():
    made = Principal.fit(np.ones((3, 5), np.float32), 4)
    np.testing.assert_array_equal(made(np.ones((2, 5), np.float32)), 0)


def test_columns_equal_numpy():
    weights = np.array([0, 1, 2, 0.5], np.float32)
    rows = np.array([[9, 3, 2, 0], [5, 0, 0, 0], [0, 0, 0, 0], [0, 0, -1, 0]], np.float32)
    found = Columns(weights)(sparse.csr_matrix(rows))
    np.testing.assert_allclose(found, LENGTH * units(rows * weights), rtol=1e-6)
    np.testing.assert_allclose(found[0], [0, 16 * 0.6, 16 * 0.8, 0], rtol=1e-6)
    np.testing.assert_array_equal(found[1:3], 0)


@pytest.mark.parametrize("width", [3, 30])
def test_kernel_basis_equals_numpy(width):
    """Equal up to the sign of each direction, as far as the eigenvalues are not lost in rounding."""
    train, rows = counts(10, 14), counts(6, 14, 1)
    weights = np.linspace(0.5, 2, 14).astype(np.float32)
    made = KernelBasis.fit(train, width, weights)
    basis = units(train.toarray().astype(np.float64) * weights)
    values, vectors = np.linalg.eigh(basis @ basis.T)
    values, vectors = values[::-1][:width], vectors[:, ::-1][:, :width]
    new = units(rows.toarray().astype(np.float64) * weights) @ basis.T
    expected = LENGTH * units(new @ (vectors / np.sqrt(np.maximum(values, 1e-3))))
    assert made.out_width == min(width, 10)
    clear = values > 1e-2
    assert clear.sum() >= 3
    np.testing.assert_allclose(abs(made(rows)[:, clear]), abs(expected[:, clear]), atol=1e-3)


def test_kernel_basis_keeps_inner_products_of_training_rows():
    """With all directions it is a rotation of the span: products of rows are LENGTH ** 2 times their cosine."""
    train = sparse.csr_matrix(dense(6, 20))
    made = KernelBasis.fit(train, 6, np.ones(20, np.float32))
    cosine = units(train.toarray()) @ units(train.toarray()).T
    np.testing.assert_allclose(made(train) @ made(train).T, LENGTH**2 * cosine, atol=0.05)


def test_unknown_terms_do_not_matter_to_a_kernel_basis():
    train = counts(9, 12)
    made = KernelBasis.fit(train, 5, np.ones(12, np.float32))
    rows = counts(5, 12, 1).toarray()
    more = rows.copy()
    more[:, -1] = 3
    np.testing.assert_allclose(made(sparse.csr_matrix(more)), made(sparse.csr_matrix(rows)), atol=1e-5)


@pytest.mark.parametrize("kind", ["columns", "kernel-basis"])
def test_a_text_without_a_known_term_stays_zero(kind):
    made, rows = MAPS[kind]()
    unknown = np.zeros((2, 12), np.float32)
    assert not made(sparse.csr_matrix(unknown)).any()
    if kind == "kernel-basis":
        unknown[:, -1] = 1
        assert not made(sparse.csr_matrix(unknown)).any()
    assert not made(rows)[-1].any()
    assert made(rows)[:-1].any(axis=1).all()


def test_shapes_and_types(fitted):
    made, rows = fitted
    out = made(rows)
    assert out.shape == (5, made.out_width)
    assert rows.shape[1] == made.in_width
    assert out.dtype == np.float32
    assert made(rows[:0]).shape == (0, made.out_width)
    np.testing.assert_allclose(made(rows[2:3]), out[2:3], atol=1e-5)


def test_dense_and_sparse_rows_are_one(fitted):
    made, rows = fitted
    other = rows.toarray() if sparse.issparse(rows) else sparse.csr_matrix(rows)
    np.testing.assert_allclose(made(other), made(rows), atol=1e-6)


def test_round_trip(fitted):
    made, rows = fitted
    again = input_map(made.kind, {name: tensor.copy() for name, tensor in made.tensors().items()})
    assert type(again) is type(made)
    np.testing.assert_array_equal(again(rows), made(rows))
    for name, tensor in made.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], tensor)


def test_missing_and_superfluous_tensors(fitted):
    made, _ = fitted
    tensors = made.tensors()
    for wrong in ({}, tensors | {"more": np.ones(1)}, dict(list(tensors.items())[1:])):
        with pytest.raises(DataError, match=rf"input map '{made.kind}': expected tensors \['.*\], got \["):
            input_map(made.kind, wrong)


def test_tensors_that_do_not_fit(fitted):
    made, _ = fitted
    tensors = made.tensors()
    for name, tensor in tensors.items():
        if name in ("data", "indices"):
            continue
        for wrong in (np.array(1.0, np.float32), np.ones((2, 2, 2), np.float32)):
            with pytest.raises(DataError, match=f"input map '{made.kind}': tensors do not fit together"):
                input_map(made.kind, tensors | {name: wrong})
        if name != "weights":
            with pytest.raises(DataError, match=f"input map '{made.kind}'"):
                input_map(made.kind, tensors | {name: np.concatenate([tensor, tensor])})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("indices", lambda t: t + 12),
        ("indices", lambda t: t - 12),
        ("indices", lambda t: t[:-1]),
        ("data", lambda t: t[:-1]),
        ("indptr", lambda t: np.where(np.arange(len(t)) == 1, 10**9, t)),
        ("indptr", lambda t: t[::-1].copy()),
        ("indptr", lambda t: t + 1),
    ],
)
def test_a_kernel_basis_that_points_elsewhere(name, change):
    tensors = MAPS["kernel-basis"]()[0].tensors()
    with pytest.raises(DataError, match="input map 'kernel-basis': "):
        input_map("kernel-basis", tensors | {name: change(tensors[name])})


def test_unknown_kind():
    with pytest.raises(
        DataError,
        match="unknown input map 'pca': expected one of columns, kernel-basis, principal, standardise",
    ):
        input_map("pca", {})


@pytest.mark.parametrize(
    ("width", "kind", "out"),
    [(3, "standardise", 3), (NARROW, "standardise", NARROW), (NARROW + 1, "principal", 4)],
)
def test_image_input_by_width(width, kind, out):
    made = fit_image_input(abs(dense(6, width)), 4)
    assert (made.kind, made.in_width, made.out_width) == (kind, width, out)
    if kind == "standardise":
        assert made.log.tolist() == [0]


@pytest.mark.parametrize(
    ("features", "kind", "log"),
    [
        (abs(dense(6, 3)), "standardise", [1]),
        (dense(6, 3), "standardise", [0]),
        (abs(dense(6, NARROW + 1)), "principal", None),
        (counts(6, MAX_COLUMNS), "columns", None),
        (counts(6, MAX_COLUMNS + 1), "kernel-basis", None),
    ],
)
def test_text_input_by_width_and_values(features, kind, log):
    made = fit_text_input(features, 4, weighted=False)
    assert made.kind == kind
    assert made.in_width == features.shape[1]
    if log is not None:
        assert made.log.tolist() == log


@pytest.mark.parametrize("width", [12, MAX_COLUMNS + 1])
def test_text_columns_are_weighted_once(width):
    rows = counts(9, width)
    present = (rows.toarray() != 0).sum(axis=0)
    idf = [math.log(10 / (1 + df)) + 1 for df in present]
    np.testing.assert_allclose(fit_text_input(rows, 4, weighted=False).weights, idf, rtol=1e-6)
    np.testing.assert_array_equal(fit_text_input(rows, 4, weighted=True).weights, 1)


@pytest.mark.parametrize("many", [0, 2, 1000])
def test_one_row_is_mapped_as_among_others(monkeypatch, many):
    """Whichever of its terms have their sums at hand; an empty row and a row of one term among them."""
    monkeypatch.setattr("spdq.models.inputs.MANY_ROWS", many)
    made = KernelBasis.fit(counts(40, 30), 8, np.random.default_rng(3).random(30).astype(np.float32))
    rows = counts(12, 30, 1)
    rows = sparse.vstack([rows, sparse.csr_matrix(([2.0], ([0], [4])), (1, 30), np.float32)]).tocsr()
    together = made(rows)
    alone = np.concatenate([made(rows[row : row + 1]) for row in range(rows.shape[0])])
    np.testing.assert_allclose(alone, together, atol=1e-4)
    assert together[:-2].any()
    assert not alone[11].any()
