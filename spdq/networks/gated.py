"""The gated joint embedding: text, image and unit in one space (Balaneshin-kordan and Kotov, WSDM 2018).

Confirmed by the abstract: a gated neural architecture projects image queries, keyword queries and multi-modal units
into one low-dimensional space. The towers and the form of the gate are a reconstruction; that the space has two halves
is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from spdq.networks.tower import Tower

HALF = math.sqrt(0.5)
"""Length of each half of a vector of length 1."""
GATE_BIAS = 3.0
"""Where the gate starts: sigmoid(3) = .95 of each half comes from the modality it belongs to."""
GATE_SCALE = 0.1
"""The gate's initial weights are so much smaller than a linear layer's: it starts as that constant."""


class GatedNetwork(nn.Module):
    """The image tower, the text tower and the gate that makes a unit of both.

    The space has a text half and an image half, equally long. A tower knows its own half and guesses the other; in a
    unit the gate fills each half from both parts. A query counts what it guesses less (``guess``): on trained items a
    guess is as good as knowledge, on new ones it is mostly noise, which would outweigh what a unit's other part knows.

    Parameters
    ----------
    image_width, text_width
        Sizes of the towers' inputs.
    hidden, dim
        Sizes of the towers' hidden layer and of the space, dim even.
    guess
        Weight of the guessed half of a query beside 1 of the known one.
    input_dropout, dropout, direct
        As in ``Tower``.
    """

    def __init__(
        self,
        image_width: int,
        text_width: int,
        *,
        hidden: int,
        dim: int,
        guess: float,
        direct: bool,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.image_tower, self.text_tower = (
            Tower(width, hidden=hidden, dim=dim, input_dropout=input_dropout, dropout=dropout, direct=direct)
            for width in (image_width, text_width)
        )
        self.gate = nn.Linear(2 * dim, dim)
        with torch.no_grad():
            self.gate.weight.mul_(GATE_SCALE)
            self.gate.bias.copy_(torch.tensor([GATE_BIAS, -GATE_BIAS]).repeat_interleave(dim // 2))
        self._guess = guess

    def image(self, inputs: Tensor) -> Tensor:
        """Vectors (n, dim) of length 1 of images (n, image_width)."""
        return _halves(self.image_tower(inputs), HALF)

    def text(self, inputs: Tensor) -> Tensor:
        """Vectors (n, dim) of length 1 of texts (n, text_width)."""
        return _halves(self.text_tower(inputs), HALF)

    def unit(self, image: Tensor, text: Tensor) -> Tensor:
        """Vectors (n, dim) of length 1 of units, from those of their images and texts.

        u = g e_T + (1 - g) e_I with g = sigmoid(W [e_T; e_I] + b), where both halves of e_T and e_I have length 1.
        """
        image, text = _halves(image, 1.0), _halves(text, 1.0)
        gate = torch.sigmoid(self.gate(torch.cat([text, image], dim=1)))
        return _halves(gate * text + (1 - gate) * image, HALF)

    def query_weights(self, modality: str, guess: float | None = None) -> Tensor:
        """(dim,) what the vector of a query, "image" or "text", is multiplied by; ``guess`` None is the network's."""
        guess = self._guess if guess is None else guess
        known = [1.0, guess] if modality == "text" else [guess, 1.0]
        return torch.tensor(known).repeat_interleave(self.gate.out_features // 2)

    @property
    def highest_score(self) -> float:
        """The largest inner product of a weighted query with anything."""
        return (1 + self._guess) / 2


def _halves(vectors: Tensor, length: float) -> Tensor:
    """The rows with both halves brought to this length."""
    halves = vectors.reshape(-1, 2, vectors.shape[1] // 2)
    return (length * functional.normalize(halves, dim=2)).flatten(1)
