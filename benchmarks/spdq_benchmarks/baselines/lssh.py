"""Latent semantic sparse hashing: sparse codes of images and factors of texts meet in one space."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from sklearn.decomposition import sparse_encode
from sklearn.exceptions import ConvergenceWarning

from spdq_benchmarks.baselines.contract import Floats, Pairs
from spdq_benchmarks.baselines.hashing import HashingBaseline

Matrix = NDArray[np.float64]

ATOMS = 512
SPARSITY = 0.5
"""Rho: weight of the l1 norm, as a share of the weight from which on an item's sparse code is all zero."""
TEXT_WEIGHT = 0.05
"""Mu."""
LINK = 0.2
"""Lambda."""
ITERATIONS = 20
PASSES = 30
"""Passes of coordinate descent over a sparse code while learning, at most."""
FINAL_PASSES = 1000
SWEEPS = 3
"""Passes over the atoms when a dictionary is updated."""


class LSSH(HashingBaseline):
    """LSSH: Zhou, Ding and Guo, "Latent Semantic Sparse Hashing for Cross-Modal Similarity Search", SIGIR 2014.

    Images (their leading principal components, at unit length) have sparse codes S over a dictionary B, texts (at unit
    length) factors A over a basis U, and R maps the sparse codes to the factors; see ``step`` for the objective. Bits
    are the signs of ``R s(x)`` for images and of ``(U U' + lambda / mu I)^-1 U t`` for texts. Sizes, settings and
    numbers of iterations are those of the authors' public code.

    Deviations. Sparse codes are found by coordinate descent instead of an accelerated gradient method, atoms by block
    coordinate descent instead of Newton's method on the Lagrange dual: the problems are the same. Atoms start at unit
    length. The paper gives database items one code from both modalities; here each item is coded from one.
    """

    name: ClassVar[str] = "lssh"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        self.settings = {
            "atoms": ATOMS,
            "sparsity": SPARSITY,
            "text_weight": TEXT_WEIGHT,
            "link": LINK,
            "iterations": ITERATIONS,
            "passes": PASSES,
        }
        self._views = Views.fit(self.pairs, self.bits)
        image, text = self._views.image(self.pairs.image), self._views.text(self.pairs.text)
        random = np.random.default_rng([self.seed, 1])
        self._semantics = Semantics.start(image, text, self.bits, random)
        for _ in range(ITERATIONS):
            self._semantics = step(self._semantics, image, text)

    def embed_image(self, rows: Floats) -> Floats:
        return self._semantics.of_image(self._views.image(rows))

    def embed_text(self, rows: Floats) -> Floats:
        return self._semantics.of_text(self._views.text(rows))


@dataclass(frozen=True, eq=False)
class Views:
    """How inputs become what is factorised: centred by the training mean, images projected, rows of length 1 (or 0)."""

    image_mean: Matrix
    axes: Matrix
    text_mean: Matrix

    @classmethod
    def fit(cls, pairs: Pairs, dim: int) -> Self:
        """Fit on pairs; images keep ``dim`` principal components, or all there are."""
        mean = pairs.image.mean(axis=0, dtype=np.float64)
        centred = pairs.image - mean
        _, axes = eigh(centred.T @ centred)
        return cls(mean, axes[:, ::-1][:, :dim], pairs.text.mean(axis=0, dtype=np.float64))

    def image(self, rows: Floats) -> Matrix:
        """Images (n, p) float64 from inputs (n, d)."""
        return unit_rows((rows - self.image_mean) @ self.axes)

    def text(self, rows: Floats) -> Matrix:
        """Texts (n, q) float64 from inputs (n, q)."""
        return unit_rows(rows - self.text_mean)


@dataclass(frozen=True, eq=False)
class Semantics:
    """State of the alternation, float64, items and atoms as rows.

    ``sparse`` S (n, K), ``dictionary`` B (K, p), ``link`` R (K, c); ``factors`` A (n, c), ``basis`` U (c, q).
    """

    sparse: Matrix
    dictionary: Matrix
    link: Matrix
    factors: Matrix
    basis: Matrix

    @classmethod
    def start(cls, image: Matrix, text: Matrix, dim: int, random: np.random.Generator) -> Self:
        """Random atoms of unit length and the sparse codes of images (n, p) over them."""
        dictionary = unit_rows(random.standard_normal((ATOMS, image.shape[1])))
        link = unit_rows(random.standard_normal((ATOMS, dim)))
        basis = unit_rows(random.standard_normal((dim, text.shape[1])))
        sparse = sparse_codes(image, dictionary, PASSES)
        return cls(sparse, dictionary, link, np.zeros((len(image), dim)), basis)

    def of_image(self, image: Matrix) -> Floats:
        """Vectors (n, c) float32 of new images (n, p), without their texts."""
        return np.ascontiguousarray(
            sparse_codes(image, self.dictionary, FINAL_PASSES) @ self.link, np.float32
        )

    def of_text(self, text: Matrix) -> Floats:
        """Vectors (n, c) float32 of new texts (n, q), without their images."""
        gram = self.basis @ self.basis.T + LINK / TEXT_WEIGHT * np.eye(len(self.basis))
        return np.ascontiguousarray(solve(gram, self.basis @ text.T, assume_a="pos").T, np.float32)


@dataclass(frozen=True, eq=False)
class Pull:
    """What a quantizer adds to the objective: ``weight (|S R - image|^2 + |A - text|^2)``.

    ``image`` and ``text`` (n, c) are the decoded codes of the items. LSSH itself has none (weight 0).
    """

    image: Matrix
    text: Matrix
    weight: float


def step(was: Semantics, image: Matrix, text: Matrix, pull: Pull | None = None) -> Semantics:
    """One turn of the alternation: factors, basis, sparse codes, dictionary and link, each with the others as they are.

    Minimises ``|X - S B|^2 + lambda |A - S R|^2 + mu |T - A U|^2 + rho_i |S|_1`` for images X (n, p) and texts T
    (n, q), rows of B, R and U no longer than 1. Item i's rho is a share (``SPARSITY``) of its largest useful one.
    """
    weight = pull.weight if pull else 0.0
    decoded_image, decoded_text = (pull.image, pull.text) if pull else (was.factors, was.factors)
    gram = TEXT_WEIGHT * was.basis @ was.basis.T + (LINK + weight) * np.eye(len(was.basis))
    right = TEXT_WEIGHT * text @ was.basis.T + LINK * was.sparse @ was.link + weight * decoded_text
    factors = solve(gram, right.T, assume_a="pos").T
    basis = updated_atoms(was.basis, factors, text)
    # Both terms in S R make one, around the mean of what S R is held to.
    link_weight = LINK + weight
    middle = (LINK * factors + weight * decoded_image) / link_weight
    sparse = sparse_codes(
        np.hstack([image, np.sqrt(link_weight) * middle]),
        np.hstack([was.dictionary, np.sqrt(link_weight) * was.link]),
        PASSES,
        was.sparse,
    )
    dictionary = updated_atoms(was.dictionary, sparse, image)
    link = updated_atoms(was.link, sparse, middle)
    return Semantics(sparse, dictionary, link, factors, basis)


def sparse_codes(targets: Matrix, atoms: Matrix, passes: int, start: Matrix | None = None) -> Matrix:
    """Sparse codes s (n, K): ``min 1/2 |y - s D|^2 + rho |D y|_inf |s|_1`` for targets y (n, p) and atoms D (K, p).

    ``start`` (n, K) are codes to start from. A target at right angles to all atoms gets zeros.
    """
    # Dividing a target by its largest product makes one penalty fit all.
    largest = np.abs(targets @ atoms.T).max(axis=1, keepdims=True)
    scales = np.where(largest > 0, largest, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found: Matrix = sparse_encode(
            targets / scales,
            atoms,
            algorithm="lasso_cd",
            alpha=SPARSITY,
            init=None if start is None else start / scales,
            max_iter=passes,
        )
    return found * scales


def updated_atoms(atoms: Matrix, codes: Matrix, targets: Matrix) -> Matrix:
    """Atoms (K, p) nearer to ``min |targets - codes @ atoms|^2``, none longer than 1; those no code uses stay.

    Exact for one atom at a time (Mairal et al. 2010, algorithm 2), in ``SWEEPS`` passes.
    """
    gram, right = codes.T @ codes, codes.T @ targets
    updated = atoms.copy()
    for _ in range(SWEEPS):
        for k in np.flatnonzero(np.diag(gram) > 1e-12):
            atom = updated[k] + (right[k] - gram[k] @ updated) / gram[k, k]
            updated[k] = atom / max(np.linalg.norm(atom), 1.0)
    return updated


def unit_rows(rows: Matrix) -> Matrix:
    """Rows (n, d) divided by their lengths; rows of zeros stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = rows / np.where(lengths > 0, lengths, 1.0)
    return scaled
