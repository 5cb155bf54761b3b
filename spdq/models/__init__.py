"""Trained models: extractors, network and codebooks in one directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spdq.models.model import Model

__all__ = ["load_model"]


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
    from spdq.models.spdq import SPDQModel

    parts, _ = read_model(directory)
    kind = parts.config.get("model_type")
    if kind != "spdq":
        raise IncompatibleError(f"model type {kind!r} ({directory}): this version knows spdq")
    return SPDQModel.from_parts(parts)
