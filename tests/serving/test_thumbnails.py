from __future__ import annotations

import io
import os
from dataclasses import replace

import numpy as np
import pytest
from made_models import picture, worded
from PIL import Image

from spdq.errors import DataError, NotFoundError
from spdq.index import Index
from spdq.serving import Service, thumbnails
from spdq.serving.problems import Problem
from spdq.serving.thumbnails import Thumbnails, shrunk


@pytest.fixture
def pictured(tmp_path):
    """The made data set with three real pictures in a folder of its own."""
    (tmp_path / "root").mkdir()
    names = ("a.png", "b.png", "sub/c.png", *("missing.png",) * 57)
    (tmp_path / "root" / "sub").mkdir()
    for row, name in enumerate(names[:3]):
        picture(row).save(tmp_path / "root" / name)
    return replace(worded(), image_paths=names, root=tmp_path / "root")


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_thumbnail_is_the_picture(client, told_problem, made):
    answer = client("GET", "/v1/items/107/image")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "private, max-age=3600"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert np.abs(pixels(answer.content) - np.asarray(picture(1)).astype(int)).mean() < 8


def test_the_picture_of_a_removed_item(serving, own_index, told_problem):
    token = "0123456789abcdef"
    headers = {"authorization": f"Bearer {token}"}
    with serving(own_index, pictures=True, allow_writes=True, token=token, headers=headers) as client:
        assert client("GET", "/v1/items/107/image").status_code == 200
        told_problem(client("DELETE", "/v1/items/107"), 204)
        assert told_problem(client("GET", "/v1/items/107/image"), 404) == "no item 107"


def test_an_unchanged_thumbnail_is_not_sent_again(client):
    tag = client("GET", "/v1/items/107/image").headers["etag"]
    again = client("GET", "/v1/items/107/image", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert client("GET", "/v1/items/114/image", headers={"if-none-match": tag}).status_code == 200


@pytest.mark.parametrize("size", ["0", "63", "-64", "99999999", "x", "", "064", "x" * 999])
def test_only_some_sizes_are_made(client, told_problem, size):
    answer = client("GET", "/v1/items/107/image", params={"size": size})
    assert told_problem(answer, 422).startswith("size: expected one of 64, 128, 256, 512, got")


def test_pictures_shrink_to_their_longer_side_and_never_grow():
    file = io.BytesIO()
    Image.new("RGB", (600, 300), "red").save(file, "JPEG")
    assert pixels(shrunk(file.getvalue(), 128)).shape == (64, 128, 3)
    assert pixels(shrunk(file.getvalue(), 1024)).shape == (300, 600, 3)


def test_a_server_without_pictures(serving, told_problem):
    with serving() as client:
        assert "started without pictures" in told_problem(client("GET", "/v1/items/100/image"), 404)
        assert told_problem(client("GET", "/v1/items/100"), 200)["image"] is None


def test_a_data_set_without_pictures():
    with pytest.raises(DataError, match="made names no pictures"):
        Thumbnails(worded())


def test_pictures_of_other_ids(made, model):
    pictured = replace(made.dataset, ids=made.dataset.ids.astype(str))
    with Index.open(made.index) as index, pytest.raises(DataError, match="str ids, the index has int ids"):
        Service(index, model, Thumbnails(pictured))


def test_pictures_that_have_moved(pictured):
    small = Thumbnails(pictured)
    with pytest.raises(Problem, match="the picture of item 121 is not there any more, or is none"):
        small.of(121, 64)
    with pytest.raises(Problem, match="no picture of item 1"):
        small.of(1, 64)


@pytest.mark.parametrize("how", ["link", "folder link", "fifo", "folder", "text", "large"])
def test_only_pictures_inside_the_folder_are_read(pictured, tmp_path, monkeypatch, how):
    monkeypatch.setattr(thumbnails, "MAX_FILE_BYTES", 10_000)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("a.png", "c.png"):
        picture(0).save(outside / name)
    target = pictured.root / "a.png"
    key = 100
    target.unlink()
    if how == "link":
        target.symlink_to(outside / "a.png")
    elif how == "folder link":
        (pictured.root / "sub" / "c.png").unlink()
        (pictured.root / "sub").rmdir()
        (pictured.root / "sub").symlink_to(outside)
        key = 114
    elif how == "fifo":
        os.mkfifo(target)
    elif how == "folder":
        target.mkdir()
    elif how == "text":
        target.write_text("root:x:0:0")
    else:
        target.write_bytes(b"\0" * 10_001)
    with pytest.raises(Problem, match=f"the picture of item {key} is not there any more, or is none"):
        Thumbnails(pictured).of(key, 64)


def test_a_folder_that_is_named(pictured, tmp_path):
    """A data set may lie elsewhere than its pictures: these are shown where their folder is named, and no others."""
    elsewhere = replace(
        pictured, image_paths=tuple(f"../root/{name}" for name in pictured.image_paths), root=tmp_path / "out"
    )
    (tmp_path / "out").mkdir()
    with pytest.raises(Problem, match="the picture of item 100 is not there any more, or is none"):
        Thumbnails(elsewhere).of(100, 64)
    assert Thumbnails(elsewhere, pictured.root).of(100, 64) == Thumbnails(pictured).of(100, 64)
    with pytest.raises(Problem, match="the picture of item 100 is not there any more, or is none"):
        Thumbnails(elsewhere, pictured.root / "sub").of(100, 64)
    assert Thumbnails(elsewhere, pictured.root / "sub").of(114, 64).content
    with pytest.raises(NotFoundError, match=r"folder of pictures not found: .*no"):
        Thumbnails(elsewhere, tmp_path / "no")


def test_a_folder_reached_through_a_link_is_fine(pictured, tmp_path):
    (tmp_path / "other").symlink_to(pictured.root)
    assert Thumbnails(replace(pictured, root=tmp_path / "other")).of(114, 64).content


def test_what_was_made_is_kept_until_the_file_changes(pictured, monkeypatch):
    made = []
    monkeypatch.setattr(thumbnails, "shrunk", lambda raw, size: made.append(size) or shrunk(raw, size))
    small = Thumbnails(pictured)
    first = small.of(100, 64)
    assert small.of(100, 64) == first
    assert made == [64]
    picture(7).resize((48, 48)).save(pictured.root / "a.png")
    assert small.of(100, 64).tag != first.tag
    assert made == [64, 64]


def test_what_is_kept_has_a_bound(pictured, monkeypatch):
    made = []
    monkeypatch.setattr(thumbnails, "shrunk", lambda raw, size: made.append(size) or b"x" * 10)
    monkeypatch.setattr(thumbnails, "KEPT_BYTES", 20)
    small = Thumbnails(pictured)
    for size in (64, 128, 64, 256, 64, 128):
        small.of(100, size)
    assert made == [64, 128, 256, 128]
