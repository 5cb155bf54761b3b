"""Trained models: extractors, network and codebooks in one directory."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spdq.models.model import Model

__all__ = ["SYSTEMS", "load_model"]

SYSTEMS = {
    "csm": "spdq.models.csm:CSMModel",
    "gated": "spdq.models.gated:GatedModel",
    "mixer": "spdq.models.mixer:MixerModel",
    "pictures": "spdq.models.pictures:PictureModel",
    "spdq": "spdq.models.spdq:SPDQModel",
}
"""Where the model of each system is defined."""


def load_model(directory: str | os.PathLike[str]) -> Model:
    """Load a model directory, whichever system trained it.

    Raises
    ------
    NotFoundError
        The directory holds no model.
    DamagedError
        A file is missing, truncated or altered.
    IncompatibleError
        It was written by a newer version, or by a system this version does not know.
    """
    from spdq.errors import IncompatibleError
    from spdq.models.directory import read_model

    parts, _ = read_model(directory)
    kind = parts.config.get("model_type")
    if not isinstance(kind, str) or kind not in SYSTEMS:
        raise IncompatibleError(f"model type {kind!r} ({directory}): this version knows {', '.join(SYSTEMS)}")
    module, _, name = SYSTEMS[kind].partition(":")
    model: Model = getattr(import_module(module), name).from_parts(parts)
    return model
