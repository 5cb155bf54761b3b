"""What a method made of a data set: vectors of the queries and of what they search, and codebooks for the latter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError
from spdq.models.model import Model
from spdq.models.rows import embed_rows
from spdq.quantizers.codebooks import Codebooks
from spdq.training import with_bits
from spdq.training.vectors import additive_codebooks
from spdq_benchmarks.evaluation import query_vectors

Floats = NDArray[np.float32]
FitCodebooks = Callable[[int], Codebooks]

ALONG = 4.0
"""How often the error along a vector counts in the codes of baselines, as in those of the systems' recipes."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Vectors compared by inner product, by modality: "t" texts, "i" images, "u" units of both.

    Parameters
    ----------
    queries
        (q, D) of the split's queries, as they meet what is searched.
    items
        (n, D) of the split's database.
    codebooks
        Learns codebooks of so many bits from what the method was trained on; None for a method without vectors that
        are worth coding.
    settings
        The numbers it was trained with.
    """

    queries: dict[str, Floats]
    items: dict[str, Floats]
    codebooks: FitCodebooks | None
    settings: dict[str, Any] = field(default_factory=dict)

    def directions(self, asked: Sequence[str]) -> list[str]:
        """Those of the directions that it has vectors for."""
        return [one for one in asked if one[0] in self.queries and one[2] in self.items]


def model_vectors(
    model: Model, dataset: Dataset, directions: Sequence[str], settings: dict[str, Any]
) -> Vectors:
    """Vectors of a trained system, as ``spdq evaluate`` takes them. Raises as ``embed_rows``."""
    split = checked_split(dataset)
    fitted = {model.codebooks.bits: model.codebooks}

    def codebooks(bits: int) -> Codebooks:
        if bits not in fitted:
            fitted[bits] = with_bits(model, dataset, bits).codebooks
        return fitted[bits]

    return Vectors(
        {of: query_vectors(model, dataset, split, of) for of in dict.fromkeys(one[0] for one in directions)},
        {
            of: embed_rows(model, dataset, of, split.database)
            for of in dict.fromkeys(one[2] for one in directions)
        },
        codebooks,
        settings,
    )


def fitted_on(vectors: Floats, seed: int, along: float = ALONG) -> FitCodebooks:
    """Additive codebooks of the vectors (n, D) that a baseline was trained on."""
    return lambda bits: additive_codebooks(vectors, bits, along, seed)


def checked_split(dataset: Dataset) -> Split:
    """The data set's split; DataError where it has none."""
    if dataset.split is None:
        raise DataError(f"data set {dataset.name} has no split: make one with `spdq dataset split`")
    return dataset.split


def unit_length(rows: NDArray[Any]) -> Floats:
    """The rows with length 1; a row of zeros stays."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
