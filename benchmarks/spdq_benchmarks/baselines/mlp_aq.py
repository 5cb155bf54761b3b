"""MLP posteriors + AQ: what a label classifier of each modality says, in additive codes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from spdq.losses.classification import label_set_terms
from spdq.models.spaces import LabelSet
from spdq.training.rows import label_sets
from spdq_benchmarks.baselines.mixing import ENOUGH_VECTORS, MIXES, MixingBaseline
from spdq_benchmarks.baselines.towers import HIDDEN, TOWER_SETTINGS, TwoTowers, seeded, step_count, train

NETWORKS = 3
INPUT_DROPOUT = 0.3
DROPOUT = 0.6


class Dropout(nn.Module):
    """Dropout whose masks are bytes of a NumPy generator, so that ``rate`` is a multiple of 1/256.

    torch draws a float an element; with inputs this wide and networks this small that is most of a step.
    """

    def __init__(self, rate: float, random: np.random.Generator) -> None:
        super().__init__()
        self.dropped = round(256 * rate)
        self.random = random

    def forward(self, rows: Tensor) -> Tensor:
        if not self.training:
            return rows
        drawn = torch.from_numpy(self.random.integers(256, size=rows.shape, dtype=np.uint8))
        return rows * (drawn >= self.dropped) * (256 / (256 - self.dropped))


class Ensemble(nn.Module):
    """Several classifiers of the same inputs (n, width), each with a hidden layer of its own.

    They learn side by side from the same batches and input masks, with other initial weights and hidden masks: one
    wide product instead of several narrow ones. Calling it gives the mean posteriors (n, c) float32: softmax where
    labels are ``exclusive``, else sigmoid.
    """

    def __init__(self, width: int, classes: int, exclusive: bool, random: np.random.Generator) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            Dropout(INPUT_DROPOUT, random),
            nn.Linear(width, NETWORKS * HIDDEN),
            nn.ReLU(),
            Dropout(DROPOUT, random),
        )
        self.heads = nn.ModuleList(nn.Linear(HIDDEN, classes) for _ in range(NETWORKS))
        self.exclusive = exclusive

    def logits(self, inputs: Tensor) -> list[Tensor]:
        """Logits (n, c) of each network."""
        parts = self.hidden(inputs).chunk(NETWORKS, dim=1)
        return [head(part) for head, part in zip(self.heads, parts, strict=True)]

    def forward(self, inputs: Tensor) -> Tensor:
        logits = torch.stack(self.logits(inputs))
        return (logits.softmax(dim=2) if self.exclusive else logits.sigmoid()).mean(dim=0)


class MLPPosteriorsAQ(TwoTowers, MixingBaseline):
    """Label posteriors of an image and of a text classifier, compared by inner product, in additive codes.

    Nobody's method and everybody's missing baseline: three plain MLPs a modality (one hidden layer, dropout on the
    inputs too) learn the labels and their posteriors are averaged. The loss is softmax cross-entropy where every
    training item has exactly one label, else sigmoid cross-entropy of every label. Pairs know no label names, so all
    labels are one set: two label sets of one label an item each (emoji groups and subgroups) get the sigmoid.

    The inner product of two posteriors is the probability that the items share the (one) label, or the expected
    number of labels shared. Codebooks are fitted on the posteriors of training images and texts, with 8,000 convex
    mixes of three where these are fewer than 4,000: few vectors are coded exactly by the first codebooks, which
    leaves the others nothing that helps new items.
    """

    name = "mlp-aq"
    needs_labels = True

    def _learn(self) -> None:
        self.settings = {
            **TOWER_SETTINGS,
            "steps": step_count(len(self.pairs)),
            "dropout": DROPOUT,
            "input_dropout": INPUT_DROPOUT,
            "networks": NETWORKS,
            "mixes": MIXES,
            "mixes_below": ENOUGH_VECTORS,
        }
        (label_set,) = label_sets(("",) * self.labels.shape[1], self.labels, exclusive=True)
        with seeded(self.seed) as random:
            self.image_tower, self.text_tower = (
                self._classifiers(inputs, label_set, random) for inputs in self._inputs()
            )

    def _classifiers(self, inputs: Tensor, label_set: LabelSet, random: np.random.Generator) -> Ensemble:
        """An ensemble learned from inputs (n, width) to the labels."""
        targets = torch.tensor(self.labels, dtype=torch.float32)
        ensemble = Ensemble(inputs.shape[1], targets.shape[1], label_set[2], random)

        def loss(rows: Tensor, step: int) -> Tensor:
            wanted = targets[rows]
            terms = [
                label_set_terms(part, wanted, [label_set], 0.0) for part in ensemble.logits(inputs[rows])
            ]
            return torch.stack(terms).mean()

        train([ensemble], len(inputs), random, loss)
        return ensemble
