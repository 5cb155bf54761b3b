"""Codes of signs: which bit is which, Hamming distances, directions that repeat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.hashing import HashingBaseline, cycled


class Signs(HashingBaseline):
    """Hashes its inputs as they are."""

    name: ClassVar[str] = "signs"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        self.settings = {}

    def embed_image(self, rows: Floats) -> Floats:
        return rows

    embed_text = embed_image


def test_bits_are_signs_and_zero_is_positive() -> None:
    vectors = np.array([[-1, 0, 2, -3, -0.0, 1, -1e-30, -1]], np.float32)
    assert np.unpackbits(Signs().encode(vectors)).tolist() == [0, 1, 1, 0, 1, 1, 0, 0]


def test_distances_count_bits_in_the_order_of_the_codes() -> None:
    random = np.random.default_rng(0)
    queries = random.standard_normal((3, 24)).astype(np.float32)
    database = random.standard_normal((300, 24)).astype(np.float32)
    database[7] = queries[1]
    database[9] = -queries[1]
    method = Signs()
    distances = method.distances(queries, method.encode(database))
    expected = ((queries[:, None] >= 0) != (database >= 0)).sum(axis=2)
    assert np.array_equal(distances, expected)
    in_columns = method.distances(np.asfortranarray(queries), method.encode(np.asfortranarray(database)))
    assert np.array_equal(in_columns, expected)
    assert distances[1, 7] == 0
    assert distances[1, 9] == 24


def test_directions_repeat_until_there_are_enough() -> None:
    directions = np.arange(6).reshape(2, 3)
    assert cycled(directions, 7).tolist() == [[0, 1, 2, 0, 1, 2, 0], [3, 4, 5, 3, 4, 5, 3]]
    assert np.array_equal(cycled(directions, 2), directions[:, :2])
