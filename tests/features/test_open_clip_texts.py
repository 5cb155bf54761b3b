from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spdq.errors import IncompatibleError, MissingExtraError, NotFoundError, UsageError
from spdq.features import image_extractor, text_extractor
from spdq.features.open_clip_weights import import_open_clip

try:
    open_clip = import_open_clip()
except MissingExtraError as error:
    pytest.skip(f"open_clip is absent: {error}", allow_module_level=True)

TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TEXTS = ["a cat asleep", "two dogs", "a cat asleep on a sofa, a window, a tree, a house and a street", "木"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A network of a config made here, with weights drawn by a seed -> the file and the network."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "spdq-tiny-text.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.create_model("spdq-tiny-text").eval()
    save_file(network.state_dict(), folder / "tiny.safetensors")
    return folder / "tiny.safetensors", network


@pytest.fixture(scope="module")
def extractor(tiny):
    return text_extractor(f"open_clip:spdq-tiny-text:{tiny[0]}")


def test_features_by_hand(extractor, tiny):
    rows = extractor.extract(TEXTS)
    assert (rows.shape, rows.dtype, extractor.dim) == ((4, 24), np.float32, 24)
    tokens = open_clip.SimpleTokenizer(context_length=12)(TEXTS)
    with torch.inference_mode():
        expected = tiny[1].encode_text(tokens).numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    np.testing.assert_allclose(extractor.extract(TEXTS[::-1])[::-1], rows, atol=1e-5)


def test_settings_are_the_whole_extractor(extractor, tiny):
    stored = json.loads(json.dumps(extractor.settings()))
    digest = stored["weights_sha256"]
    assert stored == {
        "name": f"open_clip:spdq-tiny-text:{tiny[0]}#{digest[:16]}",
        "weights_sha256": digest,
        "context_length": 12,
        "quick_gelu": False,
    }
    assert digest != image_extractor(f"open_clip:spdq-tiny-text:{tiny[0]}").settings()["weights_sha256"]
    np.testing.assert_array_equal(text_extractor(**stored).extract(TEXTS), extractor.extract(TEXTS))


def test_only_the_text_tower_counts(extractor, tiny, tmp_path):
    weights = load_file(tiny[0])
    weights["visual.proj"] += 1
    weights["logit_scale"] += 1
    save_file(weights, tmp_path / "a.safetensors")
    again = text_extractor(f"open_clip:spdq-tiny-text:{tmp_path / 'a.safetensors'}")
    assert again.settings()["weights_sha256"] == extractor.settings()["weights_sha256"]
    weights["text_projection"] += 1
    save_file(weights, tmp_path / "a.safetensors")
    stored = extractor.settings()
    stored["name"] = stored["name"].replace(str(tiny[0]), str(tmp_path / "a.safetensors"))
    with pytest.raises(IncompatibleError, match="weights here have SHA-256"):
        text_extractor(**stored).extract(TEXTS)


@pytest.mark.parametrize(("spec", "error", "message"), [
    ("open_clip:ViT-B-16-SigLIP", UsageError, "its tokenizer is described at Hugging Face alone: choose a network"),
    ("open_clip:ViT-B/32", UsageError, "unknown network 'ViT-B/32': nearest are ViT-B-32"),
    ("open_clip:spdq-tiny-text:/x/a.safetensors", NotFoundError, r"no weights at /x/a\.safetensors"),
    ("open_clip", UsageError, "expected open_clip:NETWORK or open_clip:NETWORK:WEIGHTS"),
])  # fmt: skip
def test_bad_specs(tiny, spec, error, message):
    with pytest.raises(error, match=message):
        text_extractor(spec).settings()
