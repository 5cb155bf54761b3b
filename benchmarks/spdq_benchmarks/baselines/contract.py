"""What every baseline takes and gives: training pairs in, codes of one modality at a time out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from spdq.errors import DataError, UsageError

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
Labels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Training pairs: row i of both inputs is one item.

    Parameters
    ----------
    image, text
        (n, d) and (n, e) float32 inputs, the same that SPDQ's towers are fed (``spdq.models.inputs``).
    labels
        (n, c) uint8 of 0 and 1, or None where the data set has none.

    Raises
    ------
    DataError
        Rows that do not align, no rows, values that are not finite.
    """

    image: Floats
    text: Floats
    labels: Labels | None = None

    def __post_init__(self) -> None:
        n = len(self.image)
        for name, rows in (("image", self.image), ("text", self.text)):
            if rows.ndim != 2 or rows.dtype != np.float32 or len(rows) != n or n == 0:
                raise DataError(
                    f"pairs: expected {name} inputs ({n or 'n'}, d) float32, got {rows.shape} {rows.dtype}"
                )
            if not np.isfinite(rows).all():
                raise DataError(f"pairs: {name} inputs have NaN or infinite values")
        if self.labels is not None and (self.labels.ndim != 2 or len(self.labels) != n):
            raise DataError(f"pairs: expected labels ({n}, c), got {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.image)


class Baseline(ABC):
    """One method. ``fit`` learns from pairs; then each modality is embedded and encoded on its own, without labels."""

    name: ClassVar[str]
    """As on the command line."""
    needs_labels: ClassVar[bool]
    """Whether it learns from labels."""
    settings: dict[str, Any]
    """The numbers of the fit, for the records."""

    pairs: Pairs
    bits: int
    seed: int

    def fit(self, pairs: Pairs, bits: int, seed: int = 0) -> Self:
        """Learn codes of ``bits`` bits, the same ones from the same pairs and seed.

        Raises
        ------
        UsageError
            Bits that are no positive multiple of 8, or a negative seed.
        DataError
            No labels for a method that needs them, or fewer pairs than it can learn from.
        """
        if bits < 8 or bits % 8:
            raise UsageError(f"bits: expected a positive multiple of 8, got {bits}")
        if seed < 0:
            raise UsageError(f"seed must be 0 or more, got {seed}")
        if self.needs_labels and (pairs.labels is None or not pairs.labels.any()):
            raise DataError(f"{self.name} learns from labels, and the data set has none")
        if len(pairs) < 2:
            raise DataError(f"{self.name} needs at least 2 pairs to learn from, got {len(pairs)}")
        self.pairs, self.bits, self.seed = pairs, bits, seed
        self._fit()
        return self

    def with_bits(self, bits: int) -> Self:
        """The method with codes of another length, learned from the same pairs and seed. Raises as ``fit``."""
        return type(self)().fit(self.pairs, bits, self.seed)

    @property
    def labels(self) -> Labels:
        """The labels of the pairs, for methods that need them; DataError where there are none."""
        if self.pairs.labels is None:
            raise DataError(f"{self.name} learns from labels, and the data set has none")
        return self.pairs.labels

    @abstractmethod
    def _fit(self) -> None:
        """Learn from ``self.pairs`` for ``self.bits`` with ``self.seed``."""

    @abstractmethod
    def embed_image(self, rows: Floats) -> Floats:
        """Vectors (n, D) float32 of images from their inputs (n, d): what a code is made of."""

    @abstractmethod
    def embed_text(self, rows: Floats) -> Floats:
        """Vectors (n, D) float32 of texts from their inputs (n, e)."""

    def embed_unit(self, image: Floats, text: Floats) -> Floats:
        """Vectors of units from the vectors (n, D) of their parts: the mean. No paper here has units."""
        return (image + text) / np.float32(2)

    @abstractmethod
    def encode(self, vectors: Floats) -> Codes:
        """Codes (n, bits / 8) uint8 of vectors (n, D)."""

    def encode_image(self, rows: Floats) -> Codes:
        """Codes (n, bits / 8) uint8 of images from their inputs (n, d)."""
        return self.encode(self.embed_image(rows))

    def encode_text(self, rows: Floats) -> Codes:
        """Codes (n, bits / 8) uint8 of texts from their inputs (n, e)."""
        return self.encode(self.embed_text(rows))

    @abstractmethod
    def distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        """Distances (nq, n), smaller = closer, of query vectors (nq, D) to codes (n, bits / 8) uint8."""


def sampled_rows(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """All of ``n`` rows, or ``most`` of them drawn by the seed, ascending: for methods that are square in the items."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 1]).choice(n, most, replace=False))
