"""A trained gated joint embedding: units, images and texts in one space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spdq.errors import DamagedError
from spdq.features.named_texts import ModelTexts
from spdq.models.config import TwoInputsConfig
from spdq.models.model import Features, Floats
from spdq.models.network import Inputs, NetworkModel, in_batches
from spdq.models.spaces import Modality
from spdq.networks.gated import GatedNetwork


@dataclass(frozen=True, kw_only=True)
class GatedConfig(TwoInputsConfig):
    """Settings of a gated joint embedding."""

    model_type: ClassVar[str] = "gated"

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


class GatedModel(NetworkModel[GatedConfig, GatedNetwork]):
    """Towers and a gate. Vectors have length 1."""

    config_class = GatedConfig
    title = "Gated joint embedding"
    network_class: ClassVar[type[GatedNetwork]] = GatedNetwork
    """An ablation has another."""

    @classmethod
    def build_network(
        cls,
        config: GatedConfig,
        inputs: Inputs,
        text_extractor: ModelTexts | None,
        **dropout: float,
    ) -> GatedNetwork:
        return cls.network_class(
            inputs["image"].out_width,
            inputs["text"].out_width,
            hidden=config.hidden,
            dim=config.dim,
            guess=config.guess,
            direct=config.direct,
            **dropout,
        )

    @property
    def dim(self) -> int:
        return self.config.dim

    def _embed_image(self, features: Features) -> Floats:
        return in_batches(self.network.image, self.dim, self.inputs["image"](features))

    def _embed_text(self, features: Features) -> Floats:
        return in_batches(self.network.text, self.dim, self.inputs["text"](features))

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        parts = self._embed_image(image), self._embed_text(text)
        return in_batches(self.network.unit, self.dim, *parts)

    def weigh_query(
        self, vectors: Floats, modality: Modality, instance_weight: float | None = None
    ) -> Floats:
        """As ``Model.weigh_query``; ``instance_weight`` is that of the half that a query guesses.

        Little is right where units are searched, about .5 where texts alone or images alone are.
        """
        weights = self.network.query_weights(modality, instance_weight).numpy()
        return np.asarray(vectors * weights, np.float32)
