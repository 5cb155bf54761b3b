"""SPDQ's network: per modality a tower with a shared, a private and a predictive branch (SPDQ, section III)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class TowerOutput(NamedTuple):
    """What one tower says of n inputs."""

    shared: Tensor
    """(n, shared) float32 in (-1, 1): s, the part both modalities are to agree on."""
    private: Tensor
    """(n, private) float32 in (-1, 1): r, the part that is the modality's own."""
    logits: Tensor
    """(n, labels) float32: the classifier on [s, r], before the sigmoid or softmax."""


class NoLabels(nn.Module):
    """The classifier of a tower that learned without labels: no logits."""

    out_features = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, width) to (n, 0) float32."""
        return inputs.new_empty(len(inputs), 0)


class Tower(nn.Module):
    """One modality: one ReLU layer, then shared and private tanh heads, then one linear classifier on both.

    The paper fine-tunes AlexNet for images and uses two layers of 4,096 for text; on frozen features one hidden
    layer does better and trains in seconds (a deviation the docs name). With ``direct`` the input also reaches the
    shared head and the logits by a linear path, which keeps a name that was never trained on findable; it is for raw
    text of an open vocabulary and costs accuracy elsewhere.

    Parameters
    ----------
    width
        Size of the input vector.
    labels
        Number of labels; 0 leaves the classifier out.
    hidden, shared, private
        Units of the hidden layer and of the two heads.
    input_dropout, dropout
        Rates before and after the hidden layer.
    direct
        Whether to add the linear paths.
    """

    def __init__(
        self,
        width: int,
        labels: int,
        *,
        hidden: int,
        shared: int,
        private: int,
        input_dropout: float,
        dropout: float,
        direct: bool,
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(input_dropout), nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)
        )
        self.shared = nn.Linear(hidden, shared)
        self.private = nn.Linear(hidden, private)
        self.classifier = nn.Linear(shared + private, labels) if labels else NoLabels()
        self.direct_shared = nn.Linear(width, shared, bias=False) if direct else None
        self.direct_logits = nn.Linear(width, labels, bias=False) if direct and labels else None

    def forward(self, inputs: Tensor) -> TowerOutput:
        """Map (n, width) float32 inputs to the three branches."""
        body = self.body(inputs)
        shared = self.shared(body)
        if self.direct_shared is not None:
            shared = shared + self.direct_shared(inputs)
        shared, private = torch.tanh(shared), torch.tanh(self.private(body))
        logits = self.classifier(torch.cat([shared, private], dim=1))
        if self.direct_logits is not None:
            logits = logits + self.direct_logits(inputs)
        return TowerOutput(shared, private, logits)


class SPDQNetwork(nn.Module):
    """The image tower, the text tower and the temperature of the contrastive term."""

    def __init__(
        self,
        image_width: int,
        text_width: int,
        labels: int,
        *,
        hidden: int,
        shared: int,
        private: int,
        direct_text: bool,
        image_dropout: float = 0.0,
        text_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image, self.text = (
            Tower(
                width,
                labels,
                hidden=hidden,
                shared=shared,
                private=private,
                input_dropout=input_dropout,
                dropout=dropout,
                direct=direct,
            )
            for width, input_dropout, direct in (
                (image_width, image_dropout, False),
                (text_width, text_dropout, direct_text),
            )
        )
        # The usual starting temperature of contrastive image-text training, .07, as the logarithm of its inverse.
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
