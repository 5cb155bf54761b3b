"""What every trained model stores alike: input maps, network and codebooks as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spdq.errors import DamagedError, DataError
from spdq.features.named_texts import ModelTexts, NamedTexts
from spdq.features.words import WordExtractor
from spdq.models.directory import ModelParts
from spdq.models.inputs import InputMap, input_map
from spdq.models.spaces import Modality
from spdq.quantizers.codebooks import Codebooks

Tensors = dict[str, NDArray[Any]]


def model_tensors(network: nn.Module, inputs: Mapping[Modality, InputMap], codebooks: Codebooks) -> Tensors:
    """Tensors by name: ``network.*``, ``input.<modality>.*`` and ``codebooks.*``."""
    tensors: Tensors = {f"network.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    for modality, inputs_of in inputs.items():
        tensors |= {f"input.{modality}.{name}": tensor for name, tensor in inputs_of.tensors().items()}
    tensors |= {f"codebooks.{name}": tensor for name, tensor in codebooks.tensors().items()}
    tensors["codebooks.along"] = np.array([codebooks.along], np.float32)
    if codebooks.training_error is not None:
        tensors["codebooks.training_error"] = np.array([codebooks.training_error], np.float32)
    return tensors


def under(tensors: Mapping[str, NDArray[Any]], prefix: str) -> Tensors:
    """The tensors whose name starts with ``prefix``, which is taken off."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def read_input(parts: ModelParts, modality: Modality, kind: str) -> InputMap:
    """The input map of a modality. Raises DamagedError where its tensors do not make one of this kind."""
    try:
        return input_map(kind, under(parts.tensors, f"input.{modality}."))
    except DataError as error:
        raise DamagedError(f"model: {error}. Train anew") from error


def read_codebooks(parts: ModelParts) -> Codebooks:
    """The codebooks. Raises DamagedError where they are missing or none."""
    stored = under(parts.tensors, "codebooks.")
    error = float(stored["training_error"][0]) if "training_error" in stored else None
    along = float(stored["along"][0]) if "along" in stored else 1.0
    try:
        return Codebooks(stored["words"], "additive", along=along, training_error=error)
    except (DataError, KeyError) as problem:
        raise DamagedError(f"model: {problem}. Train anew") from problem


def read_text_extractor(parts: ModelParts) -> ModelTexts | None:
    """The extractor of raw texts, None where the model has none. Raises DamagedError."""
    try:
        if parts.text_extractor is not None:
            return NamedTexts.from_json(parts.text_extractor)
        return WordExtractor.from_json(parts.vocabulary) if parts.vocabulary is not None else None
    except DataError as error:
        raise DamagedError(f"model: {error}. Train anew") from error


def load_network(network: nn.Module, parts: ModelParts) -> None:
    """Put the stored weights into a network made on the meta device. Raises DamagedError where they do not fit."""
    state = {name: torch.from_numpy(t) for name, t in under(parts.tensors, "network.").items()}
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise DamagedError("model: the network's tensors do not fit config.json. Train anew") from error
