"""Small pictures to look at."""

from __future__ import annotations

import io

from PIL import Image

from spdq.features.images import ImageSource, load_image

MEDIA_TYPE = "image/webp"
QUALITY = 85


def shrunk(source: ImageSource, size: int) -> bytes:
    """The WebP file of a picture, at most size x size pixels; smaller ones stay as they are.

    Raises what ``load_image`` raises.
    """
    image = Image.fromarray(load_image(source))
    image.thumbnail((size, size), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return file.getvalue()
