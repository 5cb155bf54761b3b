"""What every baseline promises, held by every name of the registry, on pairs with all that can go wrong in them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out

from spdq.errors import DataError, UsageError
from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.contract import Baseline, Codes, Floats, Pairs, sampled_rows
from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline
from spdq_benchmarks.baselines.registry import HOMES, baseline_class

Fit = Callable[[str, int, int], Baseline]
NAMES = pytest.mark.parametrize("name", HOMES)


def awkward(pairs: Pairs, labelled: bool = True) -> Pairs:
    """The pairs with a column that never varies, a label row of zeros and a class of one member."""
    image, text = pairs.image.copy(), pairs.text.copy()
    image[:, 0], text[:, 0] = 3, 0
    if pairs.labels is None or not labelled:
        return Pairs(image, text)
    labels = np.pad(pairs.labels, ((0, 0), (0, 1)))
    labels[0] = 0
    labels[1, -1] = 1
    return Pairs(image, text, labels)


# Six text columns are fewer than the bits of any code.
TRAINING = awkward(class_pairs(60, 4, seed=0, d_image=12, d_text=6))
OTHERS = awkward(held_out(20, 4, seed=0, d_image=12, d_text=6))


@pytest.fixture(scope="module")
def fit() -> Iterator[Fit]:
    """Fit a baseline by name, bits and seed, each once. Few steps: what is learned does not matter here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(towers, "MIN_STEPS", 10)

        @cache
        def fitted(name: str, bits: int, seed: int) -> Baseline:
            return baseline_class(name)().fit(TRAINING, bits, seed)

        yield fitted


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "MIN_STEPS", 10)


def codes(method: Baseline, pairs: Pairs = OTHERS) -> tuple[Codes, Codes]:
    return method.encode_image(pairs.image), method.encode_text(pairs.text)


@NAMES
def test_name_and_settings(fit: Fit, name: str) -> None:
    method = fit(name, 16, 0)
    assert method.name == name
    assert isinstance(method.needs_labels, bool)
    assert json.dumps(method.settings, allow_nan=False)


@NAMES
def test_shapes(fit: Fit, name: str) -> None:
    method = fit(name, 16, 0)
    image, text = method.embed_image(OTHERS.image), method.embed_text(OTHERS.text)
    unit = method.embed_unit(image, text)
    for vectors, coded in (
        (image, method.encode_image(OTHERS.image)),
        (text, method.encode_text(OTHERS.text)),
        (unit, method.encode(unit)),
    ):
        assert vectors.dtype == np.float32
        assert vectors.shape == image.shape
        assert np.isfinite(vectors).all()
        assert coded.dtype == np.uint8
        assert coded.shape == (20, 2)
        assert np.array_equal(coded, method.encode(vectors))


@NAMES
def test_distances_equal_a_plain_computation(fit: Fit, name: str) -> None:
    method = fit(name, 16, 0)
    queries, database = method.embed_text(OTHERS.text), method.encode_image(TRAINING.image)
    distances = method.distances(queries, database)
    assert distances.shape == (20, 60)
    if isinstance(method, HashingBaseline):
        bits, others = np.unpackbits(method.encode(queries), axis=1), np.unpackbits(database, axis=1)
        assert np.array_equal(distances, [[int((a != b).sum()) for b in others] for a in bits])
        return
    decoded = method.codebooks.decode(database).astype(np.float64)  # type: ignore[attr-defined]
    # One that ranks by its own rule ranks by Euclidean distance.
    if isinstance(method, QuantizingBaseline) and method.metric == "ip":
        expected = -queries.astype(np.float64) @ decoded.T
    else:
        expected = ((queries[:, None].astype(np.float64) - decoded) ** 2).sum(axis=2)
    if name == "cmcq":  # It takes the inner products of a code's words for the same in all codes.
        words = method.codebooks.words.astype(np.float64)  # type: ignore[attr-defined]
        of_code = words[np.arange(words.shape[0]), database]
        expected -= (decoded**2).sum(axis=1) - (of_code**2).sum(axis=(1, 2))
    # What is the same for all items of one query may be left out.
    difference = distances - expected
    difference -= difference.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(difference, 0, atol=1e-4 * max(1.0, float(np.abs(expected).max())))


@NAMES
def test_same_seed_same_codes(fit: Fit, few_steps: None, name: str) -> None:
    again = baseline_class(name)().fit(TRAINING, 16, 0)
    for first, second in zip(codes(fit(name, 16, 0)), codes(again), strict=True):
        assert np.array_equal(first, second)


@NAMES
def test_another_seed_learns_too(fit: Fit, name: str) -> None:
    assert codes(fit(name, 16, 7))[0].shape == (20, 2)


@NAMES
def test_other_bits_give_the_codes_of_a_fresh_fit(fit: Fit, few_steps: None, name: str) -> None:
    short = fit(name, 16, 0)
    before = codes(short)
    other = short.with_bits(24)
    assert other.bits == 24
    for first, second in zip(codes(other), codes(fit(name, 24, 0)), strict=True):
        assert np.array_equal(first, second)
    for first, second in zip(codes(short), before, strict=True):
        assert np.array_equal(first, second)


@NAMES
def test_fewer_pairs_than_bits(few_steps: None, name: str) -> None:
    few = class_pairs(10, 2, seed=1, d_image=12, d_text=6)
    coded = codes(baseline_class(name)().fit(few, 16, 0), few)
    assert [part.shape for part in coded] == [(10, 2), (10, 2)]


@NAMES
def test_labels_are_asked_for_or_not_looked_at(fit: Fit, few_steps: None, name: str) -> None:
    method = baseline_class(name)()
    unlabelled = Pairs(TRAINING.image, TRAINING.text)
    if method.needs_labels:
        empty = Pairs(TRAINING.image, TRAINING.text, np.zeros((60, 3), np.uint8))
        for pairs in (unlabelled, empty):
            with pytest.raises(DataError, match=f"{name} learns from labels, and the data set has none"):
                method.fit(pairs, 16)
        return
    for first, second in zip(codes(method.fit(unlabelled, 16, 0)), codes(fit(name, 16, 0)), strict=True):
        assert np.array_equal(first, second)


@NAMES
def test_leaves_pairs_and_the_global_generator_alone(few_steps: None, name: str) -> None:
    pairs = awkward(class_pairs(30, 3, seed=2, d_image=12, d_text=6))
    image, text, labels = pairs.image.copy(), pairs.text.copy(), np.copy(pairs.labels)
    state = torch.get_rng_state()
    codes(baseline_class(name)().fit(pairs, 8, 0))
    assert np.array_equal(pairs.image, image)
    assert np.array_equal(pairs.text, text)
    assert np.array_equal(pairs.labels, labels)
    assert torch.equal(torch.get_rng_state(), state)


class Sums(Baseline):
    """Codes the sums of rows; a baseline that is only what the contract asks for."""

    name: ClassVar[str] = "sums"
    needs_labels: ClassVar[bool] = True

    def _fit(self) -> None:
        self.settings = {"classes": self.labels.shape[1]}

    def embed_image(self, rows: Floats) -> Floats:
        return rows.sum(axis=1, keepdims=True)

    embed_text = embed_image

    def encode(self, vectors: Floats) -> Codes:
        return np.repeat(np.clip(vectors, 0, 255).astype(np.uint8), self.bits // 8, axis=1)

    def distances(self, queries: Floats, codes: Codes) -> Floats:
        return np.abs(queries - codes[:, 0].astype(np.float32))


def test_what_the_contract_itself_does() -> None:
    method = Sums().fit(class_pairs(4, 2, seed=0), 8)
    assert method.settings == {"classes": 2}
    assert method.seed == 0
    unit = method.embed_unit(np.array([[1.0, 3.0]], np.float32), np.array([[3.0, 5.0]], np.float32))
    assert unit.dtype == np.float32
    assert unit.tolist() == [[2.0, 4.0]]
    longer = method.with_bits(24)
    assert longer is not method
    assert longer.encode(np.array([[7.0]], np.float32)).tolist() == [[7, 7, 7]]


@pytest.mark.parametrize("bits", [0, -8, 12])
def test_bits_are_whole_bytes(bits: int) -> None:
    with pytest.raises(UsageError, match=f"bits: expected a positive multiple of 8, got {bits}"):
        Sums().fit(class_pairs(4, 2, seed=0), bits)


def test_seed_is_not_negative() -> None:
    with pytest.raises(UsageError, match="seed must be 0 or more, got -1"):
        Sums().fit(class_pairs(4, 2, seed=0), 8, seed=-1)


def test_one_pair_is_too_few() -> None:
    with pytest.raises(DataError, match="sums needs at least 2 pairs to learn from, got 1"):
        Sums().fit(class_pairs(1, 1, seed=0), 8)


def test_labels_of_pairs_without_labels() -> None:
    method = Sums()
    method.pairs = Pairs(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(DataError, match="sums learns from labels, and the data set has none"):
        _ = method.labels


ROWS = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("image", "text", "labels", "message"),
    [
        (ROWS, ROWS[:1], None, r"expected text inputs \(2, d\) float32, got \(1, 3\) float32"),
        (ROWS, ROWS.astype(float), None, r"expected text inputs \(2, d\) float32, got \(2, 3\) float64"),
        (ROWS[0], ROWS, None, r"expected image inputs \(3, d\) float32, got \(3,\) float32"),
        (ROWS[:0], ROWS[:0], None, r"expected image inputs \(n, d\) float32, got \(0, 3\) float32"),
        (ROWS + np.nan, ROWS, None, "image inputs have NaN or infinite values"),
        (ROWS, ROWS + np.inf, None, "text inputs have NaN or infinite values"),
        (ROWS, ROWS, np.zeros((1, 3), np.uint8), r"expected labels \(2, c\), got \(1, 3\)"),
        (ROWS, ROWS, np.zeros(2, np.uint8), r"expected labels \(2, c\), got \(2,\)"),
    ],
)
def test_pairs_that_do_not_fit(image: Floats, text: Floats, labels: Codes | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Pairs(image, text, labels)


def test_number_of_pairs() -> None:
    assert len(TRAINING) == 60


def test_sampled_rows_are_all_or_as_many_as_asked_for() -> None:
    assert sampled_rows(4, 4, 0).tolist() == [0, 1, 2, 3]
    few = sampled_rows(100, 7, 3)
    assert len(set(few.tolist())) == 7
    assert few.tolist() == sorted(few.tolist()) == sampled_rows(100, 7, 3).tolist()
    assert few.tolist() != sampled_rows(100, 7, 4).tolist()
