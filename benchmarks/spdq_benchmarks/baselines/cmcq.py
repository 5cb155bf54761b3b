"""Collaborative quantization: a common space, and codes in it whose words' inner products have a constant sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from spdq.quantizers import Codebooks, ProductQuantizer
from spdq_benchmarks.baselines.contract import Baseline, Codes, Floats
from spdq_benchmarks.baselines.lssh import Pull, Semantics, Views, step
from spdq_benchmarks.baselines.quantizing import table_distances, unit_rows

Matrix = NDArray[np.float64]

DIM = 64
"""Dimensions of the common space; a few more where the codebooks do not divide it."""
N_WORDS = 256
ALIGNMENT = 1.0
"""Gamma."""
PENALTY = 1.0
"""Weight of the squared deviations from the constant."""
PULL = 0.1
"""Weight of the quantization error beside the terms of the common space."""
MAPPING_ITERATIONS, JOINT_ITERATIONS, CODE_ITERATIONS = 6, 3, 4
WORD_ITERATIONS = 10
"""Of L-BFGS, each time that the words are improved."""
SWEEPS = 3


class CMCQ(Baseline):
    """CMCQ: Zhang and Wang, "Collaborative Quantization for Cross-Modal Similarity Search", CVPR 2016.

    The common space is LSSH's (sparse codes of images, factors of texts; ``lssh.step``). In it both views x and y of an
    item have a code of their own, and decoded codes are held together:
    ``|x - C p|^2 + |y - C q|^2 + gamma |C p - C q|^2``, with a constant sum of the inner products of a code's words
    (composite quantization; here a penalty). Thanks to that constant the Euclidean distance of a query to a decoded
    code is, but for what all codes share, a sum of one number a word: ``|c_m|^2 - 2 q' c_m``. Space and codes are
    learned by turns.

    No code of the authors was at hand. Deviations: the paper has two sets of words, one a modality; here there is one,
    because a code does not say which modality it is of. Learning starts with the space alone and from product codes,
    whose inner products are all 0. In the end the codes are learned once more, from the training items' vectors as new
    items get them (one modality at a time), at length 1: the lengths of the two modalities differ too much for
    Euclidean distances. Weights and numbers of iterations are ours.
    """

    name: ClassVar[str] = "cmcq"
    needs_labels: ClassVar[bool] = False

    def _fit(self) -> None:
        self.settings = {
            "dim": DIM,
            "alignment": ALIGNMENT,
            "penalty": PENALTY,
            "pull": PULL,
            "mapping_iterations": MAPPING_ITERATIONS,
            "joint_iterations": JOINT_ITERATIONS,
            "code_iterations": CODE_ITERATIONS,
            "word_iterations": WORD_ITERATIONS,
        }
        n_codebooks = self.bits // 8
        dim = -(-DIM // n_codebooks) * n_codebooks
        self._views = Views.fit(self.pairs, dim)
        image, text = self._views.image(self.pairs.image), self._views.text(self.pairs.text)
        state = Semantics.start(image, text, dim, np.random.default_rng([self.seed, 1]))
        for _ in range(MAPPING_ITERATIONS):
            state = step(state, image, text)
        composite = start(state.sparse @ state.link, state.factors, n_codebooks, self.seed)
        for _ in range(JOINT_ITERATIONS):
            composite = improve(composite, state.sparse @ state.link, state.factors)
            state = step(state, image, text, Pull(*composite.decoded(), PULL))
        self._semantics = state
        vectors = [
            rows.astype(np.float64)
            for rows in (self.embed_image(self.pairs.image), self.embed_text(self.pairs.text))
        ]
        composite = start(vectors[0], vectors[1], n_codebooks, self.seed)
        for _ in range(CODE_ITERATIONS):
            composite = improve(composite, vectors[0], vectors[1])
        self._composite = composite
        self.codebooks = Codebooks(composite.words.astype(np.float32), "additive")

    def embed_image(self, rows: Floats) -> Floats:
        return unit_rows(self._semantics.of_image(self._views.image(rows)))

    def embed_text(self, rows: Floats) -> Floats:
        return unit_rows(self._semantics.of_text(self._views.text(rows)))

    def encode(self, vectors: Floats) -> Codes:
        return encode(self._composite.words, self._composite.constant, vectors.astype(np.float64), SWEEPS)

    def distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        """Squared Euclidean distances but for the constants of the class's description, float32."""
        words = self.codebooks.words
        lengths = np.einsum("mkd,mkd->mk", words, words)
        tables = 2 * self.codebooks.lookup_tables(queries, "ip") + lengths
        return table_distances(tables, codes)


@dataclass(frozen=True, eq=False)
class Composite:
    """Words (M, K, D) float64, the ``constant`` sum of inner products, and the codes (n, M) uint8 of both views."""

    words: Matrix
    constant: float
    image_codes: Codes
    text_codes: Codes

    def decoded(self) -> tuple[Matrix, Matrix]:
        """Decoded codes (n, D) of images and of texts."""
        return _chosen(self.words, self.image_codes).sum(axis=1), _chosen(self.words, self.text_codes).sum(
            axis=1
        )


def start(image: Matrix, text: Matrix, n_codebooks: int, seed: int) -> Composite:
    """Product codes of vectors (n, D): their words, as full vectors, are at right angles, so the constant is 0."""
    vectors = np.concatenate([image, text]).astype(np.float32)
    quantizer = ProductQuantizer(n_codebooks, N_WORDS, rotation="opq", random_state=seed % (1 << 32))
    product = quantizer.fit(vectors).codebooks_
    rotation = np.eye(product.dim) if product.rotation is None else product.rotation.astype(np.float64)
    parts = np.split(rotation, n_codebooks, axis=1)
    words = np.stack([part_words @ part.T for part_words, part in zip(product.words, parts, strict=True)])
    codes = product.encode(vectors)
    return Composite(words, 0.0, codes[: len(image)], codes[len(image) :])


def improve(was: Composite, image: Matrix, text: Matrix) -> Composite:
    """One turn for vectors (n, D): codes of images, codes of texts, words, constant; the objective does not rise."""
    words, share = was.words, ALIGNMENT / (1 + ALIGNMENT)
    _, decoded = was.decoded()
    image_codes = encode(words, was.constant, (1 - share) * image + share * decoded, 1, was.image_codes)
    decoded = _chosen(words, image_codes).sum(axis=1)
    text_codes = encode(words, was.constant, (1 - share) * text + share * decoded, 1, was.text_codes)
    codes = np.concatenate([image_codes, text_codes])
    words = improved_words(words, codes, np.concatenate([image, text]), was.constant)
    return Composite(words, float(inner_products(words, codes).mean()), image_codes, text_codes)


def encode(words: Matrix, constant: float, targets: Matrix, sweeps: int, codes: Codes | None = None) -> Codes:
    """Codes (n, M) uint8 of targets (n, D): minimise ``|t - C p|^2 + penalty (inner products - constant)^2``.

    Each codebook in turn gets its best word for what the others have, which never raises it. Without codes to start
    from the first sweep is a greedy encoding.
    """
    order = np.arange(len(words))
    lengths = np.einsum("mkd,mkd->mk", words, words)
    if codes is None:
        found = np.zeros((len(targets), len(words)), np.uint8)
        chosen = np.zeros((len(words), *targets.shape))
    else:
        found = codes.copy()
        chosen = words[order[:, None], codes.T]
    total, own = chosen.sum(axis=0), np.einsum("mnd,mnd->mn", chosen, chosen)
    for _ in range(sweeps):
        for m in order:
            rest = total - chosen[m]
            own[m] = 0
            deviation = np.einsum("nd,nd->n", rest, rest) - own.sum(axis=0) - constant
            costs = lengths[m] - 2 * (targets - rest) @ words[m].T
            costs += PENALTY * np.square(deviation[:, None] + 2 * rest @ words[m].T)
            found[:, m] = costs.argmin(axis=1)
            chosen[m], own[m] = words[m, found[:, m]], lengths[m, found[:, m]]
            total = rest + chosen[m]
    return found


def improved_words(words: Matrix, codes: Codes, vectors: Matrix, constant: float) -> Matrix:
    """Words nearer to a minimum of ``words_loss``, by some iterations of L-BFGS."""

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        cost, slopes = words_loss(flat.reshape(words.shape), codes, vectors, constant)
        return cost, slopes.ravel()

    options = {"maxiter": WORD_ITERATIONS}
    found = minimize(loss, words.ravel(), jac=True, method="L-BFGS-B", options=options)
    improved: Matrix = found.x.reshape(words.shape)
    return improved


def words_loss(words: Matrix, codes: Codes, vectors: Matrix, constant: float) -> tuple[float, Matrix]:
    """The objective of both views and its slopes (M, K, D) by the words.

    ``codes`` (2n, M) and ``vectors`` (2n, D) are those of n images and then of their texts.
    """
    chosen = _chosen(words, codes)
    total = chosen.sum(axis=1)
    missing = total - vectors
    apart = np.subtract(*np.split(total, 2))
    deviations = inner_products(words, codes) - constant
    weight = (1 + ALIGNMENT) * PENALTY
    cost = (
        np.vdot(missing, missing)
        + ALIGNMENT * np.vdot(apart, apart)
        + weight * np.vdot(deviations, deviations)
    )
    bend = 4 * weight * deviations[:, None]
    by_total = 2 * missing + 2 * ALIGNMENT * np.concatenate([apart, -apart]) + bend * total
    slopes = np.empty_like(words)
    starts = np.arange(len(codes) + 1)
    for m in range(len(words)):
        users = csr_array(
            (np.ones(len(codes)), codes[:, m].astype(np.int64), starts), shape=(len(codes), words.shape[1])
        )
        slopes[m] = users.T @ (by_total - bend * chosen[:, m])
    return float(cost), slopes


def inner_products(words: Matrix, codes: Codes) -> Matrix:
    """The sum (n,) of the inner products of each two words (in both orders) of codes (n, M)."""
    chosen = _chosen(words, codes)
    total = chosen.sum(axis=1)
    sums: Matrix = np.einsum("nd,nd->n", total, total) - np.einsum("nmd,nmd->n", chosen, chosen)
    return sums


def _chosen(words: Matrix, codes: Codes) -> Matrix:
    """The words (n, M, D) that codes (n, M) name."""
    return words[np.arange(len(words)), codes]
