"""Baselines whose codes are words of codebooks: asymmetric distances, a query stays a float vector."""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from spdq.quantizers import AdditiveQuantizer, Codebooks, ProductQuantizer
from spdq_benchmarks.baselines.contract import Baseline, Codes, Floats
from spdq_kernels import pack_codes, scan


class QuantizingBaseline(Baseline):
    """Vectors of a space learned once (``_learn``), and codebooks fitted on those of the training pairs."""

    metric: ClassVar[Literal["ip", "l2"]] = "ip"
    codebooks: Codebooks

    def _fit(self) -> None:
        self._learn()
        self._fit_code()

    def with_bits(self, bits: int) -> Self:
        other = copy.copy(self)
        other.bits = bits
        other._fit_code()
        return other

    @abstractmethod
    def _learn(self) -> None:
        """Learn the space from ``self.pairs`` with ``self.seed``; the code length plays no part."""

    def _fit_code(self) -> None:
        """Fit codebooks of ``self.bits`` on the vectors of training images and texts."""
        vectors = np.concatenate([self.embed_image(self.pairs.image), self.embed_text(self.pairs.text)])
        self.codebooks = self._quantizer(vectors.shape[1]).fit(vectors).codebooks_

    @abstractmethod
    def _quantizer(self, dim: int) -> AdditiveQuantizer | ProductQuantizer:
        """The unfitted quantizer of ``self.bits`` for vectors of ``dim`` dimensions."""

    def encode(self, vectors: Floats) -> Codes:
        return self.codebooks.encode(vectors)

    def distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        return table_distances(self.codebooks.lookup_tables(queries, self.metric), codes)


def table_distances(tables: Floats, codes: Codes) -> NDArray[Any]:
    """Distances (nq, n) float32 of queries with lookup tables (nq, M, 256) to codes (n, M), by the scan."""
    found, rows = scan(tables, pack_codes(codes), len(codes), len(codes))
    distances = np.empty_like(found)
    np.put_along_axis(distances, rows, found, axis=1)
    return distances


def padded(vectors: Floats, parts: int) -> Floats:
    """Vectors with zero columns up to a multiple of ``parts``, as a product quantizer of so many parts needs."""
    missing = -vectors.shape[1] % parts
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


def unit_rows(vectors: NDArray[Any]) -> Floats:
    """Rows (n, d) at length 1, float32; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


class OPQBaseline(QuantizingBaseline):
    """Vectors of ``_image_vectors`` and ``_text_vectors`` in optimized product codes (Ge et al., CVPR 2013)."""

    @abstractmethod
    def _image_vectors(self, rows: Floats) -> Floats:
        """Vectors (n, D) float32 of images (n, d)."""

    @abstractmethod
    def _text_vectors(self, rows: Floats) -> Floats:
        """Vectors (n, D) float32 of texts (n, e)."""

    def embed_image(self, rows: Floats) -> Floats:
        return padded(self._image_vectors(rows), self.bits // 8)

    def embed_text(self, rows: Floats) -> Floats:
        return padded(self._text_vectors(rows), self.bits // 8)

    def _quantizer(self, dim: int) -> ProductQuantizer:
        return ProductQuantizer(self.bits // 8, rotation="opq", random_state=self.seed % (1 << 32))
