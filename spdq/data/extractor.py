"""What an importer asks of extractors; ``spdq.features.image_extractor`` makes one of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Progress = Callable[[int, int], None]
"""Called with (items done, items in all)."""


class ImageExtractor(Protocol):
    """Anything that turns pictures into features."""

    @property
    def name(self) -> str:
        """Spec for the registry, stored with the features so that queries go through the same extractor."""

    @property
    def regions(self) -> int:
        """How many equally long parts a row has, one a region of the picture; see ``Dataset.image_regions``."""

    def extract(
        self, images: Sequence[Path | Image], progress: Progress | None = None
    ) -> npt.NDArray[np.float32]:
        """Pictures (files or PIL images) -> (n, d) float32. A broken picture is a DataError that names it."""


class TextExtractor(Protocol):
    """Anything that turns lines of text into features; ``spdq.features.text_extractor`` makes one."""

    @property
    def name(self) -> str:
        """Spec for the registry, stored as that of image features."""

    @property
    def dim(self) -> int: ...

    def extract(self, texts: Sequence[str], progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """Texts of one line, none blank -> (n, dim) float32."""
