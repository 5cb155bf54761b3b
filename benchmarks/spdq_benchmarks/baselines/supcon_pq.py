"""Supervised contrastive MLP + PQ: unit vectors drawn together by shared labels, quantized by products."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spdq.quantizers import ProductQuantizer
from spdq_benchmarks.baselines.contract import Floats
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline, padded
from spdq_benchmarks.baselines.towers import (
    TOWER_SETTINGS,
    TwoTowers,
    mlp,
    seeded,
    similarity,
    step_count,
    train,
)

DIM = 128
TEMPERATURE = 0.3


class UnitLength(nn.Module):
    """Rows (n, d) at length 1; a row of zeros stays."""

    def forward(self, rows: Tensor) -> Tensor:
        return functional.normalize(rows, dim=1)


def contrastive_terms(vectors: Tensor, positives: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss of each anchor (n,) float32, L_out of Khosla et al. (equation 2).

    Parameters
    ----------
    vectors
        (n, d) float32 of unit length: anchor, positives and contrast all come from them.
    positives
        (n, n) float32 of 0 and 1, row i those of anchor i. The diagonal plays no part; an anchor without positives
        has loss 0.
    temperature
        Divides the inner products.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool)
    scores = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    log_shares = torch.log_softmax(scores, dim=1).masked_fill(itself, 0.0)
    wanted = positives.masked_fill(itself, 0.0)
    return -(wanted * log_shares).sum(dim=1) / wanted.sum(dim=1).clamp(min=1.0)


class SupConPQ(TwoTowers, QuantizingBaseline):
    """Supervised contrastive learning (Khosla et al., NeurIPS 2020) over both modalities, cosine, product codes.

    Feature version: MLP towers on the given features instead of augmented images through a ResNet. A batch's images
    and texts are 2b anchors together (one image and one text stand for the paper's two augmentations); an anchor's
    positives are all that share a label with it, whatever their modality, and the other half of its own pair.
    There is no projection head to throw away: the contrasted vectors are the ones that are searched. The temperature
    is .3, chosen on rows held out of the training splits of Wikipedia and MIRFlickr, where the paper's .1 is worse.
    """

    name = "supcon-pq"
    needs_labels = True

    def embed_image(self, rows: Floats) -> Floats:
        return padded(super().embed_image(rows), self.bits // 8)

    def embed_text(self, rows: Floats) -> Floats:
        return padded(super().embed_text(rows), self.bits // 8)

    def embed_unit(self, image: Floats, text: Floats) -> Floats:
        """The mean's direction, as similarity is cosine."""
        unit: Floats = functional.normalize(torch.from_numpy(super().embed_unit(image, text)), dim=1).numpy()
        return unit

    def _learn(self) -> None:
        self.settings = {
            **TOWER_SETTINGS,
            "steps": step_count(len(self.pairs)),
            "dim": DIM,
            "temperature": TEMPERATURE,
        }
        image, text = self._inputs()
        labels = self.labels
        with seeded(self.seed) as random:
            self.image_tower = nn.Sequential(mlp(image.shape[1], DIM), UnitLength())
            self.text_tower = nn.Sequential(mlp(text.shape[1], DIM), UnitLength())

            def loss(rows: Tensor, step: int) -> Tensor:
                vectors = torch.cat([self.image_tower(image[rows]), self.text_tower(text[rows])])
                own = torch.eye(len(rows))
                positives = torch.maximum(similarity(labels[rows.numpy()]), own).repeat(2, 2)
                return contrastive_terms(vectors, positives, TEMPERATURE).mean()

            train([self.image_tower, self.text_tower], len(image), random, loss)

    def _quantizer(self, dim: int) -> ProductQuantizer:
        return ProductQuantizer(n_codebooks=self.bits // 8, random_state=self.seed % (1 << 32))
