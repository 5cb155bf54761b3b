"""SSAH: a network of labels teaches the towers, and discriminators draw their features to its."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.towers import (
    DROPOUT,
    HIDDEN,
    TOWER_SETTINGS,
    Descent,
    TwoTowers,
    draw,
    likelihood_terms,
    seeded,
    similarity,
    step_count,
)

JUDGE = (128, 64)
"""Hidden widths of a discriminator."""


class Semantics(NamedTuple):
    """What a network says of items: features (b, 512) not below 0, codes (b, bits) within -1 and 1, label logits."""

    features: Tensor
    codes: Tensor
    logits: Tensor

    def detached(self) -> Semantics:
        """The same, as constants."""
        return Semantics(*(part.detach() for part in self))


class SemanticNet(nn.Module):
    """LabNet, ImgNet or TxtNet: inputs (n, width) to semantics."""

    def __init__(self, width: int, bits: int, classes: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Dropout(dropout))
        self.hash = nn.Sequential(nn.Linear(HIDDEN, bits), nn.Tanh())
        self.labels = nn.Linear(HIDDEN, classes)

    @property
    def tower(self) -> nn.Module:
        """The way from inputs to codes alone."""
        return nn.Sequential(self.features, self.hash)

    def forward(self, inputs: Tensor) -> Semantics:
        features = self.features(inputs)
        return Semantics(features, self.hash(features), self.labels(features))


def discriminator() -> nn.Sequential:
    """Features (n, 512) to logits (n, 1) that they are LabNet's."""
    first, second = JUDGE
    return nn.Sequential(
        nn.Linear(HIDDEN, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1)
    )


def semantic_loss(
    said: Semantics, teacher: Semantics, signs: Tensor, similar: Tensor, labels: Tensor
) -> Tensor:
    """J1 + J2 + J3 + J4 of a batch, divided by its size.

    J1 and J2 sum ``log(1 + e^T) - S T`` over pairs, T half the inner products of a network's features (J1) or codes
    (J2) with LabNet's; J3 and J4 sum the squared differences of its codes from B and of its labels from the true ones.

    Parameters
    ----------
    said, teacher
        Semantics of the network that learns and LabNet's, of the same items.
    signs
        B, (b, bits) float32 of -1 and 1.
    similar
        S, (b, b) float32 of 0 and 1.
    labels
        (b, c) float32 of 0 and 1.
    """
    pairs = [
        likelihood_terms(own @ other.T / 2, similar).sum()
        for own, other in ((said.features, teacher.features), (said.codes, teacher.codes))
    ]
    errors = (said.codes - signs).square().sum() + (said.logits.sigmoid() - labels).square().sum()
    return (torch.stack(pairs).sum() + errors) / len(labels)


def common_signs(*codes: Tensor) -> Tensor:
    """B: the signs (b, bits) of the sum of several networks' codes, 0 counting as positive."""
    return torch.where(torch.stack(codes).sum(dim=0) >= 0, 1.0, -1.0)


def judgement(logits: Tensor, from_labels: bool) -> Tensor:
    """Mean sigmoid cross-entropy of discriminator logits (b, 1) with "these features are LabNet's", true or false."""
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(from_labels)))


class SSAH(TwoTowers, HashingBaseline):
    """Self-Supervised Adversarial Hashing (Li, Deng, Li, Liu, Gao and Tao, CVPR 2018).

    LabNet sends label rows to features, codes and labels again; ImgNet and TxtNet have the same three heads, and their
    features and codes are compared with LabNet's. One discriminator a modality tells LabNet's features from the
    modality's, which learns to be taken for LabNet's. B is the sign of the sum of all three networks' codes. Each
    round is a step of LabNet, one of both discriminators and one of both towers. All weights are 1, as published.

    Feature version: networks of one hidden layer, which is the features that are compared (512, as published), on
    the given inputs instead of CNN-F, and discriminators of 128 and 64 units instead of 512 and 256. Left out: the
    text network's multi-scale pooling, which averages neighbouring words of a bag; columns here have no order.

    Deviations: the pair loss is the paper's likelihood. The public code squares ``S T - log(1 + e^T)``, and scales S
    by .999; neither is reproduced. It also quantizes each network to its own signs, not to B. Pairs are those of the
    batch, not of the batch and buffered outputs of all items. LabNet has no dropout, its inputs being exact, and is
    quantized to its own signs alone: what it says does not wait for its pupils. Optimizer, batch and steps are those
    of every deep baseline.
    """

    name = "ssah"
    needs_labels = True

    def _fit(self) -> None:
        steps = step_count(len(self.pairs))
        self.settings = {
            **TOWER_SETTINGS,
            "steps": steps,
            "discriminator": list(JUDGE),
            "weights": 1,
        }
        inputs = self._inputs()
        targets = torch.tensor(self.labels, dtype=torch.float32)
        similar = similarity(self.labels)
        with seeded(self.seed) as random:
            lab_net = SemanticNet(targets.shape[1], self.bits, targets.shape[1], dropout=0.0)
            nets = [SemanticNet(part.shape[1], self.bits, targets.shape[1]) for part in inputs]
            judges = discriminator(), discriminator()
            lab_descent, net_descent, judge_descent = (
                Descent(modules, steps) for modules in ([lab_net], nets, judges)
            )
            for _ in range(steps):
                rows = draw(len(targets), random)
                near, labels = similar[rows[:, None], rows], targets[rows]
                taught = lab_net(labels)
                lab_descent.step(semantic_loss(taught, taught, common_signs(taught.codes), near, labels))
                teacher = taught.detached()
                said = [net(part[rows]) for net, part in zip(nets, inputs, strict=True)]
                judge_descent.step(_unmasking(judges, teacher, said))
                signs = common_signs(teacher.codes, *(one.codes.detach() for one in said))
                losses = [
                    semantic_loss(one, teacher, signs, near, labels) + judgement(judge(one.features), True)
                    for judge, one in zip(judges, said, strict=True)
                ]
                net_descent.step(torch.stack(losses).sum())
        self.image_tower, self.text_tower = (net.tower.eval() for net in nets)


def _unmasking(judges: tuple[nn.Module, nn.Module], teacher: Semantics, said: list[Semantics]) -> Tensor:
    """What the discriminators minimise: the mean of both's errors on LabNet's features and on their modality's."""
    errors = [
        (judgement(judge(teacher.features), True) + judgement(judge(one.features.detach()), False)) / 4
        for judge, one in zip(judges, said, strict=True)
    ]
    return torch.stack(errors).sum()
