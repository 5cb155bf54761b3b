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

GATE_BIAS = 3.0
"""Where the gate starts: sigmoid(3) = .95 of each half comes from the modality it belongs to."""
GATE_SCALE = 0.1
"""The gate's initial weights are so much smaller than a linear layer's: it starts as that constant."""


class GatedNetwork(nn.Module):
    """The image tower, the text tower and the gate that makes a unit of both.

    The space has a text half and an image half. A tower knows its own half and guesses the other, and the guess is
    shorter: on trained items it is as good as knowledge, on new ones it is mostly noise, which would outweigh in a unit
    what the other part knows. In a unit the gate fills each half from both parts and both halves are equally long.

    Parameters
    ----------
    image_width, text_width
        Sizes of the towers' inputs.
    hidden, dim
        Sizes of the towers' hidden layer and of the space, dim even.
    guess
        Length of the guessed half of an image or text, above 0 and below 1; sqrt(1/2) makes the halves equal.
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
        input_dropout: float,
        dropout: float,
        direct: bool,
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
        self._guess, self._known = guess, math.sqrt(1 - guess**2)

    def image(self, inputs: Tensor) -> Tensor:
        """Vectors (n, dim) of length 1 of images (n, image_width)."""
        return _halves(self.image_tower(inputs), self._guess, self._known)

    def text(self, inputs: Tensor) -> Tensor:
        """Vectors (n, dim) of length 1 of texts (n, text_width)."""
        return _halves(self.text_tower(inputs), self._known, self._guess)

    def unit(self, image: Tensor, text: Tensor) -> Tensor:
        """Vectors (n, dim) of length 1 of units, from those of their images and texts.

        u = g e_T + (1 - g) e_I with g = sigmoid(W [e_T; e_I] + b), where both halves of e_T and e_I have length 1.
        """
        image, text = _halves(image, 1, 1), _halves(text, 1, 1)
        gate = torch.sigmoid(self.gate(torch.cat([text, image], dim=1)))
        share = math.sqrt(0.5)
        return _halves(gate * text + (1 - gate) * image, share, share)

    def highest_score(self, query: str, target: str) -> float:
        """The largest inner product of a query ("i", "t") with a target ("i", "t", "u"), whatever they show."""
        if target == "u":
            return math.sqrt(0.5) * (self._guess + self._known)
        return 1.0 if query == target else 2 * self._guess * self._known


def _halves(vectors: Tensor, text: float, image: float) -> Tensor:
    """The rows with their text half and their image half brought to these lengths."""
    halves = vectors.reshape(-1, 2, vectors.shape[1] // 2)
    return (functional.normalize(halves, dim=2) * torch.tensor([[text], [image]])).flatten(1)
