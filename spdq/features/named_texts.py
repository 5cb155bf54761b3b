"""The text extractor of a model: the words of its training texts, or one of the registry by its stored settings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spdq.data.lines import line_features, line_starts, text_features
from spdq.errors import DataError
from spdq.features.registry import TextExtractor, text_extractor
from spdq.features.text_checks import check_query_text, check_texts
from spdq.features.words import WordExtractor


class NamedTexts:
    """Frozen text features by the settings of an extractor: a text -> one dense float32 row.

    A text of several lines is several descriptions of one thing: its row is the sum of its lines' rows, as long as
    these are on average. A blank text is a row of zeros. The extractor is made at the first use.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        """The extractor's full spec."""
        return str(self._settings["name"])

    @property
    def dim(self) -> int:
        return self._extractor.dim

    @cached_property
    def _extractor(self) -> TextExtractor:
        return text_extractor(**self._settings)

    def transform(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Rows of n texts, (n, dim) float32.

        Raises DataError where a text is no string, and what the extractor raises.
        """
        check_texts(texts)
        return text_features(line_features(texts, self._extractor), line_starts(texts))

    def unknown_words(self, text: str) -> list[str]:
        """None: the extractor knows no words, so it leaves none out."""
        return []

    def check_query(self, text: str) -> list[str]:
        """No unknown words; raises DataError as ``WordExtractor.check_query``, but for unknown words."""
        check_query_text(text)
        return []

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON-able values."""
        return self._settings

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> NamedTexts:
        """Rebuild from ``to_json()``. Raises DataError where it names no extractor."""
        if not isinstance(stored.get("name"), str):
            raise DataError(f"stored text extractor: name must be a spec, got {stored.get('name')!r}")
        return cls(stored)


ModelTexts: TypeAlias = WordExtractor | NamedTexts
