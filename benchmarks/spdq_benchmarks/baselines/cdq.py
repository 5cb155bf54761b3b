"""CDQ: collective deep quantization (Cao, Long, Wang, Liu, AAAI 2017), feature version."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

from spdq.quantizers import AdditiveQuantizer, Codebooks
from spdq.quantizers.additive import update_words
from spdq_benchmarks.baselines.contract import Baseline
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline
from spdq_benchmarks.baselines.towers import (
    TOWER_SETTINGS,
    TwoTowers,
    likelihood_terms,
    positive_weight,
    seeded,
    similarity,
    step_count,
    train,
)

TURNS = 6
"""Turns of codes and words while the towers learn; the first steps go without."""
LAST_TURNS = 2


class CDQ(TwoTowers, QuantizingBaseline):
    """Pairwise likelihood across modalities, with outputs drawn to their codes of one additive codebook for both.

    ::

        O = sum_ij (log(1 + exp(alpha z_i . z_j)) - alpha s_ij z_i . z_j) + lambda Q
        Q = N_y sum_i ||z_i - C b_i||^2 + N_x sum_j ||z_j - C b_j||^2

    over tanh outputs z_i of images and z_j of texts (128 wide), divided by the number of pairs, N_x N_y. By turns
    with the towers, codes b are found for all outputs, then the words C by least squares. Search is by the inner
    product of a query's z and C b.

    Deviations: one hidden layer of 512 on given features for AlexNet and for a text net of 4,096 units; AdamW;
    similar pairs weigh as much as dissimilar ones where they are fewer; six turns spread over the training (the
    paper takes one an epoch) and two after it; the first words are those of a residual quantizer, codes are found by
    beam search and words held to their previous place as everywhere in this library (one greedy pass and a ridge of
    .001 in the public version, where words fit new vectors worse). alpha = 0.2 was chosen on pairs held out of
    training, lambda = .003 is the public version's. Since the code length has a part in training, every length is
    trained anew.
    """

    name = "cdq"
    needs_labels = True
    dim = 128
    alpha = 0.2
    quantization = 0.003

    def with_bits(self, bits: int) -> Self:
        return Baseline.with_bits(self, bits)

    def _learn(self) -> None:
        n = len(self.pairs)
        steps = step_count(n)
        turn_steps = math.ceil(steps / (TURNS + 1))
        similar, weight = similarity(self.labels), positive_weight(self.labels)
        image, text = self._inputs()
        self.settings = {
            **TOWER_SETTINGS,
            "steps": steps,
            "dim": self.dim,
            "alpha": self.alpha,
            "quantization": self.quantization,
            "positive_weight": weight,
            "turns": TURNS + LAST_TURNS,
            "ridge": self._quantizer(self.dim).ridge,
        }
        coded: list[Tensor] = []  # C b of images and of texts, once there are codebooks

        def loss(rows: Tensor, step: int) -> Tensor:
            if step and step % turn_steps == 0:
                if not coded:
                    super(CDQ, self)._fit_code()
                coded[:] = self._turn()
            u, v = self.image_tower(image[rows]), self.text_tower(text[rows])
            products = self.alpha * u @ v.T
            pairs = likelihood_terms(products, similar[rows][:, rows], weight).mean()
            if not coded:
                return pairs
            errors = squared_errors(u, coded[0][rows]) + squared_errors(v, coded[1][rows])
            return pairs + self.quantization * errors.mean()

        with seeded(self.seed) as random:
            self._make_towers(self.dim, tanh=True)
            train([self.image_tower, self.text_tower], n, random, loss)

    def _fit_code(self) -> None:
        """The last turns, of the towers as they have become."""
        for _ in range(LAST_TURNS):
            self._turn()

    def _turn(self) -> tuple[Tensor, Tensor]:
        """Find the codes of all training items, then the words; what the codes stand for, (n, dim) images and texts."""
        vectors = np.concatenate([self.embed_image(self.pairs.image), self.embed_text(self.pairs.text)])
        codes = self.codebooks.encode(vectors)
        ridge = self._quantizer(self.dim).ridge
        self.codebooks = Codebooks(update_words(codes, vectors, self.codebooks.words, ridge), "additive")
        images, texts = np.split(self.codebooks.decode(codes), 2)
        return torch.from_numpy(images), torch.from_numpy(texts)

    def _quantizer(self, dim: int) -> AdditiveQuantizer:
        """The residual quantizer whose words are the first."""
        return AdditiveQuantizer(self.bits // 8, n_iterations=0, random_state=self.seed % (1 << 32))


def squared_errors(outputs: Tensor, coded: Tensor) -> Tensor:
    """||z - C b||^2 of each item, (n,) float32, of outputs z and coded vectors C b, (n, d) both."""
    return (outputs - coded).square().sum(dim=1)
