"""The closed-form half of SPDQ's training: C, Z, D and B in turn (SPDQ, section IV, equations 17-23).

Everything is computed over the label rows that occur, each weighted by how often: items with equal labels have equal
targets Z l, so a data set with few distinct label rows costs little however large it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spdq.quantizers.additive import residual_words, update_words
from spdq.quantizers.codebooks import Codebooks

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

RIDGE = 1e-3
"""Added to L L' relative to its mean diagonal, because a class may be absent."""
WORD_RIDGE = 1.0


@dataclass(frozen=True, eq=False)
class Alignment:
    """C_i, C_t (d, S), Z (d, c), D (M, K, d) and B as codes of the distinct label rows (u, M)."""

    image: Floats
    text: Floats
    prototypes: Floats
    words: Floats
    codes: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class LabelRows:
    """Distinct label rows (u, c), how often each occurs (u,), and which of them each item has (n,)."""

    rows: Doubles
    counts: Doubles
    of_item: NDArray[np.int64]

    @classmethod
    def of(cls, labels: Floats) -> LabelRows:
        """From label rows (n, c)."""
        rows, of_item, counts = np.unique(labels, axis=0, return_inverse=True, return_counts=True)
        return cls(rows.astype(np.float64), counts.astype(np.float64), of_item.ravel())


def initial_alignment(
    labels: LabelRows, shared: int, dim: int, codebooks: int, words: int, seed: int
) -> Alignment:
    """Random orthonormal C_i, C_t and Z; D and B by residual k-means of Z L, since random words collapse."""
    random = np.random.default_rng([seed, 3])
    image, text = (np.linalg.qr(random.standard_normal((shared, dim)))[0].T for _ in range(2))
    classes = labels.rows.shape[1]
    square = np.linalg.qr(random.standard_normal((max(dim, classes), max(dim, classes))))[0]
    prototypes = square[:dim, :classes]
    targets = (labels.rows @ prototypes.T).astype(np.float32)
    start, codes = residual_words(
        targets, labels.counts, codebooks, words, np.random.RandomState(seed % (1 << 32))
    )
    return Alignment(
        image=image.astype(np.float32),
        text=text.astype(np.float32),
        prototypes=prototypes.astype(np.float32),
        words=start,
        codes=codes,
    )


def update_alignment(
    now: Alignment, image: Floats, text: Floats, labels: LabelRows, quantization: float
) -> Alignment:
    """One turn of C, Z, D, B given the shared outputs of both towers, (n, S) float32 each.

    ``quantization`` is beta.
    """
    targets = labels.rows @ now.prototypes.T.astype(np.float64)
    c_image = procrustes(targets[labels.of_item], image)
    c_text = procrustes(targets[labels.of_item], text)
    aligned = image @ c_image.T + text @ c_text.T
    decoded = Codebooks(now.words, "additive").decode(now.codes)
    prototypes = _prototypes(aligned, decoded, labels, quantization)
    targets = (labels.rows @ prototypes.T).astype(np.float32)
    words = update_words(now.codes, targets, now.words, WORD_RIDGE, labels.counts)
    codes = Codebooks(words, "additive").encode(targets)
    return Alignment(c_image, c_text, prototypes.astype(np.float32), words, codes)


def procrustes(targets: Doubles, shared: Floats) -> Floats:
    """C of equations (17)-(19): from targets Z L (n, d) and outputs S (n, S), the (d, S) with orthonormal rows."""
    left, _, right = np.linalg.svd(targets.T @ shared, full_matrices=False)
    return np.asarray(left @ right, np.float32)


def _prototypes(aligned: Floats, decoded: Floats, labels: LabelRows, quantization: float) -> Doubles:
    """Z of equation (20): [(C_i S_i + C_t S_t) + beta D B] L' ((2 + beta) L L')^-1."""
    sums = np.zeros((len(labels.rows), aligned.shape[1]))
    np.add.at(sums, labels.of_item, aligned)
    left = (sums + quantization * labels.counts[:, None] * decoded).T @ labels.rows
    gram = (2 + quantization) * (labels.rows.T * labels.counts) @ labels.rows
    gram[np.diag_indices_from(gram)] += RIDGE * max(np.trace(gram) / len(gram), 1.0)
    return np.asarray(np.linalg.solve(gram, left.T).T, np.float64)
