"""Corr-AE: correspondence auto-encoder (Feng, Wang, Li, ACM Multimedia 2014), feature version with signs as codes."""

from __future__ import annotations

from torch import Tensor

from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.towers import (
    TOWER_SETTINGS,
    TwoTowers,
    embed,
    mlp,
    seeded,
    step_count,
    train,
)


class CorrAE(TwoTowers, HashingBaseline):
    """Two auto-encoders whose codes of one pair are drawn together, without labels.

    ::

        L = sum_i (1 - alpha) (||x_i - x'_i||^2 + ||y_i - y'_i||^2) + alpha ||f(x_i) - g(y_i)||^2

    with encoders f and g and the reconstructions x' of f(x) and y' of g(y). A bit is the sign of an encoder's output
    less its mean over the training items of that modality.

    Deviations: one hidden layer of 512 in encoders and decoders, instead of two after restricted Boltzmann machines;
    AdamW; the paper ranks by real codes, signs are what others made of it; alpha = 0.8, chosen on pairs held out of
    training, where a public version has 0.2.
    """

    name = "corr-ae"
    needs_labels = False
    correspondence = 0.8
    image_mean: Floats
    text_mean: Floats

    def _fit(self) -> None:
        n = len(self.pairs)
        image, text = self._inputs()
        self.settings = {**TOWER_SETTINGS, "steps": step_count(n), "correspondence": self.correspondence}
        with seeded(self.seed) as random:
            self._make_towers(self.bits)
            image_decoder, text_decoder = mlp(self.bits, image.shape[1]), mlp(self.bits, text.shape[1])

            def loss(rows: Tensor, step: int) -> Tensor:
                x, y = image[rows], text[rows]
                f, g = self.image_tower(x), self.text_tower(y)
                terms = correspondence_terms(
                    x, image_decoder(f), f, y, text_decoder(g), g, self.correspondence
                )
                return terms.mean()

            train([self.image_tower, self.text_tower, image_decoder, text_decoder], n, random, loss)
        self.image_mean = embed(self.image_tower, self.pairs.image).mean(axis=0)
        self.text_mean = embed(self.text_tower, self.pairs.text).mean(axis=0)

    def embed_image(self, rows: Floats) -> Floats:
        return super().embed_image(rows) - self.image_mean

    def embed_text(self, rows: Floats) -> Floats:
        return super().embed_text(rows) - self.text_mean


def correspondence_terms(
    x: Tensor, x_again: Tensor, f: Tensor, y: Tensor, y_again: Tensor, g: Tensor, alpha: float
) -> Tensor:
    """L of each pair, (n,) float32: inputs (n, width) and their reconstructions, codes (n, d) of both modalities."""
    lost = (x - x_again).square().sum(dim=1) + (y - y_again).square().sum(dim=1)
    apart = (f - g).square().sum(dim=1)
    return (1 - alpha) * lost + alpha * apart
