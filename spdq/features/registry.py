"""Image extractors by spec, so that a data set or a model directory can say which one made its features.

A spec is a name and, after a colon, what the extractor is given: ``lite0:224``, ``lite0:224:2x2``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from spdq.errors import UsageError
from spdq.features.images import ImageSource

_EXTRACTORS = {
    "lite0": "spdq.features.lite0:Lite0Extractor",
    "pixels": "spdq.features.pixels:PixelExtractor",
}


class ImageExtractor(Protocol):
    """A frozen map from pictures to features. The same picture gives the same row, whatever its company."""

    @property
    def name(self) -> str:
        """The full spec, nothing left to a default: ``image_extractor(name)`` makes the same features."""
        ...

    @property
    def dim(self) -> int: ...

    @property
    def regions(self) -> int:
        """A row is that many equally long parts, one a region of the picture, row by row; 1: the whole picture."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; ``image_extractor(**settings)`` is the same again."""
        ...

    def extract(
        self, images: Sequence[ImageSource], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Features of n pictures, (n, dim) float32; ``progress(done, total)`` is called as rows get ready."""
        ...


def image_extractor(name: str, **settings: Any) -> ImageExtractor:
    """The image extractor of a spec: ``lite0`` or, with its argument (see its class), ``lite0:224``.

    ``settings`` are what a stored ``settings()`` holds beside the spec; each is checked.

    Raises UsageError for an unknown name, argument or setting.
    """
    home, colon, argument = name.partition(":")
    if home not in _EXTRACTORS:
        known = ", ".join(sorted(_EXTRACTORS))
        raise UsageError(f"unknown image extractor {home!r}: known are {known}")
    module, _, kind = _EXTRACTORS[home].partition(":")
    build = getattr(import_module(module), kind).from_spec
    extractor: ImageExtractor = build(argument if colon else None, settings)
    return extractor
