from __future__ import annotations

import json
import socket
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from spdq.errors import DamagedError, IncompatibleError, MissingExtraError, NotFoundError, UsageError
from spdq.features import image_extractor
from spdq.features.open_clip_weights import import_open_clip

try:
    open_clip = import_open_clip()
except MissingExtraError as error:
    pytest.skip(f"open_clip is absent: {error}", allow_module_level=True)

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of a config made here, with weights drawn by a seed -> the file and the network."""
    folder = tmp_path_factory.mktemp("clip")
    for name in ("spdq-tiny", "spdq-wide"):
        wide = {"embed_dim": 40} if name == "spdq-wide" else {}
        (folder / f"{name}.json").write_text(json.dumps(TINY | wide))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.create_model("spdq-tiny").eval()
    save_file(network.state_dict(), folder / "tiny.safetensors")
    return folder / "tiny.safetensors", network


@pytest.fixture(scope="module")
def extractor(tiny):
    return image_extractor(f"open_clip:spdq-tiny:{tiny[0]}")


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    shapes = [(40, 64), (64, 40), (32, 32), (9, 90)]
    return [Image.fromarray(random.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


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


def test_features_by_hand(extractor, tiny, pictures):
    rows = extractor.extract(pictures)
    assert (rows.shape, rows.dtype, extractor.dim, extractor.regions) == ((4, 24), np.float32, 24, 1)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    # 40 x 64 pixels: the shorter side to 32, then the middle.
    seen = pictures[1].resize((32, 51), Image.Resampling.BICUBIC).crop((0, 10, 32, 42))
    x = (torch.from_numpy(np.asarray(seen, np.float32) / 255).permute(2, 0, 1) - mean) / std
    with torch.inference_mode():
        np.testing.assert_allclose(rows[1], tiny[1].encode_image(x[None])[0].numpy(), atol=1e-5)


def test_row_is_bitwise_the_same_alone_and_in_any_company(extractor, pictures):
    rows = extractor.extract(pictures)
    np.testing.assert_array_equal(extractor.extract(pictures[::-1])[::-1], rows)
    np.testing.assert_array_equal(extractor.extract(pictures[2:3])[0], rows[2])


def test_settings_are_the_whole_extractor(extractor, tiny, pictures):
    stored = json.loads(json.dumps(extractor.settings()))
    digest = stored["weights_sha256"]
    assert stored == {
        "name": f"open_clip:spdq-tiny:{tiny[0]}#{digest[:16]}",
        "weights_sha256": digest,
        "size": [32, 32],
        "mode": "RGB",
        "mean": list(open_clip.OPENAI_DATASET_MEAN),
        "std": list(open_clip.OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
        "quick_gelu": False,
    }
    again = image_extractor(**stored)
    np.testing.assert_array_equal(again.extract(pictures), extractor.extract(pictures))
    assert again.settings() == stored


def test_only_the_image_tower_counts(extractor, tiny, tmp_path):
    weights = load_file(tiny[0])
    weights["text_projection"] += 1
    save_file(weights, tmp_path / "a.safetensors")
    again = image_extractor(f"open_clip:spdq-tiny:{tmp_path / 'a.safetensors'}")
    assert again.settings()["weights_sha256"] == extractor.settings()["weights_sha256"]
    weights["visual.proj"] += 1
    save_file(weights, tmp_path / "a.safetensors")
    stored = extractor.settings()
    stored["name"] = stored["name"].replace(str(tiny[0]), str(tmp_path / "a.safetensors"))
    with pytest.raises(IncompatibleError, match="weights here have SHA-256"):
        image_extractor(**stored).dim  # noqa: B018


def test_weights_that_do_not_fit_or_are_damaged(tiny, tmp_path):
    with pytest.raises(IncompatibleError, match=r"holds other weights than this network's \(.*size mismatch"):
        image_extractor(f"open_clip:spdq-wide:{tiny[0]}").settings()
    (tmp_path / "a.safetensors").write_bytes(tiny[0].read_bytes()[:9999])
    with pytest.raises(DamagedError, match=r"a\.safetensors is damaged"):
        image_extractor(f"open_clip:spdq-tiny:{tmp_path / 'a.safetensors'}").settings()
    with pytest.raises(NotFoundError, match=r"no weights at /x/a\.safetensors"):
        image_extractor("open_clip:spdq-tiny:/x/a.safetensors").settings()


@pytest.mark.parametrize(("spec", "full", "repository"), [
    ("ViT-B-32", "ViT-B-32:openai", "timm/vit_base_patch32_clip_224.openai"),
    ("ViT-B-32:LAION2B-s34b-b79k", "ViT-B-32:laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
    ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP:webli", "timm/ViT-B-16-SigLIP"),
])  # fmt: skip
def test_missing_weights_are_one_error_and_nothing_goes_to_the_network(no_network, spec, full, repository):
    message = (
        rf"extractor open_clip:{full}: its weights \({repository}, open_clip_model\.safetensors\) are not in Hugging "
        rf"Face's cache on this machine: allow the download \(.* --allow-download\), or name a file: "
        rf"open_clip:{full.partition(':')[0]}:FILE\.safetensors$"
    )
    with pytest.raises(NotFoundError, match=message):
        image_extractor(f"open_clip:{spec}").settings()
    assert no_network == []


def test_a_tag_s_weights_are_read_from_the_cache(no_network, monkeypatch, tmp_path, pictures):
    """Where Hugging Face keeps what it fetched; the tag says how pictures are prepared and which GELU is meant."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = open_clip.create_model("RN50", force_quick_gelu=True).eval()
    place = tmp_path / "hub" / "models--timm--resnet50_clip.openai"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(network.state_dict(), place / "snapshots" / ("0" * 40) / "open_clip_model.safetensors")
    extractor = image_extractor("open_clip:RN50")
    settings = extractor.settings()
    assert settings["name"].startswith("open_clip:RN50:openai#")
    assert (settings["quick_gelu"], settings["size"], extractor.dim) == (True, 224, 1024)
    prepare = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(), is_train=False)
    with torch.inference_mode():
        expected = network.encode_image(prepare(pictures[0])[None])[0].numpy()
    np.testing.assert_allclose(extractor.extract(pictures[:1])[0], expected, atol=1e-4 * abs(expected).max())
    assert no_network == []


@pytest.mark.parametrize(("spec", "message"), [
    ("ViT-B/32", "unknown network 'ViT-B/32': nearest are ViT-B-32"),
    ("hf-hub:a/b", "unknown network 'hf-hub'"),
    ("木", r"unknown network '木': open_clip\.list_models"),
    ("ViT-B-32:mine", r"expected a tag or a file \.safetensors, got 'mine'; known tags are openai, laion400m"),
    ("spdq-tiny:mine", "got 'mine'; it has no tags"),
    ("spdq-tiny", r"OpenCLIP has no weights of it: name a file, open_clip:spdq-tiny:FILE\.safetensors"),
    ("roberta-ViT-B-32", "its text tower is described at Hugging Face alone"),
])  # fmt: skip
def test_unknown_networks_and_tags(tiny, no_network, spec, message):
    with pytest.raises(UsageError, match=message):
        image_extractor(f"open_clip:{spec}").settings()
    assert no_network == []


@pytest.mark.parametrize("spec", ["open_clip", "open_clip:", "open_clip:ViT-B-32:"])
def test_bad_specs(spec):
    with pytest.raises(UsageError, match="expected open_clip:NETWORK or open_clip:NETWORK:WEIGHTS"):
        image_extractor(spec)


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtraError, match=r'needs open_clip, .*: pip install "spdq\[open-clip\]"'):
        image_extractor("open_clip:ViT-B-32").settings()
