"""Extractors of images and of texts by spec, so that a data set or a model can say which one made its features.

A spec is a name and, after a colon, what the extractor is given: ``lite0:224``, ``timm:resnet18.a1_in1k``,
``sentence-transformers:all-MiniLM-L6-v2``. A package adds a name of its own by an entry point
(``spdq.features.plugins``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np

from spdq.errors import UsageError
from spdq.features.images import ImageSource
from spdq.features.plugins import Kind, plugin_extractor

TFIDF = "tfidf"
"""The text extractor without a network, ``WordExtractor``: fitted in training, so not one to be made by its name."""
_HOMES: dict[Kind, dict[str, str]] = {
    "image": {
        "lite0": "spdq.features.lite0:Lite0Extractor",
        "open_clip": "spdq.features.open_clip_images:OpenClipExtractor",
        "pixels": "spdq.features.pixels:PixelExtractor",
        "timm": "spdq.features.timm_images:TimmExtractor",
    },
    "text": {
        "open_clip": "spdq.features.open_clip_texts:OpenClipTextExtractor",
        "sentence-transformers": "spdq.features.sentence_texts:SentenceExtractor",
    },
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


class TextExtractor(Protocol):
    """A frozen map from lines of text to dense features. A row may depend on the other texts by rounding alone."""

    @property
    def name(self) -> str:
        """The full spec, nothing left to a default: ``text_extractor(name)`` makes the same features."""
        ...

    @property
    def dim(self) -> int: ...

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; ``text_extractor(**settings)`` is the same again."""
        ...

    def extract(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Features of n texts of one line, none of them blank, (n, dim) float32."""
        ...


@runtime_checkable
class Downloading(Protocol):
    """An extractor whose weights may have to come from the network."""

    def downloading(self) -> Any:
        """The same, allowed to fetch them."""
        ...


def image_extractor(name: str, **settings: Any) -> ImageExtractor:
    """The image extractor of a spec: ``lite0`` or, with its argument (see its class), ``lite0:224``.

    ``settings`` are what a stored ``settings()`` holds beside the spec; each is checked. Nothing goes to the network,
    whatever they say; see ``downloading_image_extractor``.

    Raises UsageError for an unknown name, argument or setting.
    """
    extractor: ImageExtractor = _made("image", name, settings)
    return extractor


def downloading_image_extractor(spec: str) -> ImageExtractor:
    """As ``image_extractor``, and weights that this machine lacks are fetched from where their library has them.

    It is a function of its own so that no stored settings can ask for it. Raises as ``image_extractor``.
    """
    extractor = image_extractor(spec)
    return extractor.downloading() if isinstance(extractor, Downloading) else extractor


def text_extractor(name: str, **settings: Any) -> TextExtractor:
    """The text extractor of a spec: ``sentence-transformers:all-MiniLM-L6-v2``. The rest is as ``image_extractor``.

    Raises UsageError also for ``tfidf``, which training makes of its texts.
    """
    if name.partition(":")[0] == TFIDF:
        way = "leave text features out of the data set" if name == TFIDF else f"it is {TFIDF} alone"
        raise UsageError(f"text extractor {name!r} is made in training, of the texts that are there: {way}")
    extractor: TextExtractor = _made("text", name, settings)
    return extractor


def downloading_text_extractor(spec: str) -> TextExtractor:
    """As ``downloading_image_extractor``, for a text extractor."""
    extractor = text_extractor(spec)
    return extractor.downloading() if isinstance(extractor, Downloading) else extractor


def _made(kind: Kind, name: str, settings: dict[str, Any]) -> Any:
    home, colon, argument = name.partition(":")
    given = argument if colon else None
    homes = _HOMES[kind]
    if home not in homes:
        known = [*homes, TFIDF] if kind == "text" else [*homes]
        return plugin_extractor(kind, home, given, settings, known)
    module, _, made = homes[home].partition(":")
    return getattr(import_module(module), made).from_spec(given, settings)
