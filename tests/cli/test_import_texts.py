"""From pictures with texts, read by an extractor that was named, to hits; and what can go wrong on the way."""

from __future__ import annotations

import json
import sys

import made_folder
import made_models
import made_plugins
import numpy as np
import pytest

from spdq.data import Dataset
from spdq.features import NamedTexts, text_extractor

FOLDER = ("dataset", "import", "folder")
SMALL = ("--extractor", "pixels:8")


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(made_plugins.install_lengths(tmp_path / "site"))
    yield
    sys.modules.pop("my_lengths", None)


def test_from_texts_to_hits(spdq, tmp_path):
    source, worded = tmp_path / "mine", made_models.worded()
    source.mkdir()
    lines = []
    for row, text in enumerate(worded.texts):
        made_models.picture(row).save(source / f"{row}.png")
        lines.append({"file_name": f"{row}.png", "text": text, "labels": [made_models.COLOURS[row % 3]]})
    (source / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    file, model, index = (tmp_path / name for name in ("x.h5", "model", "index"))
    options = (*SMALL, "--text-extractor", "letters:36", "--cache", tmp_path / "cache")
    done = spdq(*FOLDER, source, file, *options, "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["text_extractor"] == "letters:36"
    assert said["text_features"] == {"dim": 36, "dtype": "float32", "sparse": False}
    assert len(list((tmp_path / "cache").glob("*.sqlite"))) == 2, "one of pictures, one of texts"
    made = Dataset.load(file)
    assert made.line_features.shape == (120, 36)
    np.testing.assert_allclose(
        made.text_features,
        NamedTexts(text_extractor("letters:36").settings()).transform(worded.texts),
        atol=1e-6,
    )
    done = spdq("train", file, model, "--bits", "16", "--seed", "3", "-q")
    assert done.code == 0, done.err
    done = spdq("index", "build", index, file, "--model", model)
    assert done.code == 0, done.err
    done = spdq("search", index, "--text", "large blue zyzzyva", "-k", "5", "--json")
    assert (done.code, done.err) == (0, ""), "no word is unknown"
    hits = [int(hit["id"].partition(".")[0]) for hit in json.loads(done.out)["hits"]]
    assert [row % 3 for row in hits].count(2) >= 3
    done = spdq("search", index, "--text", " ")
    assert (done.code, "empty query text: give at least one word" in done.err) == (4, True)
    done = spdq("evaluate", model, file, "--json")
    assert (done.code, json.loads(done.out)["text_queries"]) == (0, "first line of text")
    again = spdq(*FOLDER, source, tmp_path / "y.h5", *options)
    assert again.code == 0, again.err
    assert (tmp_path / "y.h5").read_bytes() == file.read_bytes()


def test_words_are_the_default_and_leave_the_file_as_it_was(spdq, tmp_path):
    source = made_folder.image_folder(tmp_path / "mine")
    for name, options in (("a.h5", ()), ("b.h5", ("--text-extractor", "tfidf"))):
        done = spdq(*FOLDER, source, tmp_path / name, *SMALL, *options)
        assert done.code == 0, done.err
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    made = Dataset.load(tmp_path / "a.h5")
    assert (made.text_features, made.text_extractor, made.line_features) == (None, None, None)


def test_tables(spdq, tmp_path):
    source = made_folder.image_folder(tmp_path / "mine", "csv")
    done = spdq(
        "dataset",
        "import",
        "table",
        source / "metadata.csv",
        tmp_path / "x.h5",
        *SMALL,
        "--text-extractor",
        "lengths:2",
    )
    assert done.code == 0, done.err
    made = Dataset.load(tmp_path / "x.h5")
    np.testing.assert_array_equal(made.text_features[1:], [[30, 1], [14, 1], [0, 0], [20, 1]])
    np.testing.assert_array_equal(made.line_features[:2], [[10, 1], [18, 1]])


def test_pictures_without_a_text(spdq, tmp_path):
    source = tmp_path / "mine"
    source.mkdir()
    for row in range(4):
        made_models.picture(row).save(source / f"{row}.png")
    done = spdq(*FOLDER, source, tmp_path / "x.h5", *SMALL, "--text-extractor", "lengths:2")
    assert (done.code, "no item has a text, so there is nothing for lengths:2" in done.err) == (0, True)
    assert Dataset.load(tmp_path / "x.h5").text_extractor is None


@pytest.mark.parametrize(("spec", "code", "message"), [
    ("木", 2, "unknown text extractor '木': known are changed, lengths, letters, open_clip, sent"),
    ("tfidf:binary", 2, "it is tfidf alone"),
    ("sentence-transformers:", 2, "expected sentence-transformers:NAME or sentence-transformers:FOLDER"),
    ("sentence-transformers:/x/gone", 3, "no such folder: put it back, or name another"),
    ("sentence-transformers:made/none", 3, "allow the download (spdq dataset import ... --allow-download), or name a "
                                           "folder: sentence-transformers:FOLDER"),
])  # fmt: skip
def test_what_is_missing_is_said_before_the_work(spdq, tmp_path, monkeypatch, spec, code, message):
    if code == 3:
        pytest.importorskip("huggingface_hub", reason="huggingface_hub is absent")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    source = made_folder.image_folder(tmp_path / "mine")
    (source / "tree.png").write_bytes(b"no picture: nobody looks at it")
    done = spdq(*FOLDER, source, tmp_path / "x.h5", *SMALL, "--text-extractor", spec)
    assert (done.code, message in done.err, len(done.err.splitlines())) == (code, True, 1), done.err


def test_a_missing_extra(spdq, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    source = made_folder.image_folder(tmp_path / "mine")
    done = spdq(
        *FOLDER, source, tmp_path / "x.h5", *SMALL, "--text-extractor", "sentence-transformers:made/none"
    )
    assert 'pip install "spdq[sentence-transformers]"' in done.err
    assert done.code != 0


def test_downloads_are_allowed_where_that_is_said(spdq, tmp_path):
    source = made_folder.image_folder(tmp_path / "mine")
    options = (*SMALL, "--text-extractor", "lengths:2", "--allow-download")
    assert spdq(*FOLDER, source, tmp_path / "x.h5", *options).code == 0
    assert Dataset.load(tmp_path / "x.h5").text_extractor == "lengths:2"
