"""Mixer: one image encoder for queries and documents, text that becomes concepts, concepts that look at the image.

After Cheng et al., arXiv 2305.03972. Confirmed by the abstract: query image and document image share an encoder,
followed by separate transformations; external memories learn high-level concepts from the text; attention from text
to image fuses both. Sizes, the form of memory, attention and gates, and the parts of the memory are a reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RegionEncoder(nn.Module):
    """The encoder that query and document images share: vectors of the regions of an image.

    v_p = A_p x_p + MLP(x_p): a linear map of each place, since drawings of one thing agree in where things are, and
    a hidden layer that all places share.

    Parameters
    ----------
    width, regions
        An image is ``regions`` inputs of ``width``, one after the other.
    hidden, dim
        Sizes of hidden layer and space.
    input_dropout, dropout
        Rates before and after the hidden layer.
    """

    def __init__(
        self, width: int, regions: int, *, hidden: int, dim: int, input_dropout: float, dropout: float
    ) -> None:
        super().__init__()
        self.shape = regions, width
        self.places = nn.Parameter(torch.empty(regions, width, dim).uniform_(-1, 1) * width**-0.5)
        self.input_dropout = nn.Dropout(input_dropout)
        self.shared = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map (n, regions * width) to (n, regions, dim) float32."""
        regions = self.input_dropout(images.reshape(len(images), *self.shape))
        vectors: Tensor = torch.einsum("npw,pwd->npd", regions, self.places) + self.shared(regions)
        return vectors


class ConceptMemory(nn.Module):
    """From text to concepts, in several parts of which each has learned from other texts.

    q_j = P_j t reads memory slots by attention, c_j = q_j + sum_m softmax_m(q_j' k_m / sqrt(d)) u_m. Each part has
    projections, keys and values of its own.

    Parameters
    ----------
    width, dim
        Sizes of a text's input and of a concept.
    concepts, slots, parts
        Concepts a text, memory slots a part, parts.
    input_dropout
        Rate on the text's input.
    """

    def __init__(
        self, width: int, *, dim: int, concepts: int, slots: int, parts: int, input_dropout: float
    ) -> None:
        super().__init__()
        self.shape = concepts, dim
        self.input_dropout = nn.Dropout(input_dropout)
        self.project = nn.Parameter(torch.empty(parts, width, concepts * dim).uniform_(-1, 1) * width**-0.5)
        self.keys = nn.Parameter(torch.empty(parts, slots, dim).normal_())
        self.values = nn.Parameter(torch.empty(parts, slots, dim).normal_() * dim**-0.5)

    def forward(self, texts: Tensor, part: int) -> Tensor:
        """Map (n, width) to concepts (n, concepts, dim) float32 by one part of the memory."""
        asked: Tensor = (self.input_dropout(texts) @ self.project[part]).reshape(len(texts), *self.shape)
        weights = torch.softmax(asked @ self.keys[part].T * self.shape[1] ** -0.5, dim=2)
        return asked + weights @ self.values[part]


class Residual(nn.Module):
    """v + MLP(v) with one hidden layer."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(dim, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (..., dim) to the same shape."""
        moved: Tensor = vectors + self.body(vectors)
        return moved


class MixerNetwork(nn.Module):
    """Encoder, memory and what makes queries and documents of them; every vector that leaves has length 1."""

    def __init__(
        self,
        image_width: int,
        regions: int,
        text_width: int,
        *,
        hidden: int,
        dim: int,
        concepts: int,
        slots: int,
        parts: int,
        input_dropout: float = 0.0,
        text_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = RegionEncoder(
            image_width, regions, hidden=hidden, dim=dim, input_dropout=input_dropout, dropout=dropout
        )
        self.memory = ConceptMemory(
            text_width, dim=dim, concepts=concepts, slots=slots, parts=parts, input_dropout=text_dropout
        )
        self.parts = parts
        self.of_query, self.of_document = (Residual(dim, hidden, dropout) for _ in range(2))
        self.look = nn.Linear(dim, dim, bias=False)
        self.said = nn.Linear(dim, dim, bias=False)
        self.gate = nn.Linear(2 * dim, dim)
        self.norm = nn.LayerNorm(dim)
        # A document begins as its image and half as much of its text, looked at as a whole; the rest is learned.
        for begins_at_zero in (self.look.weight, self.gate.weight, self.gate.bias):
            nn.init.zeros_(begins_at_zero)

    def query(self, regions: Tensor) -> Tensor:
        """T_q of the mean region, (n, dim) from the encoder's (n, regions, dim)."""
        return functional.normalize(self.of_query(regions.mean(dim=1)), dim=1)

    def document(self, regions: Tensor | None, concepts: Tensor | None) -> Tensor:
        """LN(T_d(v) + mean_j g_j (U c_j + attended_j)), (n, dim); of an image alone LN(T_d(v)), of a text the rest.

        ``regions`` is the encoder's (n, regions, dim), ``concepts`` the memory's (n, concepts, dim). attended_j is
        T_d(v_j) - T_d(v): what the image is where concept j looks, v_j = sum_p softmax_p(c_j' W v_p / sqrt(dim)) v_p,
        beyond what it is as a whole, v; and g_j = sigmoid(G [c_j; T_d(v)] + b). T_d and U c_j are taken at length 1:
        how long they would be tells what was trained on, not what is certain. Raises ValueError for neither.
        """
        if regions is None and concepts is None:
            raise ValueError("a document needs an image or concepts")
        image = self._image(regions.mean(dim=1)) if regions is not None else None
        if concepts is None:
            return functional.normalize(self.norm(image), dim=1)
        more = functional.normalize(self.said(concepts), dim=2)
        beside = torch.zeros_like(more) if image is None else image.unsqueeze(1).expand_as(more)
        if regions is not None:
            scores = concepts @ self.look(regions).transpose(1, 2) * regions.shape[2] ** -0.5
            more = more + self._image(torch.softmax(scores, dim=2) @ regions) - beside
        gates = torch.sigmoid(self.gate(torch.cat([concepts, beside], dim=2)))
        more = (gates * more).mean(dim=1)
        return functional.normalize(self.norm(more if image is None else image + more), dim=1)

    def _image(self, vectors: Tensor) -> Tensor:
        return functional.normalize(self.of_document(vectors), dim=-1)
