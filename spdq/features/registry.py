"""Image extractors by spec, so that a data set or a model directory can say which one made its features.

A spec is a name and, after a colon, what the extractor is given: ``lite0:224``, ``timm:resnet18.a1_in1k``. A package
adds a name of its own by an entry point (``spdq.features.plugins``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from spdq.features.images import ImageSource
from spdq.features.plugins import plugin_extractor

_EXTRACTORS = {
    "lite0": "spdq.features.lite0:Lite0Extractor",
    "open_clip": "spdq.features.open_clip_images:OpenClipExtractor",
    "pixels": "spdq.features.pixels:PixelExtractor",
    "timm": "spdq.features.timm_images:TimmExtractor",
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


@runtime_checkable
class Downloading(Protocol):
    """An extractor whose weights may have to come from the network."""

    def downloading(self) -> ImageExtractor:
        """The same, allowed to fetch them."""
        ...


def image_extractor(name: str, **settings: Any) -> ImageExtractor:
    """The image extractor of a spec: ``lite0`` or, with its argument (see its class), ``lite0:224``.

    ``settings`` are what a stored ``settings()`` holds beside the spec; each is checked. Nothing goes to the network,
    whatever they say; see ``downloading_image_extractor``.

    Raises UsageError for an unknown name, argument or setting.
    """
    home, colon, argument = name.partition(":")
    given = argument if colon else None
    if home not in _EXTRACTORS:
        return plugin_extractor(home, given, settings, sorted(_EXTRACTORS))
    module, _, kind = _EXTRACTORS[home].partition(":")
    build = getattr(import_module(module), kind).from_spec
    extractor: ImageExtractor = build(given, settings)
    return extractor


def downloading_image_extractor(spec: str) -> ImageExtractor:
    """As ``image_extractor``, and weights that this machine lacks are fetched from where their library has them.

    It is a function of its own so that no stored settings can ask for it. Raises as ``image_extractor``.
    """
    extractor = image_extractor(spec)
    return extractor.downloading() if isinstance(extractor, Downloading) else extractor
