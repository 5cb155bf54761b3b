from __future__ import annotations

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from made_models import picture, trained, worded
from PIL import Image

from spdq.data import Dataset
from spdq.engine import Engine
from spdq.hits import SHOWN, SIDE, Gallery, Hit, Hits
from spdq.index import Index


@pytest.fixture
def dataset(tmp_path):
    """Three items: a wide picture and a text, a broken picture, a text that looks like HTML."""
    picture(0).resize((400, 100)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    return Dataset(
        "made",
        np.array(["a", "b", "<i>"]),
        image_features=np.zeros((3, 2), np.float32),
        texts=("a cat\nchat", "", "<script>"),
        image_paths=("0.png", "1.png", "gone.png"),
        root=tmp_path,
    )


class Read(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.images, self.tags, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.images += [value for name, value in attrs if name == "src"]

    def handle_data(self, data):
        self.text.append(data)


def test_hits_are_a_list():
    hits = Hits([Hit(1, "a", 0.5), Hit(2, "b", 0.25)])
    assert hits == [Hit(1, "a", 0.5), Hit(2, "b", 0.25)]
    assert hits[1].id == "b"


def test_a_notebook_shows_pictures_and_texts(dataset):
    hits = Hits(
        [Hit(1, "a", 0.5), Hit(2, "b", 0.25), Hit(3, "<i>", 0.125), Hit(4, "z", 0.0)], Gallery(dataset)
    )
    read = Read(hits._repr_html_())
    assert read.text == [
        "a cat",
        "1 · 0.500 · a",
        "b",
        "2 · 0.250",
        "<script>",
        "3 · 0.125 · <i>",
        "z",
        "4 · 0.000",
    ]
    assert set(read.tags) == {"div", "small", "img"}
    (image,) = read.images
    kind, _, content = image.partition(";base64,")
    assert kind == "data:image/webp"
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (SIDE, SIDE // 4)


def test_without_a_data_set_ids_are_shown():
    assert Read(Hits([Hit(1, 7, 0.5)])._repr_html_()).text == ["7", "1 · 0.500"]


def test_nothing_and_very_much():
    assert Hits([])._repr_html_() == "<p>nothing found</p>"
    page = Hits([Hit(row, row, 0.0) for row in range(SHOWN + 1000)])._repr_html_()
    assert page.count("<small>") == SHOWN
    assert page.endswith("<p>and 1,000 more</p>")


def test_a_data_set_without_pictures_and_texts_still_has_ids(dataset):
    bare = Gallery(replace(dataset, texts=None, image_paths=None, root=None))
    assert (bare.caption("a"), bare.picture("a")) == ("", "")


@pytest.mark.parametrize("given", ["dataset", "path"])
def test_the_engine_s_hits_know_the_data_set(tmp_path, given):
    model, dataset = trained(), worded()
    index = Index.create(tmp_path / "index", model.codebooks, "ip", model_fingerprint=model.fingerprint)
    index.add(model.embed_image(dataset.image_features), dataset.ids)
    dataset.save(tmp_path / "data.h5")
    engine = Engine(model, index, dataset if given == "dataset" else tmp_path / "data.h5")
    page = engine.search(text="small red", k=3)._repr_html_()
    assert page.count("small red") == 3
    assert "small red" not in Engine(model, index).search(text="small red", k=3)._repr_html_()
