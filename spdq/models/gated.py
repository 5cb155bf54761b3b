"""A trained gated joint embedding: units, images and texts in one space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from spdq.errors import DamagedError
from spdq.features.words import WordExtractor
from spdq.models.card import model_card
from spdq.models.config import ModelConfig
from spdq.models.directory import ModelParts
from spdq.models.inputs import InputMap
from spdq.models.model import Features, Floats, Model
from spdq.models.spaces import Modality
from spdq.models.stored import load_network, model_tensors, read_codebooks, read_input, read_words
from spdq.networks.gated import GatedNetwork
from spdq.quantizers.codebooks import Codebooks

BATCH = 512
"""Rows the network is fed at once."""


@dataclass(frozen=True, kw_only=True)
class GatedConfig(ModelConfig):
    """Settings of a gated joint embedding."""

    model_type: ClassVar[str] = "gated"

    image_input: str
    text_input: str
    hidden: int
    dim: int
    guess: float
    direct: bool

    @classmethod
    def _converted(cls, given: dict[str, Any]) -> dict[str, Any]:
        if not 0 <= given["guess"] <= 1:
            raise DamagedError(f"config.json: guess is {given['guess']}, expected a number from 0 to 1")
        if given["dim"] % 2:
            raise DamagedError(f"config.json: dim is {given['dim']}, expected an even number")
        return given


class GatedModel(Model):
    """Input maps, the network and the codebooks. Vectors have length 1.

    Parameters
    ----------
    config
        Sizes and settings.
    inputs
        Input maps of "image" and "text".
    network
        The towers and the gate.
    codebooks, words, image_settings
        As in ``Model``.
    """

    def __init__(
        self,
        config: GatedConfig,
        inputs: dict[Modality, InputMap],
        network: GatedNetwork,
        codebooks: Codebooks,
        words: WordExtractor | None = None,
        image_settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(codebooks, words, image_settings)
        self.config = config
        self.inputs = inputs
        self.network = network.eval()

    @property
    def image_width(self) -> int:
        return self.inputs["image"].in_width

    @property
    def text_width(self) -> int:
        return self.inputs["text"].in_width

    @property
    def training(self) -> dict[str, Any]:
        return self.config.training

    def _embed_image(self, features: Features) -> Floats:
        return in_batches(self.network.image, self.config.dim, self.inputs["image"](features))

    def _embed_text(self, features: Features) -> Floats:
        return in_batches(self.network.text, self.config.dim, self.inputs["text"](features))

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        parts = self._embed_image(image), self._embed_text(text)
        return in_batches(self.network.unit, self.config.dim, *parts)

    def weigh_query(
        self, vectors: Floats, modality: Modality, instance_weight: float | None = None
    ) -> Floats:
        weighted = super().weigh_query(vectors, modality, instance_weight)
        return np.asarray(weighted * self.network.query_weights(modality).numpy(), np.float32)

    def to_parts(self) -> ModelParts:
        return ModelParts(
            config=self.config.to_json(),
            tensors=model_tensors(self.network, self.inputs, self.codebooks),
            vocabulary=self.words.to_json() if self.words else None,
            preprocessor=self.image_settings,
            card=model_card(self.config, "Gated joint embedding", {}),
        )

    @classmethod
    def from_parts(cls, parts: ModelParts) -> GatedModel:
        """Rebuild a model from what was read.

        Raises
        ------
        DamagedError
            Settings and tensors do not fit together.
        """
        config = GatedConfig.from_json(parts.config)
        inputs: dict[Modality, InputMap] = {
            "image": read_input(parts, "image", config.image_input),
            "text": read_input(parts, "text", config.text_input),
        }
        with torch.device("meta"):
            network = GatedNetwork(
                inputs["image"].out_width,
                inputs["text"].out_width,
                hidden=config.hidden,
                dim=config.dim,
                guess=config.guess,
                input_dropout=0.0,
                dropout=0.0,
                direct=config.direct,
            )
        load_network(network, parts)
        codebooks = read_codebooks(parts, config.dim, config.bits)
        return cls(config, inputs, network, codebooks, read_words(parts), parts.preprocessor)


def in_batches(embed: Callable[..., Tensor], dim: int, *inputs: Floats) -> Floats:
    """What a part of a network in evaluation mode makes of rows, (n, dim) float32, some at a time."""
    vectors = np.empty((len(inputs[0]), dim), np.float32)
    with torch.inference_mode():
        for start in range(0, len(vectors), BATCH):
            rows = (torch.from_numpy(part[start : start + BATCH]) for part in inputs)
            vectors[start : start + BATCH] = embed(*rows).numpy()
    return vectors
