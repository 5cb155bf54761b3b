"""Frozen extractors: raw pictures and raw texts become arrays, the same way in training and at query time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spdq.features.cache import CachedExtractor
    from spdq.features.images import ImageSource, load_image
    from spdq.features.lite0 import Lite0Extractor
    from spdq.features.registry import ImageExtractor, downloading_image_extractor, image_extractor
    from spdq.features.words import WordExtractor

__all__ = [
    "CachedExtractor",
    "ImageExtractor",
    "ImageSource",
    "Lite0Extractor",
    "WordExtractor",
    "downloading_image_extractor",
    "image_extractor",
    "load_image",
]

_HOMES = {
    "CachedExtractor": "cache",
    "ImageExtractor": "registry",
    "ImageSource": "images",
    "Lite0Extractor": "lite0",
    "WordExtractor": "words",
    "downloading_image_extractor": "registry",
    "image_extractor": "registry",
    "load_image": "images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
