from __future__ import annotations

import hashlib
import json
import os
import resource
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save

from spdq.errors import DamagedError, IncompatibleError, NotFoundError, StorageError
from spdq.models.directory import (
    CARD,
    CONFIG,
    MAX_CONFIG_BYTES,
    PREPROCESSOR,
    TEXT_EXTRACTOR,
    VOCABULARY,
    WEIGHTS,
    ModelParts,
    canonical_json,
    complete_config,
    fingerprint,
    read_model,
    write_bytes,
    write_model,
)

PARTS = ModelParts(
    config={"model_type": "spdq", "bits": 64, "name": "Köln 猫", "rate": 0.1},
    tensors={
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3),
        "scale": np.array(2.5, np.float32),
        "columns": np.array([3, -1, 2**31 - 1], np.int32),
        "starts": np.array([0, 2**40], np.int64),
        "log": np.array([1], np.uint8),
        "empty": np.zeros((0, 4), np.float32),
    },
    vocabulary={"words": ["gato", "猫"], "idf": [1.5, 0.1]},
    preprocessor={"name": "lite0:32"},
    text_extractor={"name": "sentence-transformers:net#0123456789abcdef", "max_tokens": 16},
    card="# A model\n",
)
FILES = {CONFIG, WEIGHTS, VOCABULARY, PREPROCESSOR, TEXT_EXTRACTOR, CARD}
HASHED = (WEIGHTS, VOCABULARY, PREPROCESSOR, TEXT_EXTRACTOR)


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "model", PARTS)
    return tmp_path / "model"


def rehash(folder, **changes):
    """Change the config, and its hashes to those of the files there are: a forger would."""
    config = json.loads((folder / CONFIG).read_bytes())
    config["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in config["files"]
    }
    (folder / CONFIG).write_text(json.dumps(config | changes))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_tensors(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        np.testing.assert_array_equal(found[name], tensor)


def test_round_trip(folder):
    assert set(content(folder)) == FILES
    parts, mark = read_model(folder)
    assert_same_tensors(parts.tensors, PARTS.tensors)
    assert parts.vocabulary == PARTS.vocabulary
    assert parts.preprocessor == PARTS.preprocessor
    assert parts.text_extractor == PARTS.text_extractor
    assert PARTS.config.items() <= parts.config.items()
    assert mark == fingerprint(complete_config(PARTS)[0])
    assert (folder / CARD).read_text() == PARTS.card


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text("abc.é", min_size=1, max_size=8),
        arrays.arrays(
            st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8]),
            arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
            elements=st.integers(0, 100),
        ),
        max_size=4,
    )
)
def test_any_tensors_come_back(tmp_path_factory, tensors):
    folder = tmp_path_factory.mktemp("any") / "model"
    write_model(folder, ModelParts({}, tensors, None, None))
    assert_same_tensors(read_model(folder)[0].tensors, tensors)


def test_transposed_tensors_come_back(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write_model(tmp_path / "m", ModelParts({}, {"turned": turned}, None, None))
    np.testing.assert_array_equal(read_model(tmp_path / "m")[0].tensors["turned"], turned)


def test_absent_extractors(tmp_path):
    write_model(tmp_path / "m", ModelParts({}, {}, None, None))
    parts, _ = read_model(tmp_path / "m")
    assert parts.tensors == {}
    assert parts.vocabulary is None
    assert parts.preprocessor is None
    assert parts.text_extractor is None


def test_the_same_model_has_the_same_bytes(folder, tmp_path):
    write_model(tmp_path / "again", PARTS)
    assert content(tmp_path / "again") == content(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {**PARTS.config, "bits": 32}},
        {"tensors": PARTS.tensors | {"log": np.array([0], np.uint8)}},
        {"tensors": PARTS.tensors | {"log": np.array([1], np.int32)}},
        {"vocabulary": None},
        {"preprocessor": {"name": "lite0:64"}},
        {"text_extractor": None},
    ],
)
def test_whatever_decides_the_output_is_in_the_fingerprint(change):
    other = ModelParts(**(vars(PARTS) | change))
    assert fingerprint(complete_config(other)[0]) != fingerprint(complete_config(PARTS)[0])


def test_the_card_is_not_in_the_fingerprint():
    other = ModelParts(**(vars(PARTS) | {"card": "# Another text\n"}))
    assert fingerprint(complete_config(other)[0]) == fingerprint(complete_config(PARTS)[0])


def test_canonical_json():
    assert canonical_json({"b": [1, 2.5], "a": "猫"}) == '{"a":"猫","b":[1,2.5]}'.encode()


@pytest.mark.parametrize("kind", ["absent", "empty", "file"])
def test_no_model(tmp_path, kind):
    if kind == "empty":
        (tmp_path / "m").mkdir()
    elif kind == "file":
        (tmp_path / "m").write_bytes(b"")
    with pytest.raises(NotFoundError, match=r"no model in .*/m: config\.json is missing\. Train one with"):
        read_model(tmp_path / "m")


def test_no_config(folder):
    (folder / CONFIG).unlink()
    with pytest.raises(NotFoundError, match=r"no model in .*: config\.json is missing"):
        read_model(folder)


@pytest.mark.parametrize("name", HASHED)
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(
        DamagedError, match=f"cannot read .*{name}: No such file or directory. Restore it or train"
    ):
        read_model(folder)


@pytest.mark.parametrize("name", HASHED)
def test_a_folder_in_place_of_a_file(folder, name):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(DamagedError, match=f"cannot read .*{name}: Is a directory"):
        read_model(folder)


@pytest.mark.parametrize("name", HASHED)
def test_a_flipped_cut_or_longer_file(folder, name):
    """A bit of every byte in turn, and shorter lengths."""
    whole = (folder / name).read_bytes()
    wrong = [whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :] for at in range(len(whole))]
    wrong += [whole[:at] for at in (0, 1, 8, len(whole) // 2, len(whole) - 1)] + [whole + b"\0"]
    for damaged in wrong:
        (folder / name).write_bytes(damaged)
        with pytest.raises(DamagedError, match=rf"checksum mismatch \(.*{name}\)\. Restore it or train anew"):
            read_model(folder)


def test_a_flipped_byte_of_the_config(folder):
    """Nothing hashes the config; what a flip leaves readable is another model to every index."""
    whole = (folder / CONFIG).read_bytes()
    _, mark = read_model(folder)
    refused = 0
    for at in range(len(whole)):
        (folder / CONFIG).write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            changed = read_model(folder)[1]
        except (DamagedError, IncompatibleError):
            refused += 1
        else:
            assert changed != mark
    assert refused > len(whole) / 2


def test_a_cut_config(folder):
    whole = (folder / CONFIG).read_bytes()
    for at in [*range(0, len(whole), 7), len(whole) - 1]:
        (folder / CONFIG).write_bytes(whole[:at])
        with pytest.raises(
            DamagedError, match=r"not valid JSON \(.*config\.json\)\. Restore it or train anew"
        ):
            read_model(folder)


def test_the_card_may_change(folder):
    _, mark = read_model(folder)
    (folder / CARD).unlink()
    assert read_model(folder)[1] == mark


@pytest.mark.parametrize("text", ["[1]", "3", "null", '"spdq"'])
@pytest.mark.parametrize("name", [CONFIG, VOCABULARY, PREPROCESSOR])
def test_no_json_object(folder, name, text):
    (folder / name).write_text(text)
    if name != CONFIG:
        rehash(folder)
    with pytest.raises(
        DamagedError, match=rf"expected a JSON object \(.*{name}\)\. Restore it or train anew"
    ):
        read_model(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b"\0" * 50])
@pytest.mark.parametrize("name", [CONFIG, VOCABULARY])
def test_no_json(folder, name, text):
    (folder / name).write_bytes(text)
    if name != CONFIG:
        rehash(folder)
    with pytest.raises(DamagedError, match=rf"not valid JSON \(.*{name}\)\. Restore it or train anew"):
        read_model(folder)


def test_an_oversized_config_is_not_read(folder):
    with open(folder / CONFIG, "r+b") as file:
        file.truncate(MAX_CONFIG_BYTES + 1)
    with pytest.raises(DamagedError, match=rf"16777217 bytes, at most 16777216 are possible \(.*{CONFIG}\)"):
        read_model(folder)


def test_oversized_weights_are_not_read(folder):
    os.truncate(folder / WEIGHTS, (2 << 30) + 1)
    with pytest.raises(DamagedError, match="2147483649 bytes, at most 2147483648 are possible"):
        read_model(folder)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_format_version(folder, version):
    rehash(folder, format_version=version)
    with pytest.raises(
        IncompatibleError,
        match=f"model format {version!r} .*: this version reads format 1. Use the version that wrote it, or train",
    ):
        read_model(folder)


@pytest.mark.parametrize("changes", [{"files": []}, {"tensors": None}, {"files": {}}])
def test_no_list_of_files(folder, changes):
    rehash(folder, **changes)
    with pytest.raises(
        DamagedError, match=r"no list of files and tensors \(.*config\.json\)\. Restore it or"
    ):
        read_model(folder)


@pytest.mark.parametrize("text", [b"", b"\0" * 8, b"\xff" * 40, b"not tensors at all"])
def test_no_safetensors(folder, text):
    (folder / WEIGHTS).write_bytes(text)
    rehash(folder)
    with pytest.raises(
        DamagedError, match=rf"not a safetensors file \(.*{WEIGHTS}\)\. Restore it or train anew"
    ):
        read_model(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"more": np.ones(1, np.float32)}, "more"),
        ({"log": np.ones(2, np.uint8)}, "log"),
        ({"log": np.ones(1, np.int32)}, "log"),
        ({"scale": np.ones(1, np.float32)}, "scale"),
    ],
)
def test_other_tensors_than_the_config_says(folder, changes, named):
    (folder / WEIGHTS).write_bytes(save(PARTS.tensors | changes))
    rehash(folder)
    with pytest.raises(DamagedError, match=rf"tensors differ from config\.json: {named} \(.*{WEIGHTS}\)"):
        read_model(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(folder, value):
    weights = PARTS.tensors["weights"].copy()
    weights[1, 2] = value
    (folder / WEIGHTS).write_bytes(save(PARTS.tensors | {"weights": weights}))
    rehash(folder)
    with pytest.raises(DamagedError, match=r"tensor weights has NaN or infinite values \(.*\)\. Train anew"):
        read_model(folder)


@contextmanager
def files_up_to(n_bytes):
    """The system refuses to write more than this to one file, as a full disk or a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("refused", sorted(FILES))
def test_a_refusal_at_any_file_leaves_the_old_model(folder, refused):
    """The file that is refused is the longest, by far."""
    before = content(folder)
    long = "x" * 100_000
    changes = {
        CONFIG: {"config": {"name": long}},
        WEIGHTS: {"tensors": {"weights": np.ones(30_000, np.float32)}},
        VOCABULARY: {"vocabulary": {"words": [long]}},
        PREPROCESSOR: {"preprocessor": {"name": long}},
        TEXT_EXTRACTOR: {"text_extractor": {"name": long}},
        CARD: {"card": long},
    }[refused]
    with (
        files_up_to(50_000),
        pytest.raises(StorageError, match=r"cannot write the model: File too large \(.*model\)"),
    ):
        write_model(folder, ModelParts(**(vars(PARTS) | changes)))
    assert content(folder) == before
    read_model(folder)


def test_a_refusal_leaves_no_model_where_there_was_none(tmp_path):
    with files_up_to(200), pytest.raises(StorageError, match="cannot write the model: File too large"):
        write_model(tmp_path / "m", PARTS)
    assert content(tmp_path / "m") == {}


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "m").write_bytes(b"mine")
    with pytest.raises(StorageError, match=r"cannot write the model: File exists \(.*/m\)"):
        write_model(tmp_path / "m", PARTS)
    with pytest.raises(StorageError, match=r"cannot write the model: Not a directory \(.*/m/deeper\)"):
        write_model(tmp_path / "m" / "deeper", PARTS)
    assert content(tmp_path) == {"m": b"mine"}


def test_writing_over_a_model_replaces_it(folder):
    write_model(folder, ModelParts({"bits": 8}, {}, None, None))
    parts, _ = read_model(folder)
    assert parts.config["bits"] == 8
    assert parts.vocabulary is None
    assert parts.tensors == {}


def test_write_bytes_writes_all_or_nothing(tmp_path):
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with files_up_to(10), pytest.raises(OSError, match="File too large"):
        write_bytes(path, b"n" * 100)
    assert content(tmp_path) == {"file": b"old"}
    write_bytes(path, b"new")
    assert content(tmp_path) == {"file": b"new"}
