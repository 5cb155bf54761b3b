from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.features import image_extractor
from spdq.features.images import load_image
from spdq.features.pixels import PixelExtractor


def drawn(size=(20, 10), seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [8, 32, 64])
def test_pixels_of_the_squashed_picture(size):
    extractor = image_extractor(f"pixels:{size}")
    row = extractor.extract([drawn()])
    assert (row.shape, row.dtype) == ((1, extractor.dim), np.float32)
    expected = load_image(drawn(), size)
    np.testing.assert_array_equal(row[0].reshape(size, size, 3), expected / np.float32(255))


def test_a_picture_of_the_size_is_kept():
    picture = drawn((8, 8))
    np.testing.assert_array_equal(
        PixelExtractor(8).extract([picture])[0].reshape(8, 8, 3) * 255, np.asarray(picture)
    )


def test_colours_by_hand(tmp_path):
    """Transparent pixels are white; a path and its bytes give one row."""
    path = tmp_path / "a.png"
    Image.new("RGBA", (9, 9), (255, 0, 0, 255)).save(path)
    clear = Image.new("RGBA", (9, 9), (0, 0, 255, 0))
    rows = PixelExtractor(8).extract([path, str(path), path.read_bytes(), clear])
    np.testing.assert_array_equal(rows[0].reshape(-1, 3), [[1, 0, 0]] * 64)
    assert (rows[:3] == rows[0]).all()
    assert (rows[3] == 1).all()


def test_a_row_is_the_same_in_any_company():
    pictures = [drawn(seed=seed) for seed in range(3)]
    together = PixelExtractor().extract(pictures)
    np.testing.assert_array_equal(PixelExtractor().extract(pictures[1:2])[0], together[1])


def test_settings_make_the_same_extractor():
    extractor = image_extractor("pixels")
    again = image_extractor(**json.loads(json.dumps(extractor.settings())))
    assert again.settings() == extractor.settings() == {"name": "pixels:32", "resize": "squash-bicubic"}
    assert (again.name, again.dim, again.regions) == ("pixels:32", 3072, 1)


def test_progress_and_nothing_to_do():
    calls = []
    PixelExtractor(8).extract([drawn(), drawn()], progress=lambda *done: calls.append(done))
    assert calls == [(1, 2), (2, 2)]
    assert PixelExtractor(8).extract([]).shape == (0, 192)


@pytest.mark.parametrize("size", [0, 7, 12, 136, -8, 8.0, True, "32"])
def test_bad_sizes(size):
    with pytest.raises(UsageError, match=r"multiple of 8 from 8 to 128, got "):
        PixelExtractor(size)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: image_extractor("pixels:"), UsageError, "multiple of 8 from 8 to 128, got ''"),
    (lambda: image_extractor("pixels:032"), UsageError, "got '032'"),
    (lambda: image_extractor("pixels:32:2x2"), UsageError, "got '32:2x2'"),
    (lambda: image_extractor("pixels", colour=1), UsageError, "unknown setting of extractor pixels: 'colour'"),
    (lambda: image_extractor("pixels", resize="crop"), IncompatibleError, "but 'crop' is asked for"),
    (lambda: PixelExtractor().extract("a.png"), UsageError, "expected a sequence of images, got one str"),
    (lambda: PixelExtractor().extract([b"none"]), DataError, "image 0: not a JPEG, PNG or WebP picture"),
])  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
