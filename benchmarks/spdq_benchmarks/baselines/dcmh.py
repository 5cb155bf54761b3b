"""DCMH: deep cross-modal hashing (Jiang and Li, CVPR 2017), feature version."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.towers import (
    BATCH,
    TOWER_SETTINGS,
    Descent,
    TwoTowers,
    draw,
    embed,
    likelihood_terms,
    positive_weight,
    seeded,
    similarity,
    step_count,
)

PARTNERS = 1024
"""Items of the other modality that a batch meets at most."""


class Side(NamedTuple):
    """One modality in training: its tower, its inputs (n, width) and its latest outputs (n, bits), F or G."""

    tower: nn.Module
    inputs: Tensor
    outputs: Tensor
    descent: Descent


class DCMH(TwoTowers, HashingBaseline):
    """Pairwise likelihood across modalities, with shared signs B that the outputs of both towers are drawn to.

    The objective, over all training pairs, outputs F of images and G of texts::

        J = -sum_ij (S_ij T_ij - log(1 + exp T_ij)) + gamma (||B - F||^2 + ||B - G||^2) + eta (||F 1||^2 + ||G 1||^2)

    with T_ij = F_i . G_j / 2 and gamma = eta = 1. As in the paper a batch of one modality meets the items of
    the other through the buffer of their latest outputs; after an epoch of texts and one of images, B = sign(F + G).

    Deviations: one hidden layer of 512 on given features, for CNN-F and for a text net of 8,192 units; AdamW and the
    common number of steps, a tower, for 500 epochs of SGD; of more than 1,024 items a batch meets so many, drawn anew
    for each epoch (the paper: all); the balance F 1 sums the batch, because through the buffers it comes an epoch
    late and swings; similar pairs weigh as much as dissimilar ones where they are fewer.
    """

    name = "dcmh"
    needs_labels = True
    gamma = 1.0
    eta = 1.0
    weight: float
    """Of a similar pair."""

    def _fit(self) -> None:
        n = len(self.pairs)
        steps, epoch = step_count(n), math.ceil(n / BATCH)
        similar = similarity(self.labels)
        self.weight = positive_weight(self.labels)
        self.settings = {
            **TOWER_SETTINGS,
            "steps": steps,
            "partners": PARTNERS,
            "gamma": self.gamma,
            "eta": self.eta,
            "positive_weight": self.weight,
        }
        with seeded(self.seed) as random:
            self._make_towers(self.bits)
            image, text = (
                Side(tower, inputs, torch.from_numpy(embed(tower, inputs.numpy())), Descent([tower], steps))
                for tower, inputs in zip((self.image_tower, self.text_tower), self._inputs(), strict=True)
            )
            signs = joint_signs(image.outputs, text.outputs)
            for done in range(0, steps, epoch):
                for own, other in ((text, image), (image, text)):
                    own.tower.train()
                    partners = draw(n, random, PARTNERS)
                    near, others = similar[:, partners], other.outputs[partners]
                    for _ in range(min(epoch, steps - done)):
                        rows = draw(n, random)
                        outputs = own.tower(own.inputs[rows])
                        loss = self._loss(outputs, signs[rows], own.outputs[partners], others, near[rows])
                        own.descent.step(loss)
                        own.outputs[rows] = outputs.detach()
                signs = joint_signs(image.outputs, text.outputs)
        self.image_tower.eval()
        self.text_tower.eval()

    def _loss(
        self, outputs: Tensor, signs: Tensor, partners: Tensor, others: Tensor, similar: Tensor
    ) -> Tensor:
        """What a batch of one modality adds to the objective, divided by the number of its pairs, b n.

        ``outputs`` and ``signs`` (b, bits) are F and B of the batch, ``partners`` and ``others`` (p, bits) the latest
        outputs for the items it meets, of its own and the other modality, ``similar`` (b, p) is S.
        """
        likelihood = likelihood_terms(outputs @ others.T / 2, similar, self.weight).mean()
        quantization = self.gamma * (signs - outputs).square().sum()
        balance = self.eta * outputs.sum(dim=0).square().sum()
        return likelihood + (quantization + balance) / (len(outputs) * len(self.pairs))


def joint_signs(image: Tensor, text: Tensor) -> Tensor:
    """B = sign(F + G), (n, bits) of -1 and 1; 0 counts as positive."""
    return torch.where(image + text >= 0, 1.0, -1.0)
