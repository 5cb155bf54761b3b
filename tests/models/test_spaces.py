from __future__ import annotations

import numpy as np
import oracles_models as oracle
import pytest

from spdq.errors import DataError
from spdq.models.spaces import UNIT_IMAGE_WEIGHT, AlignedSpace, PredictiveSpace, make_space

MIXED = ((0, 3, True), (3, 5, False), (5, 7, True), (7, 8, False))
FREE = ((0, 8, False),)
EXCLUSIVE = ((0, 8, True),)
SETS = pytest.mark.parametrize(
    "sets", [MIXED, FREE, EXCLUSIVE, ()], ids=["mixed", "free", "exclusive", "none"]
)


def width(sets):
    return max((stop for _, stop, _ in sets), default=0)


def branches(n, labels, shared=4, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.uniform(-1, 1, (n, shared)).astype(np.float32),
        (3 * random.normal(size=(n, labels))).astype(np.float32),
    )


@SETS
@pytest.mark.parametrize("n", [0, 1, 7])
def test_predictive_vectors_equal_the_twin(n, sets):
    space = PredictiveSpace(sets, 4)
    shared, logits = branches(n, width(sets))
    expected = [
        oracle.predictive_vector(*pair, sets) for pair in zip(shared.tolist(), logits.tolist(), strict=True)
    ]
    for modality in ("image", "text"):
        found = space.vectors(modality, shared, logits)
        assert found.dtype == np.float32
        assert found.shape == (n, space.dim) == (n, width(sets) + 4)
        np.testing.assert_allclose(found, np.reshape(expected, found.shape), atol=1e-6)


@SETS
@pytest.mark.parametrize("n", [0, 1, 7])
def test_predictive_units_equal_the_twin(n, sets):
    space = PredictiveSpace(sets, 4)
    image, text = (space.vectors("image", *branches(n, width(sets), seed=seed)) for seed in (0, 1))
    expected = [
        oracle.predictive_unit(*pair, sets, UNIT_IMAGE_WEIGHT)
        for pair in zip(image.tolist(), text.tolist(), strict=True)
    ]
    found = space.units(image, text)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), atol=1e-6)


def test_free_labels_by_hand():
    """Probabilities 3/5 and 4/5 have length 1 and stay; two of 1/2 have length 2 ** -.5, to the power of 3/4 less."""
    space = PredictiveSpace(((0, 2, False),), 2)
    logits = np.array([[np.log(3 / 2), np.log(4)], [0, 0]], np.float32)
    vectors = space.vectors("text", np.array([[3, 4], [3, 4]], np.float32), logits)
    np.testing.assert_allclose(vectors, [[0.6, 0.8, 0.6, 0.8], [2**-0.875, 2**-0.875, 0.6, 0.8]], rtol=1e-6)
    units = space.units(vectors, vectors)
    np.testing.assert_allclose(units, [[0.6, 0.8, 0.6, 0.8], [2**-0.625, 2**-0.625, 0.6, 0.8]], rtol=1e-6)


def test_exclusive_labels_by_hand():
    """Two equal probabilities of 1/2 have length 2 ** -.5: to the power of 3/4 they are 2 ** -.875 each."""
    space = PredictiveSpace(((0, 2, True),), 1)
    vectors = space.vectors("text", np.ones((1, 1), np.float32), np.zeros((1, 2), np.float32))
    np.testing.assert_allclose(vectors, [[2**-0.875, 2**-0.875, 1]], rtol=1e-6)
    np.testing.assert_allclose(space.units(vectors, vectors), [[2**-0.5, 2**-0.5, 1]], rtol=1e-6)


def test_exclusive_labels_know_no_offset_and_free_ones_do():
    shared, logits = branches(5, 8)
    for sets, same in ((EXCLUSIVE, True), (FREE, False)):
        space = PredictiveSpace(sets, 4)
        before, after = (space.vectors("image", shared, part) for part in (logits, logits + 2))
        assert np.allclose(before, after, atol=1e-5) == same


def test_extreme_logits():
    shared = np.ones((2, 4), np.float32)
    logits = np.array([[1e4] * 8, [-1e4] * 8], np.float32)
    found = PredictiveSpace(FREE, 4).vectors("image", shared, logits)[:, :8]
    np.testing.assert_allclose(found, [[8**-0.125] * 8, [0] * 8], rtol=1e-6)
    logits[:, 0] += 1
    found = PredictiveSpace(EXCLUSIVE, 4).vectors("image", shared, np.where(logits > 0, 0, logits))
    assert np.isfinite(found).all()


def test_zero_branches():
    space = PredictiveSpace(FREE, 4)
    vectors = space.vectors("text", np.zeros((1, 4), np.float32), np.zeros((1, 8), np.float32))
    np.testing.assert_allclose(vectors, [[0.5 * 2**-0.125] * 8 + [0] * 4], rtol=1e-6)
    np.testing.assert_array_equal(space.units(0 * vectors, 0 * vectors), 0 * vectors)


def test_vectors_leave_their_input_alone():
    shared, logits = branches(3, 8)
    copies = shared.copy(), logits.copy()
    PredictiveSpace(MIXED, 4).vectors("image", shared, logits)
    np.testing.assert_array_equal(shared, copies[0])
    np.testing.assert_array_equal(logits, copies[1])


@SETS
@pytest.mark.parametrize("weight", [0.0, 0.3, 5.0])
def test_query_weights(sets, weight):
    """A weighted query's inner product: that of the labels plus weight times that of the instances."""
    space, labels = PredictiveSpace(sets, 4), width(sets)
    query, item = (space.vectors("image", *branches(1, labels, seed=seed))[0] for seed in (0, 1))
    weights = space.query_weights(weight)
    assert weights.dtype == np.float32
    expected = query[:labels] @ item[:labels] + weight * (query[labels:] @ item[labels:])
    assert (query * weights) @ item == pytest.approx(expected, abs=1e-6)


def rotations(dim=3, shared=4):
    random = np.random.default_rng(0)
    return [np.linalg.qr(random.normal(size=(shared, shared)))[0][:dim].astype(np.float32) for _ in range(2)]


def prototypes(dim=3):
    return np.random.default_rng(1).normal(size=(dim, 8)).astype(np.float32)


def test_aligned_space_equals_the_twin():
    image, text = rotations()
    space = AlignedSpace(image, text, prototypes())
    shared, logits = branches(5, 8)
    found = {modality: space.vectors(modality, shared, logits) for modality in ("image", "text")}
    for modality, rotation in (("image", image), ("text", text)):
        expected = [
            [sum(c * s for c, s in zip(row, item, strict=True)) for row in rotation] for item in shared
        ]
        np.testing.assert_allclose(found[modality], expected, atol=1e-6)
        assert found[modality].shape == (5, space.dim) == (5, 3)
    np.testing.assert_allclose(
        space.units(found["image"], found["text"]), (found["image"] + found["text"]) / 2, rtol=1e-6
    )
    for weight in (0.0, 2.0):
        np.testing.assert_array_equal(space.query_weights(weight), np.ones(3, np.float32))


@pytest.mark.parametrize("text", [np.ones((2, 4)), np.ones((3, 5)), np.ones(4)])
def test_rotations_of_different_shapes(text):
    with pytest.raises(DataError, match=r"rotations of \(3, 4\) and .*: expected two of \(d, S\)"):
        AlignedSpace(rotations()[0], text, prototypes())


def test_flat_rotations():
    with pytest.raises(DataError, match=r"rotations of \(4,\) and \(4,\): expected two of \(d, S\)"):
        AlignedSpace(np.ones(4), np.ones(4), prototypes())


@pytest.mark.parametrize("wrong", [np.ones((2, 8)), np.ones(3), np.ones((8, 3))])
def test_prototypes_of_another_shape(wrong):
    with pytest.raises(DataError, match=r"prototypes of .*: expected \(3, labels\)"):
        AlignedSpace(*rotations(), wrong)


def test_label_vectors_are_sums_of_prototypes():
    space = AlignedSpace(*rotations(), prototypes())
    labels = (np.random.default_rng(0).random((5, 8)) < 0.5).astype(np.uint8)
    labels[2] = 0
    expected = [sum((space.prototypes[:, c] for c in np.flatnonzero(row)), np.zeros(3)) for row in labels]
    found = space.label_vectors(labels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[2].any()


@pytest.mark.parametrize("space", [PredictiveSpace(MIXED, 4), AlignedSpace(*rotations(), prototypes())])
def test_round_trip(space):
    again = make_space(space.kind, MIXED, 4, 1.0, space.tensors())
    assert type(again) is type(space)
    assert again.dim == space.dim
    shared, logits = branches(3, 8)
    np.testing.assert_array_equal(
        again.vectors("text", shared, logits), space.vectors("text", shared, logits)
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("predictive", ["image"]),
        ("aligned", []),
        ("aligned", ["image"]),
        ("aligned", ["image", "text"]),
        ("aligned", ["image", "more", "prototypes", "text"]),
        ("cosine", []),
    ],
)
def test_unknown_spaces_and_tensors(kind, names):
    with pytest.raises(DataError) as raised:
        make_space(kind, MIXED, 4, 1.0, dict.fromkeys(names, np.ones((3, 4), np.float32)))
    assert raised.match(f"joint space '{kind}' with tensors .*: expected predictive or aligned")
    assert str(names) in str(raised.value)


def test_label_vectors_want_rows_of_the_right_width():
    space = AlignedSpace(*rotations(), np.zeros((len(rotations()[0]), 3), np.float32))
    with pytest.raises(DataError, match=r"expected labels of \(n, 3\), got \(2, 4\)"):
        space.label_vectors(np.zeros((2, 4), np.uint8))


def test_a_scaled_instance_part_keeps_the_query_s_weight():
    shared, logits = branches(5, 8)
    plain, scaled = PredictiveSpace(MIXED, 4), PredictiveSpace(MIXED, 4, instance_scale=0.3)
    whole, small = (space.vectors("text", shared, logits) for space in (plain, scaled))
    np.testing.assert_allclose(small[:, 8:], 0.3 * whole[:, 8:], rtol=1e-6)
    np.testing.assert_array_equal(small[:, :8], whole[:, :8])
    units = scaled.units(small, small)
    np.testing.assert_allclose(np.linalg.norm(units[:, 8:], axis=1), 0.3, rtol=1e-6)
    inner = (small * scaled.query_weights(0.5)) @ small.T
    np.testing.assert_allclose(inner, (whole * plain.query_weights(0.5)) @ whole.T, rtol=1e-5)
