from __future__ import annotations

import json
import os
import shutil

import numpy as np
import numpy.testing as npt
import pytest

from spdq.data.codes import Codes
from spdq.models import load_model


@pytest.fixture(scope="module")
def model(world):
    return load_model(world.model)


@pytest.mark.parametrize("modality", ["image", "text", "unit"])
def test_a_data_set(spdq, world, model, tmp_path, modality):
    done = spdq("encode", world.model, world.data, tmp_path / "c.h5", "--modality", modality, "--json")
    assert done.code == 0, done.err
    parts = {"without_image": 0, "without_text": 0} if modality == "unit" else {}
    assert json.loads(done.out) == {
        "file": str(tmp_path / "c.h5"), "items": 48, "bits": 16, "modality": modality, **parts,
    }  # fmt: skip
    codes = Codes.load(tmp_path / "c.h5")
    assert list(codes.ids) == list(world.dataset.ids)
    assert (codes.bits, codes.modality) == (16, modality)
    assert codes.model_fingerprint == model.fingerprint
    assert codes.codebook_fingerprint == model.codebooks.fingerprint
    image, text = world.dataset.image_features, model.text_features(world.dataset.texts)
    expected = {
        "image": lambda: model.encode_image(image),
        "text": lambda: model.encode_text(text),
        "unit": lambda: model.encode_unit(image, text),
    }
    npt.assert_array_equal(codes.codes, expected[modality]())


def test_units_may_lack_a_part(spdq, world, model, tmp_path):
    shutil.copy(world.pictures / "red-bar-1.png", tmp_path / "a.png")
    records = [
        {"id": "both", "text": "red bar", "image": "a.png"},
        {"id": "text", "text": "red bar"},
        {"id": "image", "image": "a.png", "text": None},
        {"id": "unknown", "image": "a.png", "text": "xyzzy"},
    ]
    (tmp_path / "u.jsonl").write_text("\n".join(map(json.dumps, records)))
    done = spdq(
        "encode", world.model, tmp_path / "u.jsonl", tmp_path / "c.h5", "--modality", "unit", "--json"
    )
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["without_image"], said["without_text"]) == (1, 2)
    image = model.image_features([tmp_path / "a.png"])
    text = model.text_features(["red bar"])
    expected = np.concatenate(
        [
            model.encode_unit(image, text),
            model.encode_text(text),
            model.encode_image(image),
            model.encode_image(image),
        ]
    )
    npt.assert_array_equal(Codes.load(tmp_path / "c.h5").codes, expected)


def test_a_folder_of_pictures(spdq, world, model, tmp_path):
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    shutil.copy(world.pictures / "red-bar-1.png", folder / "b.png")
    shutil.copy(world.pictures / "blue-circle-2.png", folder / "more" / "a.PNG")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    done = spdq("encode", world.model, folder, tmp_path / "c.h5", "--modality", "image")
    assert done.code == 0, done.err
    codes = Codes.load(tmp_path / "c.h5")
    assert list(codes.ids) == ["b.png", "more/a.PNG"]
    rows = [list(world.dataset.ids).index(name) for name in ("red-bar-1", "blue-circle-2")]
    npt.assert_array_equal(codes.codes, model.encode_image(world.dataset.image_features[rows]))


@pytest.mark.parametrize("source", ["file", "-"])
def test_texts_a_line(spdq, world, model, tmp_path, source):
    lines = ["red circle", "a blue thing", "xyzzy"]
    content = "\r\n".join(lines)
    (tmp_path / "t.txt").write_text("\ufeff" + content, encoding="utf-8", newline="")
    name = tmp_path / "t.txt" if source == "file" else "-"
    done = spdq("encode", world.model, name, tmp_path / "c.h5", "--modality", "text", stdin=content)
    assert done.code == 0, done.err
    assert done.err == "spdq: 1 of 3 texts have no known word: nothing tells their codes apart\n"
    codes = Codes.load(tmp_path / "c.h5")
    assert (codes.ids.tolist(), codes.ids.dtype) == ([1, 2, 3], np.int64)
    npt.assert_array_equal(codes.codes, model.encode_text(model.text_features(lines)))


@pytest.mark.parametrize(("modality", "kind"), [("image", int), ("text", str), ("unit", str)])
def test_json_lines(spdq, world, model, tmp_path, modality, kind):
    names = ["red-bar-1", "black-square-3"]
    shutil.copytree(world.pictures, tmp_path / "p")
    records = [
        {"id": kind(number), "text": name.replace("-", " "), "image": f"p/{name}.png"}
        for number, name in enumerate(names)
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    done = spdq("encode", world.model, tmp_path / "x.jsonl", tmp_path / "c.h5", "--modality", modality)
    assert done.code == 0, done.err
    codes = Codes.load(tmp_path / "c.h5")
    assert codes.ids.tolist() == [kind(0), kind(1)]
    image = world.dataset.image_features[[list(world.dataset.ids).index(name) for name in names]]
    text = model.text_features([record["text"] for record in records])
    expected = {
        "image": lambda: model.encode_image(image),
        "text": lambda: model.encode_text(text),
        "unit": lambda: model.encode_unit(image, text),
    }
    npt.assert_array_equal(codes.codes, expected[modality]())


def test_json_lines_from_standard_input(spdq, world, tmp_path):
    line = json.dumps({"id": "a", "text": "red bar"})
    done = spdq("encode", world.model, "-", tmp_path / "c.h5", "--modality", "text", stdin=line)
    assert done.code == 0, done.err
    assert Codes.load(tmp_path / "c.h5").ids.tolist() == ["a"]


def test_many_items_go_in_chunks(spdq, world, model, tmp_path):
    texts = [f"{item} number {number}" for number in range(1100) for item in ("red bar",)]
    done = spdq("encode", world.model, "-", tmp_path / "c.h5", "--modality", "text", stdin="\n".join(texts))
    assert done.code == 0, done.err
    npt.assert_array_equal(Codes.load(tmp_path / "c.h5").codes, model.encode_text(model.text_features(texts)))


@pytest.mark.parametrize(
    ("name", "content", "modality", "code", "message"),
    [
        ("t.txt", "red\n \nblue", "text", 4, "t.txt line 2 is empty: expected a text in each line"),
        ("t.txt", "", "text", 4, "t.txt has no lines"),
        ("t.txt", "red", "image", 2, "t.txt has texts only: use --modality text, not image"),
        ("t.txt", b"red\n\xff\xfe", "text", 4, "t.txt line 2: not UTF-8 text"),
        ("x.jsonl", "red", "text", 4, "x.jsonl line 1: not JSON"),
        ("x.jsonl", "[" * 100_000, "text", 4, "x.jsonl line 1: not JSON"),
        ("x.jsonl", "[1]", "text", 4, 'x.jsonl line 1: expected an object with an "id"'),
        ("x.jsonl", '{"id": true, "text": "a"}', "text", 4, 'expected an object with an "id"'),
        ("x.jsonl", '{"id": 1, "text": " "}', "text", 4, 'expected "text", a string that is not empty'),
        (
            "x.jsonl",
            '{"id": 1, "text": "a", "image": 7}',
            "unit",
            4,
            'expected "image", a string that is not empty',
        ),
        ("x.jsonl", '{"id": 1, "text": null}', "unit", 4, 'line 1: a unit needs an "image" or a "text"'),
        (
            "x.jsonl",
            '{"id": 1, "text": "a"}\n{"id": "1", "text": "a"}',
            "text",
            4,
            "line 2: expected ids all",
        ),
        (
            "x.jsonl",
            '{"id": 99999999999999999999, "text": "a"}',
            "text",
            4,
            "an integer id is beyond 64 bits",
        ),
        ("x.jsonl", '{"id": 1, "text": "a"}\n{"id": 1, "text": "b"}', "text", 4, 'line 2: duplicate id "1"'),
        ("x.jsonl", '{"id": 1, "image": "no.png"}', "image", 3, "no.png: cannot be read"),
        ("in/notes.txt", "red", "image", 4, "in: no pictures (.jpg, .jpeg, .png, .webp) in this folder"),
        ("in/bad.png", "no picture", "image", 4, "bad.png: not a JPEG, PNG or WebP picture"),
        ("in/notes.txt", "red", "text", 2, "in is a folder of pictures: use --modality image, not text"),
    ],
)
def test_bad_items(spdq, world, tmp_path, name, content, modality, code, message):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = tmp_path / "in" if name.startswith("in/") else path
    done = spdq("encode", world.model, source, tmp_path / "c.h5", "--modality", modality)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("spdq: error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert os.listdir(tmp_path) == [name.split("/")[0]]


def test_features_of_another_extractor_are_refused(spdq, world, tmp_path):
    import dataclasses

    dataclasses.replace(world.dataset, image_extractor="lite0:64").save(tmp_path / "d.h5")
    done = spdq("encode", world.model, tmp_path / "d.h5", tmp_path / "c.h5", "--modality", "image")
    assert done.code == 6
    assert "image features were made by lite0:64, the model's by lite0:32" in done.err
    assert spdq("encode", world.model, tmp_path / "d.h5", tmp_path / "c.h5", "--modality", "text").code == 0
