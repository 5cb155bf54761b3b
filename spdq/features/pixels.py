"""Pixels as they are, for networks that learn from them end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spdq.errors import IncompatibleError, UsageError
from spdq.features.images import ImageSource, load_row

RESIZE = "squash-bicubic"
SIZES = range(8, 129, 8)
DEFAULT_SIZE = 32
CHANNELS = 3


class PixelExtractor:
    """The picture itself: size x size x 3 values (red, green, blue; row by row), byte / 255.

    Spec ``pixels:SIZE``; plain ``pixels`` is ``pixels:32``. A picture is squashed to ``size`` x ``size`` pixels
    (bicubic, nothing is cropped; a multiple of 8 from 8 to 128).
    """

    regions = 1

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size not in SIZES:
            raise _bad_size(size)
        self.size = size

    @property
    def name(self) -> str:
        """The full spec."""
        return f"pixels:{self.size}"

    @property
    def dim(self) -> int:
        return self.size**2 * CHANNELS

    @classmethod
    def from_spec(cls, argument: str | None, settings: dict[str, Any]) -> PixelExtractor:
        """Rebuild from a spec's part after the colon and the rest of ``settings()``, as far as there is one.

        Raises UsageError for a bad size or an unknown key, IncompatibleError for pixels made another way.
        """
        if unknown := sorted(set(settings) - {"resize"}):
            raise UsageError(f"unknown setting of extractor pixels: {unknown[0]!r}; known is resize")
        if (resize := settings.get("resize", RESIZE)) != RESIZE:
            raise IncompatibleError(f"extractor pixels has resize {RESIZE!r}, but {resize!r} is asked for")
        if argument is None:
            return cls()
        sizes = {str(size): size for size in SIZES}
        if argument not in sizes:
            raise _bad_size(argument)
        return cls(sizes[argument])

    def settings(self) -> dict[str, Any]:
        """All that decides the features, JSON-able; ``image_extractor(**settings)`` is the same again."""
        return {"name": self.name, "resize": RESIZE}

    def extract(
        self, images: Sequence[ImageSource], progress: Callable[[int, int], None] | None = None
    ) -> np.ndarray:
        """Pixels of n pictures (paths, bytes, PIL images), (n, dim) float32 from 0 to 1.

        Raises what ``load_image`` raises; a picture without a path is named by its row.
        """
        if isinstance(images, str | bytes | Path | Image.Image):
            raise UsageError(
                f"expected a sequence of images, got one {type(images).__name__}: put it in a list"
            )
        features = np.empty((len(images), self.dim), np.float32)
        for row in range(len(images)):
            features[row] = load_row(images, row, self.size).reshape(-1) / np.float32(255)
            if progress is not None:
                progress(row + 1, len(images))
        return features


def _bad_size(size: object) -> UsageError:
    return UsageError(
        f"extractor pixels: expected a size that is a multiple of {SIZES.step} "
        f"from {SIZES[0]} to {SIZES[-1]}, got {size!r}"
    )
