"""A trained cross space mapping: images and queries in one space, learned from a click log."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from spdq.errors import DamagedError
from spdq.features.named_texts import ModelTexts
from spdq.features.words import WordExtractor
from spdq.models.config import ModelConfig
from spdq.models.inputs import InputMap
from spdq.models.model import Features, Floats
from spdq.models.network import Inputs, NetworkModel, by_batch
from spdq.networks.csm import CSMNetwork

BATCH = 128
"""Rows the network is fed at once."""


@dataclass(frozen=True, kw_only=True)
class CSMConfig(ModelConfig):
    """Settings of a cross space mapping."""

    model_type: ClassVar[str] = "csm"

    pixels: bool
    hidden: int
    dim: int
    direct: bool
    query_layer: bool
    normalised: bool


class CSMModel(NetworkModel[CSMConfig, CSMNetwork]):
    """An image tower and a query tower.

    A text is embedded as a query, straight from the features of its words: there is an input map of images only. The
    system knows no units: a unit is the mean of its image and its text, of length 1 where vectors are normalised.
    """

    config_class = CSMConfig
    title = "Cross space mapping (CSM)"
    text_extractor: WordExtractor

    @classmethod
    def build_network(
        cls,
        config: CSMConfig,
        inputs: Inputs,
        text_extractor: ModelTexts | None,
        **dropout: float,
    ) -> CSMNetwork:
        width = inputs["image"].out_width
        if config.pixels and not is_square(width):
            raise DamagedError(f"config.json: pixels is true, but {width} are no square picture")
        if not isinstance(text_extractor, WordExtractor):
            raise DamagedError("model: the vocabulary is missing. Restore it or train anew")
        return CSMNetwork(
            width,
            text_extractor.dim,
            pixels=config.pixels,
            hidden=config.hidden,
            dim=config.dim,
            direct=config.direct,
            query_layer=config.query_layer,
            normalised=config.normalised,
            **dropout,
        )

    @property
    def dim(self) -> int:
        return self.config.dim

    @property
    def text_width(self) -> int:
        return self.text_extractor.dim

    def _embed_image(self, features: Features) -> Floats:
        return image_vectors(self.network, self.dim, self.inputs["image"], features)

    def _embed_text(self, features: Features) -> Floats:
        return query_vectors(self.network, self.dim, sparse.csr_matrix(features, dtype=np.float32))

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        return units(self._embed_image(image), self._embed_text(text), self.config.normalised)


def is_square(width: int) -> bool:
    """Whether so many values are a square picture of three channels."""
    return 3 * isqrt(width // 3) ** 2 == width > 0


def query_rows(rows: sparse.csr_matrix) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of query features as the query tower takes them: columns, starts, weights."""
    columns, starts = rows.indices.astype(np.int64), rows.indptr[:-1].astype(np.int64)
    return torch.from_numpy(columns), torch.from_numpy(starts), torch.from_numpy(rows.data)


def query_vectors(network: CSMNetwork, dim: int, rows: sparse.csr_matrix) -> Floats:
    """Vectors (n, dim) of query features, CSR float32, the network in evaluation mode.

    They have length 1 where vectors are normalised; a query of terms that were never trained is the zero vector.
    """

    def embed(part: slice) -> Tensor:
        return network.query(*query_rows(rows[part]))

    vectors = by_batch(embed, rows.shape[0], dim, BATCH)
    return unit_length(vectors) if network.normalised else vectors


def image_vectors(network: CSMNetwork, dim: int, image_input: InputMap, features: Features) -> Floats:
    """Vectors (n, dim) of image features, the network in evaluation mode."""

    def embed(part: slice) -> Tensor:
        return network.image(torch.from_numpy(image_input(features[part])))

    return by_batch(embed, features.shape[0], dim, BATCH)


def units(image: Floats, text: Floats, normalised: bool) -> Floats:
    """The mean of vectors (n, dim) of images and of texts, of length 1 where vectors are normalised."""
    mean: Floats = (image + text) / np.float32(2)
    return unit_length(mean) if normalised else mean


def unit_length(vectors: Floats) -> Floats:
    """Vectors (n, dim) of length 1; zero stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
