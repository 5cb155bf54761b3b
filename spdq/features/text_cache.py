"""Features of texts kept by content, so that a second run extracts only what is new."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spdq.features.cache import Store
from spdq.features.registry import TextExtractor

CHUNK = 2048
"""Texts between two writes: what a kill can lose. The more, the more have the same number of tokens."""


class CachedTextExtractor:
    """As ``CachedExtractor``, for texts: a row is known by the SHA-256 of its text and by all settings.

    The folder may be the same as that of images.
    """

    def __init__(self, extractor: TextExtractor, folder: Path) -> None:
        self._extractor = extractor
        self._folder = folder

    @property
    def name(self) -> str:
        return self._extractor.name

    @property
    def dim(self) -> int:
        return self._extractor.dim

    def settings(self) -> dict[str, Any]:
        return self._extractor.settings()

    def extract(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """Features of n texts, (n, dim) float32.

        Raises what the extractor raises, StorageError where the folder refuses, and LockedError where another process
        keeps it for over a minute.
        """
        if isinstance(texts, str):
            # One text without a list is for the extractor to refuse.
            return self._extractor.extract(texts, progress)
        features = np.empty((len(texts), self.dim), np.float32)
        # The same network makes other features of texts than of images.
        store = Store(self._folder, {**self.settings(), "of": "texts"}, self.dim)
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            inner = None if progress is None else _counting_from(start, len(texts), progress)
            features[start : start + len(chunk)] = self._rows(store, chunk, inner)
            if progress is not None:
                progress(start + len(chunk), len(texts))
        return features

    def _rows(
        self, store: Store, texts: Sequence[str], progress: Callable[[int, int], None] | None
    ) -> np.ndarray:
        keys = {text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts}
        known = store.read([*keys.values()])
        if new := [text for text, key in keys.items() if key not in known]:
            rows = [
                (keys[text], row)
                for text, row in zip(new, self._extractor.extract(new, progress), strict=True)
            ]
            store.write(rows)
            known |= dict(rows)
        return np.stack([known[keys[text]] for text in texts])


def _counting_from(
    start: int, total: int, progress: Callable[[int, int], None]
) -> Callable[[int, int], None]:
    return lambda done, _: progress(start + done, total)
