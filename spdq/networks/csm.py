"""Cross space mapping (Yu et al., IEEE TMM 2015): a tower for images and one for queries, compared by inner product.

The abstract confirms a convolutional part for the image, an embedding part for the query and the inner product of the
two. Words and letter-trigrams, the sum of their embeddings, all sizes and layers are a reconstruction.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn

from spdq.networks.tower import Tower

CHANNELS = (32, 64, 128)
"""Of the three convolutions; each halves the side of the picture."""
GRID = 4
"""Side of what is left of a picture, whatever its size."""


class PixelTower(nn.Module):
    """Three convolutions, a pooled grid and a linear layer, from pixels (n, size * size * 3) that are row-major.

    Groups of channels are normalised within one picture: a picture's vector does not depend on those beside it.
    """

    def __init__(self, width: int, *, dim: int, dropout: float) -> None:
        super().__init__()
        self.size = isqrt(width // 3)
        layers: list[nn.Module] = []
        for before, after in zip((3, *CHANNELS), CHANNELS, strict=False):
            layers += [
                nn.Conv2d(before, after, kernel_size=3, padding=1),
                nn.GroupNorm(8, after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten(), nn.Dropout(dropout))
        self.out = nn.Linear(CHANNELS[-1] * GRID**2, dim)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, size * size * 3) float32 pixels to (n, dim) float32."""
        pictures = inputs.reshape(-1, self.size, self.size, 3).permute(0, 3, 1, 2)
        vectors: Tensor = self.out(self.body(pictures))
        return vectors


class QueryTower(nn.Module):
    """The weighted sum of the embeddings of a query's terms, and a hidden layer beside it where one is asked for.

    Embeddings begin at zero and the layer has no bias: terms that were never trained say nothing, and a query of none
    but these is the zero vector. Gradients are sparse: a step costs what its terms cost, not what the vocabulary does.
    """

    def __init__(self, terms: int, *, hidden: int, dim: int, layer: bool) -> None:
        super().__init__()
        self.terms = nn.EmbeddingBag(terms, dim, mode="sum", sparse=True)
        nn.init.zeros_(self.terms.weight)
        self.layer = (
            nn.Sequential(nn.Linear(dim, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, dim, bias=False))
            if layer
            else None
        )

    def forward(self, columns: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        """Map rows of a CSR matrix to (n, dim) float32.

        Parameters
        ----------
        columns, weights : (nnz,) int64 and float32, the terms of all queries one after another.
        starts : (n,) int64, where each query's terms begin.
        """
        vectors: Tensor = self.terms(columns, starts, per_sample_weights=weights)
        return vectors if self.layer is None else vectors + self.layer(vectors)


class CSMNetwork(nn.Module):
    """Image tower and query tower.

    Parameters
    ----------
    image_width, terms
        Columns of the image tower's input and of the query features.
    pixels
        Whether the images are pixels, for a convolutional tower.
    hidden, dim
        Sizes of hidden layers and joint space.
    direct, query_layer
        Whether the image tower has a linear path, and the query tower a hidden layer.
    normalised
        Whether vectors of images have length 1 and those of queries a length below 1.
    input_dropout, dropout
        Rates in the image tower.
    """

    def __init__(
        self,
        image_width: int,
        terms: int,
        *,
        pixels: bool,
        hidden: int,
        dim: int,
        direct: bool,
        query_layer: bool,
        normalised: bool,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.images: nn.Module
        if pixels:
            self.images = PixelTower(image_width, dim=dim, dropout=dropout)
        else:
            self.images = Tower(
                image_width,
                hidden=hidden,
                dim=dim,
                input_dropout=input_dropout,
                dropout=dropout,
                direct=direct,
            )
        self.queries = QueryTower(terms, hidden=hidden, dim=dim, layer=query_layer)
        self.normalised = normalised

    def image(self, inputs: Tensor) -> Tensor:
        """Vectors (n, dim) float32 of images (n, image_width) float32."""
        vectors: Tensor = self.images(inputs)
        return nn.functional.normalize(vectors, dim=1) if self.normalised else vectors

    def query(self, columns: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        """Vectors (n, dim) float32 of queries, given as to ``QueryTower``.

        Where vectors are normalised, one of length l becomes l / sqrt(l^2 + 1): the slope at zero, where all queries
        begin, is 1, and a query of little that is known stays short.
        """
        vectors: Tensor = self.queries(columns, starts, weights)
        if not self.normalised:
            return vectors
        return vectors / torch.sqrt(vectors.square().sum(dim=1, keepdim=True) + 1)
