from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from spdq.errors import DataError, NotFoundError, UsageError
from spdq.features.images import load_image

RED = (200, 30, 60)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG whose header promises width x height pixels and which has none of them."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def test_path_bytes_and_pil_image_are_the_same_picture(photo, tmp_path):
    path = tmp_path / "photo.png"
    photo.save(path)
    for source in (path, str(path), path.read_bytes(), photo):
        pixels = load_image(source)
        assert pixels.dtype == np.uint8
        assert pixels.flags.writeable
        np.testing.assert_array_equal(pixels, np.asarray(photo))


@pytest.mark.parametrize(("kind", "options", "tolerance"), [
    ("PNG", {}, 0),
    ("WEBP", {"lossless": True}, 0),
    ("JPEG", {"quality": 100}, 3),
])  # fmt: skip
def test_formats(kind, options, tolerance):
    pixels = load_image(encoded(Image.new("RGB", (30, 20), RED), kind, **options))
    assert pixels.shape == (20, 30, 3)
    assert np.abs(pixels.astype(int) - RED).max() <= tolerance


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
def test_modes_of_a_white_picture(mode):
    white = Image.new("RGBA", (5, 4), (255, 255, 255, 255)).convert("RGB").convert("L")
    source = (
        white.convert("RGB").convert(mode) if mode not in ("LA", "PA") else white.convert("LA").convert(mode)
    )
    assert load_image(source).min() >= 254


def test_palette_with_transparency_is_laid_on_white(tmp_path):
    image = Image.new("P", (4, 2), 0)
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 1), 1)
    pixels = load_image(encoded(image, transparency=bytes([0, 255])))
    assert tuple(pixels[1, 1]) == RED
    assert (np.delete(pixels.reshape(-1, 3), 5, axis=0) == 255).all()


def test_half_transparent_pixel_is_mixed_with_white():
    assert tuple(load_image(Image.new("RGBA", (2, 2), (0, 0, 0, 128)))[0, 0]) == (127, 127, 127)


def test_picture_is_laid_on_white_before_it_is_resized():
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # fully transparent red
    image.paste((0, 0, 255, 255), (0, 0, 31, 64))
    flat = Image.new("RGB", (64, 64), "white")
    flat.paste((0, 0, 255), (0, 0, 31, 64))
    np.testing.assert_array_equal(load_image(image, size=16), load_image(flat, size=16))


def test_cmyk_jpeg():
    source = encoded(Image.new("RGB", (16, 16), RED).convert("CMYK"), "JPEG", quality=100)
    assert np.abs(load_image(source).astype(int) - RED).max() <= 4


def test_sixteen_bit_grey_keeps_its_range():
    levels = np.array([[0, 10_000, 40_000, 65_535]], np.uint16)
    pixels = load_image(encoded(Image.fromarray(levels)))
    np.testing.assert_array_equal(pixels[0, :, 0], levels[0] >> 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation, kind):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = 255
    back = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # Image.Transpose that undoes the tag
    stored = Image.fromarray(upright)
    if back is not None:
        stored = stored.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = load_image(encoded(stored, kind, exif=exif, quality=95))
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 3


def test_resize_keeps_the_whole_picture_and_leaves_the_source_alone(photo):
    wide = Image.new("RGB", (100, 20), "white")
    wide.paste(RED, (0, 0, 10, 20))
    wide.paste((0, 0, 255), (90, 0, 100, 20))
    pixels = load_image(wide, size=50)
    assert pixels.shape == (50, 50, 3)
    assert tuple(pixels[25, 1]) == RED
    assert tuple(pixels[25, 48]) == (0, 0, 255)
    before = np.array(photo)
    load_image(photo, size=8)
    np.testing.assert_array_equal(np.asarray(photo), before)
    assert photo.size == (60, 40)


def test_large_jpeg_drafted_is_close_to_the_full_decode():
    y, x = np.mgrid[0:1200, 0:1600]
    image = Image.fromarray(np.stack([x // 7, y // 5, (x + y) // 12], axis=-1).astype(np.uint8))
    source = encoded(image, "JPEG", quality=95)
    full = Image.open(io.BytesIO(source)).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(load_image(source, size=64).astype(int) - np.asarray(full)).mean() < 1


def test_a_jpeg_called_png_is_read_by_its_content(photo, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo, "JPEG"))
    assert load_image(path).shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_refused_whatever_they_are_called(kind, photo, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo, kind))
    with pytest.raises(DataError, match=r"photo\.png: not a JPEG, PNG or WebP picture"):
        load_image(path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"]
)
def test_no_picture_at_all(content):
    with pytest.raises(DataError, match=f"picture of {len(content)} bytes: (not a|broken) "):
        load_image(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated(kind, part, photo, tmp_path):
    path = tmp_path / "cut.img"
    content = encoded(photo.resize((300, 200)), kind)
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError, match=r"cut\.img: (broken picture|not a JPEG)"):
        load_image(path)


def test_flipped_bytes_never_escape_as_another_error(photo):
    rng = np.random.default_rng(1)
    refused = 0
    for kind in ("JPEG", "PNG", "WEBP"):
        content = encoded(photo, kind)
        for _ in range(60):
            damaged = bytearray(content)
            for at in rng.integers(0, len(content), 3):
                damaged[at] = rng.integers(256)
            try:
                load_image(bytes(damaged), size=16)
            except DataError:
                refused += 1
    assert refused > 20


@pytest.mark.parametrize(("width", "height", "limit"), [
    (4000, 4001, "4000x4001 is above 16 megapixels"),
    (8193, 1, "8193x1 is above 8192 pixels a side"),
    (9500, 9500, "above 16 megapixels"),  # Pillow warns
    (20_000, 20_000, "above 16 megapixels"),  # Pillow refuses
])  # fmt: skip
def test_size_is_refused_from_the_header_alone(width, height, limit):
    with pytest.raises(DataError, match=limit):
        load_image(png_header(width, height), name="bomb")


def test_a_header_within_the_limits_is_decoded():
    with pytest.raises(DataError, match="bomb: broken picture"):
        load_image(png_header(4000, 4000), name="bomb")


def test_webp_and_pil_images_have_the_same_limits():
    wide = Image.new("RGB", (9000, 2))
    for source in (wide, encoded(wide, "WEBP"), encoded(wide, "JPEG")):
        with pytest.raises(DataError, match="9000x2 is above 8192 pixels a side"):
            load_image(source)
    with pytest.raises(DataError, match="PIL image: 0x3 has no pixels"):
        load_image(Image.new("RGB", (0, 3)))


def test_png_text_bomb_is_refused(photo):
    content = encoded(photo)
    body = b"k\0\0" + zlib.compress(b"a" * 5_000_000)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    with pytest.raises(DataError, match="Decompressed data too large"):
        load_image(content[:33] + chunk + content[33:])


def test_a_warning_counts_as_broken(photo):
    content = encoded(photo)
    body = bytes(8)  # an animation of no frames: Pillow warns and would go on
    bad = struct.pack(">I", 8) + b"acTL" + body + struct.pack(">I", zlib.crc32(b"acTL" + body))
    with pytest.raises(DataError, match=r"broken picture .*APNG"):
        load_image(content[:33] + bad + content[33:])


def test_float_and_lab_pictures():
    with pytest.raises(DataError, match="mode F has no fixed range"):
        load_image(Image.new("F", (3, 3), 0.5))
    lab = ImageCms.applyTransform(
        Image.new("RGB", (3, 3), RED),
        ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"),
    )
    assert load_image(lab).shape == (3, 3, 3)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.png: cannot be read \(No such file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(NotFoundError, match=r"cannot be read .*null byte"):
        load_image("a\0b.png")
    with pytest.raises(DataError, match="not a regular file"):
        load_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: not a regular file"):
        load_image(tmp_path / "pipe.png")


@pytest.mark.parametrize("source", [None, 3, np.zeros((2, 2, 3), np.uint8)])
def test_other_sources_are_refused(source):
    with pytest.raises(UsageError, match="expected a path, bytes or a PIL image, got"):
        load_image(source)


def test_threads_leave_the_warning_filters_as_they_were(photo):
    content = encoded(photo)
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [load_image(content) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_a_warning_of_another_thread_stays_a_warning(photo):
    """While pictures are read ahead, what the main thread warns about is no error."""
    content = encoded(photo)
    done = threading.Event()

    def read():
        while not done.is_set():
            load_image(content)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader = threading.Thread(target=read)
        reader.start()
        try:
            for _ in range(200):
                warnings.warn("of the main thread", UserWarning, stacklevel=1)
        finally:
            done.set()
            reader.join()
    assert len(caught) == 200
