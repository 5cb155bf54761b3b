"""A trained SPDQ model (Shared Predictive Deep Quantization)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spdq.errors import DamagedError, DataError, UsageError
from spdq.features.named_texts import ModelTexts
from spdq.models.config import SPDQConfig
from spdq.models.directory import ModelParts
from spdq.models.model import Codes, Features, Floats
from spdq.models.network import BATCH, Inputs, NetworkModel
from spdq.models.spaces import AlignedSpace, Modality, Space, make_space
from spdq.models.stored import Tensors, under
from spdq.networks.spdq import SPDQNetwork, Tower
from spdq.quantizers.codebooks import Codebooks


class SPDQModel(NetworkModel[SPDQConfig, SPDQNetwork]):
    """Two towers and what becomes of their branches, with the paper's names where it has them.

    Parameters
    ----------
    config, inputs, network, codebooks, text_extractor, image_settings
        As in ``NetworkModel``.
    space
        The joint space that the branches are put into.
    """

    config_class = SPDQConfig
    title = "SPDQ"

    def __init__(
        self,
        config: SPDQConfig,
        inputs: Inputs,
        network: SPDQNetwork,
        codebooks: Codebooks,
        text_extractor: ModelTexts | None = None,
        image_settings: dict[str, Any] | None = None,
        *,
        space: Space,
    ) -> None:
        super().__init__(config, inputs, network, codebooks, text_extractor, image_settings)
        self.space = space

    @classmethod
    def build_network(
        cls,
        config: SPDQConfig,
        inputs: Inputs,
        text_extractor: ModelTexts | None,
        **dropout: float,
    ) -> SPDQNetwork:
        return SPDQNetwork(
            inputs["image"].out_width,
            inputs["text"].out_width,
            len(config.label_names),
            hidden=config.hidden,
            shared=config.shared,
            private=config.private,
            direct_text=config.direct_text,
            **dropout,
        )

    @property
    def dim(self) -> int:
        return self.space.dim

    def own_tensors(self) -> Tensors:
        return {f"space.{name}": tensor for name, tensor in self.space.tensors().items()}

    @classmethod
    def read_own(cls, config: SPDQConfig, parts: ModelParts) -> dict[str, Any]:
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
        return {"space": space}

    @property
    def card_facts(self) -> dict[str, Any]:
        return {"labels": len(self.config.label_names)}

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
