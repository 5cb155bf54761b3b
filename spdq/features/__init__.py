"""Frozen extractors: raw pictures and raw texts become arrays, the same way in training and at query time."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spdq.features.cache import CachedExtractor
    from spdq.features.images import ImageSource, load_image
    from spdq.features.lite0 import Lite0Extractor
    from spdq.features.named_texts import NamedTexts
    from spdq.features.registry import (
        ImageExtractor,
        TextExtractor,
        downloading_image_extractor,
        downloading_text_extractor,
        image_extractor,
        text_extractor,
    )
    from spdq.features.text_cache import CachedTextExtractor
    from spdq.features.words import WordExtractor

__all__ = [
    "CachedExtractor",
    "CachedTextExtractor",
    "ImageExtractor",
    "ImageSource",
    "Lite0Extractor",
    "NamedTexts",
    "TextExtractor",
    "WordExtractor",
    "downloading_image_extractor",
    "downloading_text_extractor",
    "image_extractor",
    "load_image",
    "text_extractor",
]

_HOMES = {
    "CachedExtractor": "cache",
    "CachedTextExtractor": "text_cache",
    "ImageExtractor": "registry",
    "ImageSource": "images",
    "Lite0Extractor": "lite0",
    "NamedTexts": "named_texts",
    "TextExtractor": "registry",
    "WordExtractor": "words",
    "downloading_image_extractor": "registry",
    "downloading_text_extractor": "registry",
    "image_extractor": "registry",
    "load_image": "images",
    "text_extractor": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
