"""A trained cross space mapping: images and queries in one space, learned from a click log."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any, ClassVar

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from spdq.errors import DamagedError
from spdq.features.words import WordExtractor
from spdq.models.card import model_card
from spdq.models.config import ModelConfig
from spdq.models.directory import ModelParts
from spdq.models.inputs import InputMap
from spdq.models.model import Features, Floats, Model
from spdq.models.stored import load_network, model_tensors, read_codebooks, read_input, read_words
from spdq.networks.csm import CSMNetwork
from spdq.quantizers.codebooks import Codebooks

BATCH = 128
"""Rows the network is fed at once."""


@dataclass(frozen=True, kw_only=True)
class CSMConfig(ModelConfig):
    """Settings of a cross space mapping."""

    model_type: ClassVar[str] = "csm"

    image_input: str
    pixels: bool
    hidden: int
    dim: int
    direct: bool
    query_layer: bool
    normalised: bool


class CSMModel(Model):
    """The input map of images, the network, the extractor of queries and the codebooks.

    A text is embedded as a query. The system knows no units: a unit is the mean of its image and its text, of length 1
    where vectors are normalised.

    Parameters
    ----------
    config
        Sizes and settings.
    image_input
        What the image tower is fed.
    network
        The towers.
    codebooks, image_settings
        As in ``Model``.
    words
        Extractor of queries.
    """

    words: WordExtractor

    def __init__(
        self,
        config: CSMConfig,
        image_input: InputMap,
        network: CSMNetwork,
        codebooks: Codebooks,
        words: WordExtractor,
        image_settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(codebooks, words, image_settings)
        self.config = config
        self.image_input = image_input
        self.network = network.eval()

    @property
    def image_width(self) -> int:
        return self.image_input.in_width

    @property
    def text_width(self) -> int:
        return self.words.dim

    @property
    def training(self) -> dict[str, Any]:
        return self.config.training

    def _embed_image(self, features: Features) -> Floats:
        return image_vectors(self.network, self.config.dim, self.image_input, features)

    def _embed_text(self, features: Features) -> Floats:
        return query_vectors(self.network, self.config.dim, sparse.csr_matrix(features, dtype=np.float32))

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        return units(self._embed_image(image), self._embed_text(text), self.config.normalised)

    def to_parts(self) -> ModelParts:
        return ModelParts(
            config=self.config.to_json(),
            tensors=model_tensors(self.network, {"image": self.image_input}, self.codebooks),
            vocabulary=self.words.to_json(),
            preprocessor=self.image_settings,
            card=model_card(self.config, "Cross space mapping (CSM)", {}),
        )

    @classmethod
    def from_parts(cls, parts: ModelParts) -> CSMModel:
        """Rebuild a model from what was read.

        Raises
        ------
        DamagedError
            Settings and tensors do not fit together.
        """
        config = CSMConfig.from_json(parts.config)
        image_input = read_input(parts, "image", config.image_input)
        if config.pixels and not is_square(image_input.out_width):
            raise DamagedError(
                f"config.json: pixels is true, but {image_input.out_width} are no square picture"
            )
        words = read_words(parts)
        if words is None:
            raise DamagedError("model: the vocabulary is missing. Restore it or train anew")
        with torch.device("meta"):
            network = CSMNetwork(
                image_input.out_width,
                words.dim,
                pixels=config.pixels,
                hidden=config.hidden,
                dim=config.dim,
                direct=config.direct,
                query_layer=config.query_layer,
                normalised=config.normalised,
                input_dropout=0.0,
                dropout=0.0,
            )
        load_network(network, parts)
        codebooks = read_codebooks(parts, config.dim, config.bits)
        return cls(config, image_input, network, codebooks, words, parts.preprocessor)


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
    vectors = np.empty((rows.shape[0], dim), np.float32)
    with torch.inference_mode():
        for start in range(0, len(vectors), BATCH):
            part = network.query(*query_rows(rows[start : start + BATCH]))
            vectors[start : start + BATCH] = part.numpy()
    return unit_length(vectors) if network.normalised else vectors


def image_vectors(network: CSMNetwork, dim: int, image_input: InputMap, features: Features) -> Floats:
    """Vectors (n, dim) of image features, the network in evaluation mode."""
    vectors = np.empty((features.shape[0], dim), np.float32)
    with torch.inference_mode():
        for start in range(0, len(vectors), BATCH):
            inputs = torch.from_numpy(image_input(features[start : start + BATCH]))
            vectors[start : start + BATCH] = network.image(inputs).numpy()
    return vectors


def units(image: Floats, text: Floats, normalised: bool) -> Floats:
    """The mean of vectors (n, dim) of images and of texts, of length 1 where vectors are normalised."""
    mean: Floats = (image + text) / np.float32(2)
    return unit_length(mean) if normalised else mean


def unit_length(vectors: Floats) -> Floats:
    """Vectors (n, dim) of length 1; zero stays zero."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
