"""A trained SPDQ model (Shared Predictive Deep Quantization)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spdq.errors import DamagedError, DataError, UsageError
from spdq.features.words import WordExtractor
from spdq.models.card import model_card
from spdq.models.config import SPDQConfig
from spdq.models.directory import ModelParts
from spdq.models.inputs import InputMap
from spdq.models.model import Codes, Features, Floats, Model
from spdq.models.spaces import AlignedSpace, Modality, Space, make_space
from spdq.models.stored import load_network, model_tensors, read_codebooks, read_input, read_words, under
from spdq.networks.spdq import SPDQNetwork, Tower
from spdq.quantizers.codebooks import Codebooks

BATCH = 512
"""Rows a tower is fed at once."""


class SPDQModel(Model):
    """Input maps, the two towers, the joint space and the codebooks, with the paper's names where it has them.

    Parameters
    ----------
    config
        Sizes and settings.
    inputs
        Input maps of "image" and "text".
    network
        The towers.
    space
        What becomes of their branches.
    codebooks, words, image_settings
        As in ``Model``.
    """

    def __init__(
        self,
        config: SPDQConfig,
        inputs: dict[Modality, InputMap],
        network: SPDQNetwork,
        space: Space,
        codebooks: Codebooks,
        words: WordExtractor | None = None,
        image_settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(codebooks, words, image_settings)
        self.config = config
        self.inputs = inputs
        self.network = network.eval()
        self.space = space

    @property
    def image_width(self) -> int:
        return self.inputs["image"].in_width

    @property
    def text_width(self) -> int:
        return self.inputs["text"].in_width

    @property
    def training(self) -> dict[str, Any]:
        return self.config.training

    def posteriors(self, modality: Modality, features: Features) -> Floats:
        """Logits of the predictive branch, (n, labels) float32, before sigmoid or softmax."""
        return branches(self._tower(modality), self.inputs[modality](features))[1]

    def _tower(self, modality: Modality) -> Tower:
        return self.network.image if modality == "image" else self.network.text

    def _embed(self, modality: Modality, features: Features) -> Floats:
        shared, logits = branches(self._tower(modality), self.inputs[modality](features))
        return np.ascontiguousarray(self.space.vectors(modality, shared, logits), np.float32)

    def _embed_image(self, features: Features) -> Floats:
        return self._embed("image", features)

    def _embed_text(self, features: Features) -> Floats:
        return self._embed("text", features)

    def _embed_unit(self, image: Features, text: Features) -> Floats:
        units = self.space.units(self._embed_image(image), self._embed_text(text))
        return np.ascontiguousarray(units, np.float32)

    def encode_labels(self, labels: NDArray[np.uint8]) -> Codes:
        """Codes (n, M) of the labels themselves, ICM(Z l): what a database coded with its labels would hold.

        An upper bound for evaluation, never a way to index: items to be searched have no labels.

        Raises
        ------
        UsageError
            A model of another recipe than "paper", which has no prototypes Z.
        """
        if not isinstance(self.space, AlignedSpace):
            raise UsageError(
                'codes of labels exist for models of recipe "paper" only: it alone has label prototypes'
            )
        return self.codebooks.encode(self.space.label_vectors(labels))

    def weigh_query(
        self, vectors: Floats, modality: Modality, instance_weight: float | None = None
    ) -> Floats:
        weight = self.config.instance_weight if instance_weight is None else instance_weight
        return vectors * self.space.query_weights(weight)

    def to_parts(self) -> ModelParts:
        tensors = model_tensors(self.network, self.inputs, self.codebooks)
        tensors |= {f"space.{name}": tensor for name, tensor in self.space.tensors().items()}
        return ModelParts(
            config={**self.config.to_json()},
            tensors=tensors,
            vocabulary=self.words.to_json() if self.words else None,
            preprocessor=self.image_settings,
            card=model_card(self.config, "SPDQ", {"labels": len(self.config.label_names)}),
        )

    @classmethod
    def from_parts(cls, parts: ModelParts) -> SPDQModel:
        """Rebuild a model from what was read.

        Raises
        ------
        DamagedError
            Settings and tensors do not fit together.
        """
        config = SPDQConfig.from_json(parts.config)
        inputs: dict[Modality, InputMap] = {
            "image": read_input(parts, "image", config.image_input),
            "text": read_input(parts, "text", config.text_input),
        }
        try:
            space = make_space(
                "aligned" if config.recipe == "paper" else "predictive",
                config.label_sets,
                config.shared,
                config.instance_scale,
                under(parts.tensors, "space."),
            )
        except DataError as error:
            raise DamagedError(f"model: {error}. Train anew") from error
        with torch.device("meta"):
            network = build_network(config, inputs)
        load_network(network, parts)
        codebooks = read_codebooks(parts, space.dim, config.bits)
        return cls(config, inputs, network, space, codebooks, read_words(parts), parts.preprocessor)


def build_network(config: SPDQConfig, inputs: dict[Modality, InputMap]) -> SPDQNetwork:
    """An untrained network of the sizes in ``config``, without dropout."""
    return SPDQNetwork(
        inputs["image"].out_width,
        inputs["text"].out_width,
        len(config.label_names),
        hidden=config.hidden,
        shared=config.shared,
        private=config.private,
        image_dropout=0.0,
        text_dropout=0.0,
        dropout=0.0,
        direct_text=config.direct_text,
    )


def branches(tower: Tower, inputs: Floats) -> tuple[Floats, Floats]:
    """Shared (n, S) and logit (n, c) branches of a tower in evaluation mode, in batches."""
    shared, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(inputs), BATCH):
            output = tower(torch.from_numpy(inputs[start : start + BATCH]))
            shared.append(output.shared.numpy())
            logits.append(output.logits.numpy())
    if not shared:
        empty = np.empty((0, tower.shared.out_features), np.float32)
        return empty, np.empty((0, tower.classifier.out_features), np.float32)
    return np.concatenate(shared), np.concatenate(logits)
