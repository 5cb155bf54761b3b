"""What the models of all systems have alike: input maps, a network and codebooks, and how these are stored."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Self, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from spdq.errors import DamagedError
from spdq.features.named_texts import ModelTexts, NamedTexts
from spdq.features.words import WordExtractor
from spdq.models.card import model_card
from spdq.models.config import ModelConfig
from spdq.models.directory import ModelParts
from spdq.models.inputs import InputMap
from spdq.models.model import Floats, Model
from spdq.models.spaces import Modality
from spdq.models.stored import (
    Tensors,
    load_network,
    model_tensors,
    read_codebooks,
    read_input,
    read_text_extractor,
)
from spdq.quantizers.codebooks import Codebooks

C = TypeVar("C", bound=ModelConfig)
N = TypeVar("N", bound=nn.Module)
Inputs: TypeAlias = dict[Modality, InputMap]

BATCH = 512
"""Rows a network is fed at once."""


class NetworkModel(Model, Generic[C, N]):
    """A config, input maps, a network and codebooks.

    A system adds its ``config_class`` and ``title``, ``build_network``, ``dim`` and how it embeds (see ``Model``); one
    that stores more than that ``own_tensors``, ``read_own`` and ``card_facts``, too.

    Parameters
    ----------
    config
        Sizes and settings.
    inputs
        Input maps by modality.
    network
        It is put into evaluation mode.
    codebooks, text_extractor, image_settings
        As in ``Model``.
    """

    config: C
    config_class: type[C]
    title: str
    """What the model card calls it."""

    def __init__(
        self,
        config: C,
        inputs: Inputs,
        network: N,
        codebooks: Codebooks,
        text_extractor: ModelTexts | None = None,
        image_settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(codebooks, text_extractor, image_settings)
        self.config = config
        self.inputs = inputs
        self.network = network.eval()

    @classmethod
    @abstractmethod
    def build_network(
        cls, config: C, inputs: Inputs, text_extractor: ModelTexts | None, **dropout: float
    ) -> N:
        """An untrained network of these sizes; ``dropout`` are its rates for training, 0 where not given.

        Raises
        ------
        DamagedError
            Nothing can be built of these parts.
        """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Dimensions of a vector."""

    @property
    def image_width(self) -> int:
        return self.inputs["image"].in_width

    @property
    def text_width(self) -> int:
        return self.inputs["text"].in_width

    def own_tensors(self) -> Tensors:
        """Tensors that only this system stores, by name."""
        return {}

    @classmethod
    def read_own(cls, config: C, parts: ModelParts) -> dict[str, Any]:
        """Arguments that only this system's constructor takes, from what was read. Raises DamagedError."""
        return {}

    @property
    def card_facts(self) -> dict[str, Any]:
        """What the model card says beside where the model comes from."""
        return {}

    def with_codebooks(self, codebooks: Codebooks, learned_from: str | None = None) -> Self:
        other = copy.copy(self)
        training = {**self.training, "bits": codebooks.bits, "codebooks": learned_from}
        if learned_from is None:
            del training["codebooks"]
        other.config = replace(self.config, bits=codebooks.bits, training=training)
        other.codebooks = codebooks
        vars(other).pop("fingerprint", None)  # It was kept for the old ones.
        return other

    def to_parts(self) -> ModelParts:
        texts = self.text_extractor
        return ModelParts(
            config=self.config.to_json(),
            tensors=model_tensors(self.network, self.inputs, self.codebooks) | self.own_tensors(),
            vocabulary=texts.to_json() if isinstance(texts, WordExtractor) else None,
            preprocessor=self.image_settings,
            text_extractor=texts.to_json() if isinstance(texts, NamedTexts) else None,
            card=model_card(self.config, self.title, self.card_facts),
        )

    @classmethod
    def from_parts(cls, parts: ModelParts) -> Self:
        """Rebuild a model from what was read.

        Raises
        ------
        DamagedError
            Settings and tensors do not fit together.
        """
        config = cls.config_class.from_json(parts.config)
        inputs = {modality: read_input(parts, modality, kind) for modality, kind in config.inputs.items()}
        text_extractor = read_text_extractor(parts)
        own = cls.read_own(config, parts)
        with torch.device("meta"):
            network = cls.build_network(config, inputs, text_extractor)
        load_network(network, parts)
        codebooks = read_codebooks(parts)
        model = cls(config, inputs, network, codebooks, text_extractor, parts.preprocessor, **own)
        if (codebooks.dim, codebooks.bits) != (model.dim, config.bits):
            raise DamagedError(
                f"model: codebooks of {codebooks.dim} dimensions and {codebooks.bits} bits, "
                f"expected {model.dim} and {config.bits}. Train anew"
            )
        return model


Share: TypeAlias = Callable[..., Floats]
"""``share(compute, *inputs)`` is ``compute(*inputs)``, by rows and by whoever: training has others to share with."""


def whole(compute: Callable[..., Floats], *inputs: Floats) -> Floats:
    """Share with nobody."""
    return compute(*inputs)


def in_batches(embed: Callable[..., Tensor], dim: int, *inputs: Floats) -> Floats:
    """What a part of a network in evaluation mode makes of rows of tower inputs, (n, dim) float32, some at a time."""

    def part(rows: slice) -> Tensor:
        return embed(*(torch.from_numpy(each[rows]) for each in inputs))

    return by_batch(part, len(inputs[0]), dim)


def by_batch(embed: Callable[[slice], Tensor], n: int, dim: int, size: int = BATCH) -> Floats:
    """Vectors (n, dim) float32 of n rows, of which ``embed`` is asked for ``size`` at a time."""
    vectors = np.empty((n, dim), np.float32)
    with torch.inference_mode():
        for start in range(0, n, size):
            rows = slice(start, start + size)
            vectors[rows] = embed(rows).numpy()
    return vectors
