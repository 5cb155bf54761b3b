"""What a service asks of a model: raw queries and items in, vectors out; the model may be elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spdq.engine import embed_query
from spdq.errors import SpdqError
from spdq.models.model import Model
from spdq.models.spaces import Modality

Floats = NDArray[np.float32]

_log = logging.getLogger("spdq.serving")


class RawQuery(NamedTuple):
    """A query, or a part of one."""

    modality: Modality
    content: str | bytes | Floats
    """A text, the file of a picture, or a vector (1, dim) that was embedded from one."""
    instance_weight: float | None = None


class Embedded(NamedTuple):
    """A query's vector."""

    vector: Floats
    """(1, dim), as it meets the codes."""
    unknown: list[str]
    """Words of its text that the model does not know."""


class Embedder(Protocol):
    """Embeds for a service. Its methods are for threads."""

    @property
    def fingerprint(self) -> str:
        """The model's."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it reads of texts and pictures; asked for once, before the first query, which shall not wait."""

    def embed(self, queries: Sequence[RawQuery]) -> list[Embedded | SpdqError]:
        """The vector of each query, or why there is none."""

    def embed_item(self, text: str | None, picture: bytes | None) -> Floats:
        """The vector (1, dim) of an item that has a text, a picture or both. Raises UsageError and DataError."""


class ModelEmbedder:
    """A model in this process. Each query is embedded alone: its vector does not depend on what others ask."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @property
    def fingerprint(self) -> str:
        """The model's."""
        return self._model.fingerprint

    @cached_property
    def modalities(self) -> tuple[Modality, ...]:
        """What the model reads of texts and pictures."""
        found: list[Modality] = []
        try:
            self._model.embed_text(self._model.text_features(["a"]))
            found.append("text")
        except SpdqError as error:
            _log.info("no searches by texts: %s", error)
        try:
            self._model.embed_image(self._model.image_features([Image.new("RGB", (8, 8))]))
            found.append("image")
        except SpdqError as error:
            _log.info("no searches by pictures: %s", error)
        return tuple(found)

    def embed(self, queries: Sequence[RawQuery]) -> list[Embedded | SpdqError]:
        """The vector of each query, or why there is none."""
        return [self._embedded(query) for query in queries]

    def _embedded(self, query: RawQuery) -> Embedded | SpdqError:
        modality, content, weight = query
        try:
            if isinstance(content, np.ndarray):
                return Embedded(self._model.weigh_query(content, modality, weight), [])
            return Embedded(*embed_query(self._model, modality, content, weight))
        except SpdqError as error:
            return error

    def embed_item(self, text: str | None, picture: bytes | None) -> Floats:
        """The vector (1, dim) of an item that has a text, a picture or both. Raises UsageError and DataError."""
        model = self._model
        if text is None:
            return model.embed_image(model.image_features([cast("Any", picture)]))
        model.check_query(text)
        features = model.text_features([text])
        if picture is None:
            return model.embed_text(features)
        return model.embed_unit(model.image_features([picture]), features)
