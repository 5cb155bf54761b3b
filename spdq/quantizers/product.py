"""Product quantization: the vector is cut into M parts, each with a codebook of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spdq.errors import DataError, UsageError
from spdq.quantizers.clusters import cluster
from spdq.quantizers.codebooks import Codebooks, Floats
from spdq.quantizers.estimator import Quantizer, check_range
from spdq_kernels import encode_product

LLOYD_ITERATIONS = 25


class ProductQuantizer(Quantizer):
    """Product quantizer (Jegou et al. 2011), optionally with the rotation of OPQ (Ge et al. 2013).

    Parameters
    ----------
    n_codebooks : M, bytes of a code; must divide the number of dimensions
    n_words : K, words in each codebook, at most 256
    rotation : "none", or "opq": a PCA whose directions are dealt out so that every part has about the same
        product of variances, then improved by turns with the words (OPQ-NP)
    n_rotations : turns of OPQ
    random_state : None, int or numpy RandomState

    Attributes
    ----------
    codebooks_ : Codebooks, words (n_codebooks, n_words, D / n_codebooks) float32
    """

    def __init__(
        self,
        n_codebooks: int = 8,
        n_words: int = 256,
        rotation: str = "none",
        n_rotations: int = 8,
        random_state: Any = None,
    ) -> None:
        self.n_codebooks = n_codebooks
        self.n_words = n_words
        self.rotation = rotation
        self.n_rotations = n_rotations
        self.random_state = random_state

    def _learn(
        self, vectors: Floats, weights: NDArray[np.float64], random: np.random.RandomState
    ) -> Codebooks:
        dim = vectors.shape[1]
        if dim % self.n_codebooks:
            divisors = [m for m in range(1, dim + 1) if dim % m == 0]
            raise DataError(
                f"{dim} dimensions cannot be cut into n_codebooks={self.n_codebooks} equal parts: "
                f"choose one of {divisors}, or AdditiveQuantizer, which takes any number"
            )
        if self.rotation == "none":
            return Codebooks(self._words(vectors, weights, random), "product")
        if self.rotation != "opq":
            raise UsageError(f'rotation must be "none" or "opq", not {self.rotation!r}')
        check_range("n_rotations", self.n_rotations, 0, 1000)
        rotation = balanced_rotation(vectors, weights, self.n_codebooks)
        words = self._words(vectors @ rotation, weights, random, max_iter=5)
        for _ in range(self.n_rotations):
            rotated = vectors @ rotation
            codes = encode_product(rotated, words)
            words = _means(rotated, codes, words, weights)
            decoded = Codebooks(words, "product").decode(codes)
            left, _, right = np.linalg.svd(vectors.T.astype(np.float64) @ (decoded * weights[:, None]))
            rotation = (left @ right).astype(np.float32)
        return Codebooks(self._words(vectors @ rotation, weights, random, start=words), "product", rotation)

    def _words(
        self,
        vectors: Floats,
        weights: NDArray[np.float64],
        random: np.random.RandomState,
        max_iter: int = LLOYD_ITERATIONS,
        start: Floats | None = None,
    ) -> Floats:
        """Cluster each part of the vectors; words (M, K, D/M)."""
        parts = np.split(vectors, self.n_codebooks, axis=1)
        starts = [None] * self.n_codebooks if start is None else list(start)
        return np.stack(
            [
                cluster(np.ascontiguousarray(part), self.n_words, weights, random, max_iter, start)[0]
                for part, start in zip(parts, starts, strict=True)
            ]
        )


def balanced_rotation(vectors: Floats, weights: NDArray[np.float64], n_codebooks: int) -> Floats:
    """Return the (D, D) float32 rotation that starts OPQ (Ge et al. 2013, section 4.2).

    Principal directions, from the largest variance down, go to the part whose product of variances is
    smallest so far and that is not full.
    """
    dim = vectors.shape[1]
    centred = vectors - np.average(vectors, axis=0, weights=weights)
    variances, directions = np.linalg.eigh((centred * weights[:, None]).T @ centred)
    parts: list[list[int]] = [[] for _ in range(n_codebooks)]
    totals = np.zeros(n_codebooks)
    logarithms = np.log(np.maximum(variances, variances.max() * 1e-12) + 1e-300)
    for direction in np.argsort(-variances, kind="stable"):
        open_parts = [part for part in range(n_codebooks) if len(parts[part]) < dim // n_codebooks]
        part = min(open_parts, key=lambda p: totals[p])
        parts[part].append(int(direction))
        totals[part] += logarithms[direction] - logarithms.min()
    return directions[:, np.concatenate(parts)].astype(np.float32)


def _means(vectors: Floats, codes: NDArray[np.uint8], words: Floats, weights: NDArray[np.float64]) -> Floats:
    """Return the words moved to the means of the parts coded with them; unused words stay."""
    moved = words.copy()
    rows = np.arange(len(vectors))
    for m, part in enumerate(np.split(vectors, len(words), axis=1)):
        members = csr_array((weights, (codes[:, m], rows)), shape=(words.shape[1], len(vectors)))
        counts = members.sum(axis=1)
        used = counts > 0
        moved[m, used] = (members @ part)[used] / counts[used, None]
    return moved
