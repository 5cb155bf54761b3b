from __future__ import annotations

import dataclasses
import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spdq_kernels
from spdq import errors
from spdq.errors import DamagedError, DataError, UsageError
from spdq.quantizers.codebooks import Codebooks
from spdq_kernels import encode_additive


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def turn(seed, dim):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0].astype(np.float32)


PRODUCT = Codebooks(normal(0, 4, 16, 2), "product")
ROTATED = Codebooks(normal(0, 4, 16, 2), "product", turn(1, 8))
ADDITIVE = Codebooks(normal(2, 3, 10, 8) / np.float32([1, 4, 16])[:, None, None], "additive")
SKEW = turn(1, 8) * np.float32([1, 1, 1, 1, 0.5, 0.5, 2, 2])
DUAL = turn(1, 8) / np.float32([1, 1, 1, 1, 0.5, 0.5, 2, 2])
PRODUCT_DUAL = dataclasses.replace(PRODUCT, rotation=SKEW, dual=DUAL)
ADDITIVE_DUAL = dataclasses.replace(ADDITIVE, rotation=SKEW, dual=DUAL)
ALL = pytest.mark.parametrize(
    "codebooks",
    [PRODUCT, ROTATED, ADDITIVE, PRODUCT_DUAL, ADDITIVE_DUAL],
    ids=["product", "rotated", "additive", "product-dual", "additive-dual"],
)


def test_sizes():
    assert [(c.n_codebooks, c.n_words, c.dim, c.code_bytes) for c in (PRODUCT, ADDITIVE)] == [
        (4, 16, 8, 4),
        (3, 10, 8, 3),
    ]
    assert [c.bits for c in (PRODUCT, ADDITIVE, Codebooks(normal(0, 2, 1, 3), "additive"))] == [16, 12, 0]


@pytest.mark.parametrize("n_codebooks", [2, 4, 8, 16])
def test_the_usual_code_lengths(n_codebooks):
    words = normal(0, n_codebooks, 256, 16)
    assert Codebooks(words, "additive").bits == Codebooks(words, "product").bits == 8 * n_codebooks


@ALL
def test_decoded_codes_are_coded_the_same(codebooks):
    codes = np.random.default_rng(3).integers(0, codebooks.n_words, (50, codebooks.n_codebooks), np.uint8)
    vectors = codebooks.decode(codes)
    assert vectors.shape == (50, 8)
    assert vectors.dtype == np.float32
    again = codebooks.decode(codebooks.encode(vectors))
    np.testing.assert_allclose(again, vectors, atol=1e-5)


@pytest.mark.parametrize(
    ("codebooks", "metric"),
    [
        *((PRODUCT, "l2"), (ROTATED, "l2"), (PRODUCT, "ip"), (ROTATED, "ip"), (ADDITIVE, "ip")),
        *((PRODUCT_DUAL, "ip"), (ADDITIVE_DUAL, "ip")),
    ],
)
def test_tables_sum_to_the_distance_to_the_decoded_vector(codebooks, metric):
    queries, codes = normal(4, 6, 8), codebooks.encode(normal(5, 30, 8))
    decoded = codebooks.decode(codes)
    tables = codebooks.lookup_tables(queries, metric)
    found = tables[:, np.arange(codebooks.n_codebooks), codes].sum(axis=2)
    differences = queries[:, None] - decoded
    expected = (differences**2).sum(-1) if metric == "l2" else -(queries @ decoded.T)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@ALL
def test_a_vector_does_not_depend_on_its_batch(codebooks):
    vectors = normal(6, 150, 8)
    codes, tables = codebooks.encode(vectors), codebooks.lookup_tables(vectors)
    for row in (0, 77, 149):
        one = vectors[row : row + 1]
        assert np.array_equal(codebooks.encode(one)[0], codes[row])
        assert codebooks.lookup_tables(one).tobytes() == tables[row].tobytes()


@ALL
def test_anything_that_is_numbers_is_taken(codebooks):
    vectors = normal(7, 5, 8)
    expected = codebooks.encode(vectors)
    for form in (
        vectors.tolist(),
        vectors.astype(np.float64),
        np.asfortranarray(vectors),
        vectors[::-1][::-1],
    ):
        assert np.array_equal(codebooks.encode(form), expected)
    assert codebooks.encode(np.zeros((0, 8))).shape == (0, codebooks.n_codebooks)
    assert codebooks.decode(np.zeros((0, codebooks.n_codebooks), np.uint8)).shape == (0, 8)
    assert codebooks.lookup_tables(np.zeros((0, 8))).shape == (0, codebooks.n_codebooks, 256)


@ALL
@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        ([[1.0] * 7], "vectors must have 8 columns to match the codebooks, not 7"),
        ([1.0] * 8, r"vectors must be real numbers \(n, D\), not float64 of shape \(8,\)"),
        ([[1j] * 8], "not complex128"),
        ([["a"] * 8], "vectors must be an array of numbers"),
        ([[1.0] * 8, [1.0] * 7], "vectors must be an array of numbers"),
        ([[0.0] * 8, [np.nan] + [0.0] * 7], "vectors must be finite and at most 1e.06 in size: row 1 is not"),
        ([[np.inf] * 8], "row 0 is not"),
        ([[-1.1e6] * 8], "row 0 is not"),
        ([[1e300] * 8], "row 0 is not"),
    ],
)
def test_bad_vectors(codebooks, vectors, match):
    with pytest.raises(DataError, match=match):
        codebooks.encode(vectors)
    with pytest.raises(DataError, match=match.replace("vectors", "queries")):
        codebooks.lookup_tables(vectors)


@ALL
def test_bad_codes(codebooks):
    width = codebooks.n_codebooks
    with pytest.raises(DataError, match=rf"codes must be \(n, {width}\) uint8, not int64 of shape"):
        codebooks.decode(np.zeros((2, width), np.int64))
    with pytest.raises(DataError, match=rf"not uint8 of shape \(2, {width + 1}\)"):
        codebooks.decode(np.zeros((2, width + 1), np.uint8))
    with pytest.raises(
        DataError, match=f"codes name word 200, but each codebook has {codebooks.n_words} words"
    ):
        codebooks.decode(np.full((2, width), 200, np.uint8))


def test_bad_metrics():
    with pytest.raises(UsageError, match='metric must be "l2" or "ip", not \'cosine\''):
        PRODUCT.lookup_tables(normal(0, 1, 8), "cosine")
    with pytest.raises(UsageError, match='"l2" of additive codes needs norms'):
        ADDITIVE.lookup_tables(normal(0, 1, 8), "l2")
    for codebooks in (PRODUCT_DUAL, ADDITIVE_DUAL):
        with pytest.raises(UsageError, match='keep inner products: metric must be "ip", not "l2"'):
            codebooks.lookup_tables(normal(0, 1, 8), "l2")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((normal(0, 2, 4), "product"), r"words must be \(M, K, d\)"),
        ((normal(0, 2, 257, 1), "product"), r"M and K in 1..256 and d >= 1, not \(2, 257, 1\)"),
        ((normal(0, 257, 2, 1), "additive"), r"not \(257, 2, 1\)"),
        ((normal(0, 2, 4, 0), "product"), "d >= 1"),
        ((normal(0, 2, 2, 4097), "product"), "codebooks of 8194 dimensions: at most 8192 are possible"),
        ((normal(0, 33, 256, 1), "additive"), r"at most 8192 words in all, not \(33, 256, 1\)"),
        ((np.full((1, 2, 3), np.nan), "product"), "words of codebooks must be finite"),
        ((normal(0, 2, 4, 3), "composite"), 'must be "product" or "additive", not \'composite\''),
        ((normal(0, 2, 4, 3), "product", np.eye(3)), r"rotation must be \(6, 6\), not \(3, 3\)"),
        ((normal(0, 2, 4, 3), "product", np.ones((6, 6))), "rotation must be orthogonal"),
        ((normal(0, 2, 4, 3), "product", np.full((6, 6), np.inf)), "rotation of codebooks must be finite"),
        *(
            ((normal(0, 2, 4, 3), "product", rotation, None, 1.0, dual), match)
            for rotation, dual, match in (
                (None, np.eye(6), "dual of codebooks without a rotation"),
                (np.eye(6), np.eye(5), r"dual must be \(6, 6\), not \(5, 5\)"),
                (2 * np.eye(6), np.eye(6), "dual must be that of the rotation: rotation @ dual.T is not"),
                (np.full((6, 6), 1e30), np.full((6, 6), 1e30), "dual must be that of the rotation"),
                (np.eye(6), np.full((6, 6), np.nan), "dual of codebooks must be finite"),
            )
        ),
        *(
            ((normal(0, 2, 4, 3), "product", None, error), "training error .* a number of at least 0, not")
            for error in (-0.5, math.nan, math.inf, "much", [1.0, 2.0])
        ),
        *(
            (
                (normal(0, 2, 4, 3), kind, None, None, along),
                r"along must be 1 for product codebooks and from 1 to 1e\+06",
            )
            for kind, along in (("product", 2), ("additive", 0.9), ("additive", math.nan), ("additive", 2e6))
        ),
    ],
)
def test_bad_codebooks(arguments, match):
    with pytest.raises(DataError, match=match):
        Codebooks(*arguments)


def test_codebooks_cannot_change():
    words = normal(0, 2, 4, 3)
    codebooks = Codebooks(words, "additive")
    words[:] = 0
    assert codebooks.words.any()
    with pytest.raises(ValueError, match="read-only"):
        codebooks.words[0, 0, 0] = 1
    with pytest.raises(AttributeError, match="cannot assign to field"):
        codebooks.words = words


@ALL
def test_stored_and_read_again(codebooks):
    again = Codebooks.from_tensors(codebooks.tensors(), codebooks.metadata() | {"more": "is passed over"})
    assert again.fingerprint == codebooks.fingerprint
    assert again.kind == codebooks.kind
    vectors = normal(8, 20, 8)
    assert np.array_equal(again.encode(vectors), codebooks.encode(vectors))


@pytest.mark.parametrize("error", [0, 0.1, 1e-320, 1e300, np.float64(0.1), np.float32(0.1)])
def test_the_training_error_is_stored(error):
    codebooks = dataclasses.replace(ROTATED, training_error=error)
    assert type(codebooks.training_error) is float
    assert codebooks.fingerprint == ROTATED.fingerprint
    again = Codebooks.from_tensors(codebooks.tensors(), codebooks.metadata())
    assert again.training_error == codebooks.training_error == float(error)
    assert "training_error" not in ROTATED.metadata()
    assert Codebooks.from_tensors(ROTATED.tensors(), ROTATED.metadata()).training_error is None


def test_the_weight_along_a_vector_is_stored_and_used():
    codebooks = dataclasses.replace(ADDITIVE, along=8.5)
    assert codebooks.fingerprint == ADDITIVE.fingerprint
    again = Codebooks.from_tensors(codebooks.tensors(), codebooks.metadata())
    assert again.along == 8.5
    vectors = normal(10, 50, 8)
    assert np.array_equal(again.encode(vectors), encode_additive(vectors, ADDITIVE.words, along=8.5))
    assert not np.array_equal(again.encode(vectors), ADDITIVE.encode(vectors))
    assert "along" not in ADDITIVE.metadata()
    assert Codebooks.from_tensors(ADDITIVE.tensors(), ADDITIVE.metadata()).along == 1


@ALL
@pytest.mark.parametrize(
    ("n", "step"), [(1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (2001, 3), (5000, 5)]
)
def test_the_measured_error_is_that_of_some_vectors(codebooks, n, step):
    vectors = normal(9, n, 8)
    total, count = codebooks.measured_error(vectors.tolist())
    some = vectors[::step]
    differences = some.astype(np.float64) - codebooks.decode(codebooks.encode(some))
    assert count == len(some) <= 1000
    assert total == pytest.approx((differences**2).sum(), rel=1e-5)


@ALL
def test_the_measured_error_of_words_and_of_nothing(codebooks):
    assert codebooks.measured_error(np.empty((0, 8))) == (0.0, 0)
    if codebooks.kind == "product":
        vectors = codebooks.decode(np.arange(10, dtype=np.uint8)[:, None].repeat(4, axis=1))
        assert codebooks.measured_error(vectors) == (pytest.approx(0, abs=1e-10), 10)
    with pytest.raises(DataError, match="vectors must be finite"):
        codebooks.measured_error(np.full((1, 8), np.nan))
    with pytest.raises(DataError, match="vectors must have 8 columns"):
        codebooks.measured_error(np.zeros((1, 7)))


def test_the_fingerprint_sees_everything():
    words = normal(0, 2, 6, 6)
    changed = words.copy()
    changed[1, 5, 5] = np.nextafter(changed[1, 5, 5], np.float32(9))
    several = [
        Codebooks(words, "additive"),
        Codebooks(words, "product"),
        Codebooks(changed, "product"),
        Codebooks(words, "product", np.eye(12, dtype=np.float32)),
        Codebooks(words.reshape(2, 12, 3), "product"),
        Codebooks(words.reshape(4, 6, 3), "product"),
    ]
    assert len({codebooks.fingerprint for codebooks in several}) == len(several)
    assert Codebooks(words, "product").fingerprint == several[1].fingerprint
    assert len(several[0].fingerprint) == 64


def test_the_fingerprint_is_what_the_documentation_says():
    words = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    expected = hashlib.sha256(b"additive|words(2, 3, 4)" + words.astype("<f4").tobytes()).hexdigest()
    assert Codebooks(words, "additive").fingerprint == expected


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "match"),
    [
        ({}, {}, DataError, r"found tensors \[\] and metadata \[\]"),
        ({"extra": normal(0, 1)}, {}, DataError, r"found tensors \['extra', 'words'\]"),
        (
            {"words": np.zeros((2, 2, 2))},
            {},
            DataError,
            "tensor 'words' of codebooks must be float32, not float64",
        ),
        ({}, {"kind": "other"}, DataError, "not 'other'"),
        ({}, {"fingerprint": "0"}, DamagedError, "codebooks are damaged: their fingerprint is"),
        ({}, {"along": "much"}, DataError, "along of codebooks must be a number, not 'much'"),
        ({}, {"training_error": "nan"}, DataError, "must be a number of at least 0, not 'nan'"),
        ({}, {"training_error": "-1.0"}, DataError, "must be a number of at least 0, not '-1.0'"),
        ({}, {"training_error": "much"}, DataError, "must be a number of at least 0, not 'much'"),
    ],
)
def test_bad_tensors(tensors, metadata, error, match):
    good = PRODUCT
    if match.startswith("found tensors") and not tensors:
        found = ({}, {})
    else:
        found = (good.tensors() | tensors, good.metadata() | metadata)
    with pytest.raises(error, match=match):
        Codebooks.from_tensors(*found)
    assert issubclass(error, errors.SpdqError)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), position=st.integers(0, 4 * 16 * 2 * 4 - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(seed, position, bit):
    codebooks = Codebooks(normal(seed, 4, 16, 2), "product")
    words = codebooks.words.copy()
    words.view(np.uint8).reshape(-1)[position] ^= 1 << bit
    with pytest.raises((DataError, DamagedError)):
        Codebooks.from_tensors({"words": words}, codebooks.metadata())


def test_codebooks_load_nothing_heavy():
    code = """
import sys
import spdq.quantizers.codebooks, spdq.quantizers, spdq_kernels
heavy = {"torch", "sklearn", "scipy", "h5py", "numba", "pandas"} & set(sys.modules)
assert not heavy, heavy
"""
    roots = [str(Path(errors.__file__).parents[1]), str(Path(spdq_kernels.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(roots)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_room_opens_lazily():
    import spdq.quantizers

    assert spdq.quantizers.Codebooks is Codebooks
    with pytest.raises(AttributeError, match="has no attribute 'Composite'"):
        spdq.quantizers.Composite  # noqa: B018
