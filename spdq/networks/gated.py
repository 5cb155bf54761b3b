"""The gated joint embedding: text, image and unit in one space (Balaneshin-kordan and Kotov, WSDM 2018).

Confirmed by the abstract: a gated neural architecture projects image queries, keyword queries and multi-modal units
into one low-dimensional space. Towers, their sizes and the form of the gate are a reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GatedTower(nn.Module):
    """One modality: a hidden layer beside a linear path, then length 1.

    Parameters
    ----------
    width, hidden, dim
        Sizes of input, hidden layer and joint space.
    input_dropout, dropout
        Rates before and after the hidden layer.
    direct
        Whether there is the linear path; without it a name that was never trained on is lost.
    """

    def __init__(
        self, width: int, *, hidden: int, dim: int, input_dropout: float, dropout: float, direct: bool
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Dropout(input_dropout),
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )
        self.direct = nn.Linear(width, dim, bias=False) if direct else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, width) float32 inputs to (n, dim) float32 of length 1."""
        vectors = self.body(inputs)
        if self.direct is not None:
            vectors = vectors + self.direct(inputs)
        return functional.normalize(vectors, dim=1)


class GatedNetwork(nn.Module):
    """The image tower, the text tower and the gate that makes a unit of both."""

    def __init__(
        self,
        image_width: int,
        text_width: int,
        *,
        hidden: int,
        dim: int,
        input_dropout: float,
        dropout: float,
        direct: bool,
    ) -> None:
        super().__init__()
        self.image, self.text = (
            GatedTower(
                width, hidden=hidden, dim=dim, input_dropout=input_dropout, dropout=dropout, direct=direct
            )
            for width in (image_width, text_width)
        )
        self.gate = nn.Linear(2 * dim, dim)

    def unit(self, image: Tensor, text: Tensor) -> Tensor:
        """u = g e_T + (1 - g) e_I of length 1, g = sigmoid(W [e_T; e_I] + b), from (n, dim) of both towers."""
        gate = torch.sigmoid(self.gate(torch.cat([text, image], dim=1)))
        return functional.normalize(gate * text + (1 - gate) * image, dim=1)
