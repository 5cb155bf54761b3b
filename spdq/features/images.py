"""Hardened reading of one picture: three formats, and nothing is decoded before its size is known."""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from spdq.errors import DataError, NotFoundError, SpdqError, UsageError

ImageSource = Path | str | bytes | Image.Image

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 16_000_000
MAX_SIDE = 8192


class _Strict:
    """While any thread is inside, what Pillow warns about is an error.

    ``warnings.catch_warnings`` changes the whole process: two threads in it at once could leave its filter behind, so
    the first one in enters it and the last one out leaves it. Other threads' warnings stay warnings.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings()
                self._caught.__enter__()
                # By the module that is warned about: Pillow's, or where it looks one call up, this one.
                warnings.filterwarnings("error", module=rf"PIL\b|{re.escape(__name__)}$")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_strict = _Strict()


def load_image(source: ImageSource, size: int | None = None, name: str | None = None) -> np.ndarray:
    """Decode a picture to (height, width, 3) uint8 RGB: upright by its EXIF tag, transparency on white.

    ``source`` is a path, the bytes of a file, or a PIL image (left as it is). With ``size`` the whole picture
    is squashed to size x size pixels (bicubic). Of an animation, the first frame. The content decides the
    format, not the file's ending: JPEG, PNG or WebP, at most 16 megapixels and 8192 pixels a side.

    Raises NotFoundError where the file cannot be read, and DataError, naming the picture (``name``, or the
    path), where it is no such picture, is too large, or is broken; whatever Pillow warns about counts as
    broken.
    """
    if not isinstance(source, Path | str | bytes | Image.Image):
        raise UsageError(f"expected a path, bytes or a PIL image, got {type(source).__name__}")
    name = name or _name(source)
    with _strict:
        try:
            return np.array(_rgb(source, size, name))
        except SpdqError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise DataError(
                f"{name}: is above {MAX_PIXELS // 10**6} megapixels; scale it down first"
            ) from None
        except UnidentifiedImageError:
            raise DataError(f"{name}: not a JPEG, PNG or WebP picture") from None
        except Exception as error:
            # Hostile bytes make the decoders raise nearly anything (SyntaxError, struct.error, ...).
            raise DataError(f"{name}: broken picture ({error})") from error


def load_row(images: Sequence[ImageSource], row: int, size: int | None = None) -> np.ndarray:
    """``load_image`` of one of several pictures, which is named by its row where it has no path."""
    source = images[row]
    return load_image(source, size, None if isinstance(source, Path | str) else f"image {row}")


def _name(source: ImageSource) -> str:
    if isinstance(source, Image.Image):
        return "PIL image"
    if isinstance(source, bytes):
        return f"picture of {len(source)} bytes"
    return str(source)


def _rgb(source: ImageSource, size: int | None, name: str) -> Image.Image:
    if isinstance(source, Image.Image):
        _check_size(source, name)
        return _finish(source.copy(), size, name)
    with _open(source, name) as file, Image.open(file, formats=FORMATS) as image:
        _check_size(image, name)
        if size is not None:
            # A JPEG is decoded at a fraction of its size; twice the target leaves the end to bicubic.
            image.draft(None, (2 * size, 2 * size))
        image.load()
        return _finish(image, size, name)


def _open(source: Path | str | bytes, name: str) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    try:
        # Opening a FIFO would wait for its writer.
        file = path.open("rb") if path.is_file() or not path.exists() else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise NotFoundError(f"{name}: cannot be read ({reason})") from error
    if file is None:
        raise DataError(f"{name}: not a regular file")
    return file


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height == 0:
        raise DataError(f"{name}: {width}x{height} has no pixels")
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 10**6} megapixels"
    elif max(width, height) > MAX_SIDE:
        limit = f"{MAX_SIDE} pixels a side"
    else:
        return
    raise DataError(f"{name}: {width}x{height} is above {limit}; scale it down first")


def _finish(image: Image.Image, size: int | None, name: str) -> Image.Image:
    """Upright RGB of a decoded picture that is ours to change."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("I", "F"):
        raise DataError(
            f"{name}: mode {image.mode} has no fixed range of brightness; convert it to RGB first"
        )
    if image.mode.startswith("I;16"):
        # Pillow's own conversion of 16-bit grey clips everything above 255 to white.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(image, mask=image)
        image = flat
    image = image.convert("RGB")
    return image if size is None else image.resize((size, size), Image.Resampling.BICUBIC)
