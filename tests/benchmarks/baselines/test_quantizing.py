"""Codes of codebooks: one space for all lengths, distances to words, padding."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from made_pairs import class_pairs

from spdq.quantizers import ProductQuantizer
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import OPQBaseline, QuantizingBaseline, padded, unit_rows


class Inputs(OPQBaseline):
    """Quantizes inputs as they are; counts how often it learned."""

    name: ClassVar[str] = "inputs"
    needs_labels: ClassVar[bool] = False
    learned = 0

    def _learn(self) -> None:
        self.learned += 1
        self.settings = {}

    def _image_vectors(self, rows: Floats) -> Floats:
        return rows

    def _text_vectors(self, rows: Floats) -> Floats:
        return rows


class Apart(Inputs):
    """The same by Euclidean distance."""

    metric = "l2"


def test_another_length_keeps_the_space() -> None:
    method = Inputs().fit(class_pairs(40, 4, seed=0, d_image=6, d_text=6), 16)
    longer = method.with_bits(32)
    assert (longer.learned, method.bits, longer.bits) == (1, 16, 32)
    assert (method.codebooks.n_codebooks, longer.codebooks.n_codebooks) == (2, 4)
    assert longer.embed_image(method.pairs.image).shape == (40, 8)


def test_words_are_learned_from_both_modalities() -> None:
    pairs = class_pairs(40, 4, seed=0, d_image=6, d_text=6)
    method = Inputs().fit(pairs, 16)
    both = np.concatenate([pairs.image, pairs.text])
    # 80 vectors are fewer than 256 words: each has its own.
    np.testing.assert_allclose(method.codebooks.decode(method.encode(both)), both, atol=1e-4)


@pytest.mark.parametrize("kind", [Inputs, Apart])
def test_distances_are_those_to_decoded_vectors(kind: type[QuantizingBaseline]) -> None:
    pairs = class_pairs(300, 4, seed=0, d_image=6, d_text=6)
    method = kind().fit(pairs, 16)
    codes = method.encode(method.embed_image(pairs.image))
    decoded = method.codebooks.decode(codes)
    queries = method.embed_text(pairs.text[:5])
    if method.metric == "ip":
        expected = -queries @ decoded.T
    else:
        expected = ((queries[:, None] - decoded) ** 2).sum(axis=2)
    np.testing.assert_allclose(method.distances(queries, codes), expected, rtol=1e-4, atol=1e-4)


def test_quantizer_follows_bits_and_seed() -> None:
    method = Inputs().fit(class_pairs(40, 4, seed=0, d_image=6, d_text=6), 16, seed=3)
    quantizer = method._quantizer(6)
    assert isinstance(quantizer, ProductQuantizer)
    assert (quantizer.n_codebooks, quantizer.rotation, quantizer.random_state) == (2, "opq", 3)


def test_padding() -> None:
    vectors = np.ones((2, 5), np.float32)
    assert padded(vectors, 5) is vectors
    assert padded(vectors, 4).tolist() == [[1, 1, 1, 1, 1, 0, 0, 0]] * 2


def test_unit_rows() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])
