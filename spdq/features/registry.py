"""Image extractors by name, so that a data set or a model directory can say which one made its features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from spdq.errors import UsageError
from spdq.features.images import ImageSource

_EXTRACTORS = {"lite0": "spdq.features.lite0:Lite0Extractor"}


class ImageExtractor(Protocol):
    """A frozen map from pictures to features. The same picture gives the same row, whatever its company."""

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; ``image_extractor(**settings)`` is the same again."""
        ...

    def extract(
        self, images: Sequence[ImageSource], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Features of n pictures, (n, dim) float32; ``progress(done, total)`` is called as rows get ready."""
        ...


def image_extractor(name: str, **settings: Any) -> ImageExtractor:
    """The image extractor called ``name``; ``settings`` are its own (see its class), checked strictly.

    Raises UsageError for an unknown name or setting.
    """
    if name not in _EXTRACTORS:
        known = ", ".join(sorted(_EXTRACTORS))
        raise UsageError(f"unknown image extractor {name!r}: known are {known}")
    module, _, kind = _EXTRACTORS[name].partition(":")
    extractor: ImageExtractor = getattr(import_module(module), kind).from_settings(settings)
    return extractor
