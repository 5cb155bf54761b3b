from __future__ import annotations

import json
import socket
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from spdq.errors import (
    DamagedError,
    DataError,
    IncompatibleError,
    MissingExtraError,
    NotFoundError,
    UsageError,
)
from spdq.features import image_extractor
from spdq.features.timm_images import import_timm

try:
    timm = import_timm()
except MissingExtraError as error:
    pytest.skip(f"timm is absent: {error}", allow_module_level=True)


def save_network(path, name="test_vit", seed=0, **sizes):
    """A network with weights drawn by a seed, saved -> the file and the network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = timm.create_model(name, pretrained=False, **sizes).eval()
    save_file(network.state_dict(), path)
    return path, network


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("weights") / "vit.safetensors")


@pytest.fixture(scope="module")
def extractor(made):
    return image_extractor(f"timm:test_vit:{made[0]}")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Five photographs of noise, of different shapes."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    files = []
    for number, shape in enumerate([(90, 160), (200, 170), (160, 160), (33, 301), (8, 8)]):
        files.append(folder / f"{number}.png")
        Image.fromarray(random.integers(0, 256, (*shape, 3), dtype=np.uint8)).save(files[-1])
    return files


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache, and every attempt to look up or reach an address."""
    attempts = []

    def refuse(*address, **_):
        attempts.append(address)
        raise OSError("refused by the test")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


def by_hand(network, path):
    """What the paper of ViT describes: the shorter side to 160 / .95 pixels, the middle, (x / 255 - mean) / std."""
    image = Image.open(path)
    short = 160 / 0.95
    width, height = image.size
    shape = [int(short), int(int(short) * height / width)] if width <= height else None
    shape = shape or [int(int(short) * width / height), int(short)]
    image = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = round((shape[0] - 160) / 2), round((shape[1] - 160) / 2)
    image = image.crop((left, top, left + 160, top + 160))
    x = torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)
    with torch.inference_mode():
        tokens = network.forward_features((x[None] - 0.5) / 0.5)
        return network.forward_head(tokens, pre_logits=True)[0].numpy()


def test_features_by_hand(extractor, made, pictures):
    rows = extractor.extract(pictures)
    assert rows.shape == (len(pictures), extractor.dim) == (5, 64)
    assert (rows.dtype, extractor.regions) == (np.float32, 1)
    for row, path in zip(rows, pictures, strict=True):
        np.testing.assert_allclose(row, by_hand(made[1], path), atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext"])
def test_convolutional_networks(pictures, tmp_path, name):
    path, network = save_network(tmp_path / "a.safetensors", name)
    extractor = image_extractor(f"timm:{name}:{path}")
    rows = extractor.extract(pictures)
    assert rows.shape == (5, network.head_hidden_size)
    np.testing.assert_array_equal(extractor.extract(pictures[3:])[0], rows[3])
    assert len(np.unique(rows.round(5), axis=0)) == 5


def test_row_is_bitwise_the_same_alone_and_in_any_company(extractor, pictures):
    rows = extractor.extract(pictures)
    np.testing.assert_array_equal(extractor.extract(pictures[::-1])[::-1], rows)
    for row, path in enumerate(pictures):
        np.testing.assert_array_equal(extractor.extract([path])[0], rows[row])
    assert extractor.extract([]).shape == (0, 64)


def test_path_bytes_and_pil_image_give_one_row(extractor, pictures):
    path = pictures[0]
    rows = extractor.extract([path, str(path), path.read_bytes(), Image.open(path)])
    assert (rows == rows[0]).all()


def test_progress(extractor, pictures):
    calls = []
    extractor.extract(pictures[:3], progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_settings_are_the_whole_extractor(extractor, made, pictures):
    stored = json.loads(json.dumps(extractor.settings()))
    digest = stored["weights_sha256"]
    assert stored == {
        "name": f"timm:test_vit.r160_in1k:{made[0]}#{digest[:16]}",
        "weights_sha256": digest,
        "input_size": [3, 160, 160],
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "crop_pct": 0.95,
        "crop_mode": "center",
    }
    for again in (image_extractor(**stored), image_extractor(stored["name"])):
        assert again.name == extractor.name
        np.testing.assert_array_equal(again.extract(pictures[:2]), extractor.extract(pictures[:2]))
        assert again.settings() == stored


def test_the_name_says_which_weights(made, tmp_path):
    path, _ = save_network(tmp_path / "vit.safetensors", seed=1)
    name = image_extractor(f"timm:test_vit:{path}").name
    save_file(made[1].state_dict(), path)
    assert image_extractor(f"timm:test_vit:{path}").name != name
    # A name that has its digest is known without reading the weights.
    path.unlink()
    assert image_extractor(name).name == name


def test_the_same_weights_in_another_file_have_the_same_digest(made, extractor, tmp_path):
    weights = {name: tensor.clone() for name, tensor in reversed(load_file(made[0]).items())}
    save_file(weights, tmp_path / "b.safetensors", metadata={"by": "hand"})
    again = image_extractor(f"timm:test_vit:{tmp_path / 'b.safetensors'}")
    assert again.settings()["weights_sha256"] == extractor.settings()["weights_sha256"]


def test_other_weights_are_refused(made, pictures, tmp_path):
    path, _ = save_network(tmp_path / "vit.safetensors", seed=1)
    stored = image_extractor(f"timm:test_vit:{path}").settings()
    save_file(made[1].state_dict(), path)
    with pytest.raises(
        IncompatibleError, match=r"weights here have SHA-256 \w{16}\.\.\., but those with \w{16}"
    ):
        image_extractor(**stored).extract(pictures[:1])
    del stored["name"]
    with pytest.raises(IncompatibleError, match="has weights_sha256"):
        image_extractor(f"timm:test_vit:{path}", **stored).settings()


def test_another_preparation_and_unknown_settings_are_refused(made, pictures):
    with pytest.raises(IncompatibleError, match=r"has crop_pct 0\.95, but 0\.5 is asked for"):
        image_extractor(f"timm:test_vit:{made[0]}", crop_pct=0.5).extract(pictures[:1])
    for unknown in ("allow_download", "network", "colour"):
        with pytest.raises(
            UsageError, match=f"unknown setting .*'{unknown}'; known are weights_sha256, input"
        ):
            image_extractor(f"timm:test_vit:{made[0]}", **{unknown: True}).extract(pictures[:1])


@pytest.mark.parametrize("classes", [0, 7])
def test_weights_with_any_number_of_classes(made, extractor, pictures, tmp_path, classes):
    _, network = save_network(tmp_path / "vit.safetensors", num_classes=classes)
    body = {name: tensor for name, tensor in made[1].state_dict().items() if not name.startswith("head.")}
    network.load_state_dict(body, strict=False)
    save_file(network.state_dict(), tmp_path / "vit.safetensors")
    again = image_extractor(f"timm:test_vit:{tmp_path / 'vit.safetensors'}")
    np.testing.assert_array_equal(again.extract(pictures), extractor.extract(pictures))


def test_weights_that_do_not_fit(made, tmp_path):
    with pytest.raises(IncompatibleError, match=r"holds other weights than this network's \(.*Missing key"):
        image_extractor(f"timm:test_vit2:{made[0]}").settings()
    weights = load_file(made[0])
    del weights["norm.weight"]
    save_file(weights, tmp_path / "a.safetensors")
    with pytest.raises(IncompatibleError, match=r'Missing key\(s\) in state_dict: "norm.weight"'):
        image_extractor(f"timm:test_vit:{tmp_path / 'a.safetensors'}").settings()


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 100, "half"])
def test_damaged_weights(made, tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(made[0].read_bytes()[:50_000] if content == "half" else content)
    with pytest.raises(DamagedError, match=r"a\.safetensors is damaged, or no safetensors file \("):
        image_extractor(f"timm:test_vit:{path}").settings()


def test_weights_in_another_form_or_nowhere(tmp_path):
    with pytest.raises(UsageError, match=r"expected weights in a file \.safetensors, got '/x/a\.pth'"):
        image_extractor("timm:test_vit:/x/a.pth").settings()
    with pytest.raises(NotFoundError, match=r"no weights at /x/a\.safetensors: put them back"):
        image_extractor("timm:test_vit:/x/a.safetensors").settings()
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(NotFoundError, match="no weights at"):
        image_extractor(f"timm:test_vit:{tmp_path / 'a.safetensors'}").settings()


def test_a_relative_file_is_named_in_full(made, monkeypatch):
    monkeypatch.chdir(made[0].parent)
    assert image_extractor("timm:test_vit:vit.safetensors").name.startswith(
        f"timm:test_vit.r160_in1k:{made[0]}#"
    )


def test_missing_weights_are_one_error_and_nothing_goes_to_the_network(no_network):
    message = (
        r"extractor timm:test_vit\.r160_in1k: its weights \(timm/test_vit\.r160_in1k, model\.safetensors\) are not in "
        r"Hugging Face's cache on this machine: allow the download \(spdq dataset import \.\.\. --allow-download\), "
        r"or name a file: timm:test_vit\.r160_in1k:FILE\.safetensors$"
    )
    for ask in (lambda e: e.name, lambda e: e.dim, lambda e: e.settings(), lambda e: e.extract([])):
        with pytest.raises(NotFoundError, match=message):
            ask(image_extractor("timm:test_vit"))
    assert no_network == []


def test_weights_that_timm_does_not_have(no_network):
    with pytest.raises(
        NotFoundError, match="timm has no weights of it at Hugging Face: name a file, timm:botnet"
    ):
        image_extractor("timm:botnet50ts_256").settings()
    assert no_network == []


@pytest.mark.parametrize(("spec", "message"), [
    ("timm", "expected timm:NETWORK or timm:NETWORK:WEIGHTS, got timm:"),
    ("timm:", "expected timm:NETWORK"),
    ("timm::a.safetensors", "expected timm:NETWORK"),
    ("timm:test_vit:", "expected timm:NETWORK or .* got timm:test_vit:"),
])  # fmt: skip
def test_bad_specs(spec, message):
    with pytest.raises(UsageError, match=message):
        image_extractor(spec)


@pytest.mark.parametrize(("network", "hint"), [
    ("resnet81", "nearest are .*resnet18"), ("resnet18.mine", "nearest are .*resnet18"), ("木", "timm.list_models"),
])  # fmt: skip
def test_unknown_networks(network, hint):
    with pytest.raises(UsageError, match=f"unknown network '{network}': {hint}"):
        image_extractor(f"timm:{network}").settings()


def test_bad_pictures_are_named(extractor, pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(pictures[0].read_bytes()[:200])
    with pytest.raises(DataError, match=r"broken\.png: broken picture"):
        extractor.extract([pictures[0], tmp_path / "broken.png"])
    with pytest.raises(DataError, match="image 1: not a JPEG"):
        extractor.extract([pictures[0], b"nonsense"])
    with pytest.raises(UsageError, match="expected a sequence of images, got one PosixPath"):
        extractor.extract(pictures[0])


def test_torch_settings_stay_as_they_are(made):
    torch.manual_seed(7)
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    image_extractor(f"timm:test_vit:{made[0]}").settings()
    assert (torch.random.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r'needs timm, .*: pip install "spdq\[timm\]"'):
        image_extractor("timm:test_vit").settings()
