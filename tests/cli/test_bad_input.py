"""Every kind of bad input, at the command it reaches: one line, its exit code, nothing left behind."""

from __future__ import annotations

import dataclasses
import os
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from spdq.models import load_model


@pytest.fixture(scope="module")
def bad(world, tmp_path_factory, write_plain):
    """A folder with one bad thing of each kind."""
    folder = tmp_path_factory.mktemp("bad")
    whole = world.data.read_bytes()
    (folder / "truncated.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "text.h5").write_text("id,text\n" * 200)
    ids, features = np.arange(4), np.ones((4, 3), np.float32)
    for name, value in (("nan", np.nan), ("inf", np.inf)):
        wrong = features.copy()
        wrong[2, 1] = value
        write_plain(folder / f"{name}.h5", ids=ids, image__features=wrong)
    write_plain(folder / "duplicate.h5", ids=np.array([1, 2, 2, 3]))
    write_plain(folder / "no-split.h5", ids=ids, image__features=features)
    write_plain(folder / "linked.h5", ids=ids)
    with h5py.File(folder / "linked.h5", "r+") as file:
        file["labels"] = h5py.ExternalLink("/etc/hostname", "/labels")
    write_plain(folder / "empty-split.h5", ids=ids, image__features=features)
    with h5py.File(folder / "empty-split.h5", "r+") as file:
        for part, rows in (("query", []), ("train", [0, 1]), ("database", [0, 1])):
            file[f"split/{part}"] = np.array(rows, np.int64)
        file["split"].attrs["kind"] = np.bytes_("seen")
        file["split"].attrs["seed"] = 0
    change = {
        "narrow": {"image_features": world.dataset.image_features[:, :7], "image_extractor": None},
        "unlabelled": {"labels": np.zeros_like(world.dataset.labels)},
        "no-text": {"texts": None},
        "no-labels": {"labels": None, "label_names": ()},
        "no-images": {"image_features": None, "image_extractor": None},
    }
    for name, parts in change.items():
        dataclasses.replace(world.dataset, **parts).save(folder / f"{name}.h5")
    picture = (world.pictures / "red-bar-1.png").read_bytes()
    (folder / "broken.png").write_bytes(picture[: len(picture) // 2])
    (folder / "text.png").write_text("no picture")
    Image.new("1", (9000, 10)).save(folder / "wide.png")
    shutil.copytree(world.model, folder / "cut-model")
    os.truncate(folder / "cut-model" / "model.safetensors", 1000)
    (folder / "no-model").mkdir()
    return folder


@pytest.fixture(scope="module")
def other_model(world, tmp_path_factory):
    """A good model of the same sizes that is not the one the index was built with."""
    model = load_model(world.model)
    model.config = dataclasses.replace(model.config, instance_weight=0.5)
    folder = tmp_path_factory.mktemp("other") / "model"
    model.save_pretrained(folder)
    return folder


# fmt: off
TABLE = [
    # Files that are missing, truncated, hostile or something else.
    ("dataset info {bad}/missing.h5", 3, "data set not found: {bad}/missing.h5"),
    ("train {bad}/missing.h5 {out}/m", 3, "data set not found: {bad}/missing.h5"),
    ("dataset info {bad}", 4, "not a file: {bad}"),
    ("dataset info {bad}/truncated.h5", 5, "{bad}/truncated.h5 is truncated or damaged"),
    ("dataset info {bad}/text.h5", 4, "not an HDF5 file: {bad}/text.h5"),
    ("dataset info {bad}/linked.h5", 4, "external links are not allowed ({bad}/linked.h5:/labels)"),
    ("index build {out}/i {bad}/text.h5 --model {model}", 4, "not an HDF5 file"),
    ("index build {out}/i {bad}/missing.h5 --model {model}", 3, "not found: {bad}/missing.h5"),
    ("dataset import wikipedia {bad} {out}/w.h5", 3, "file not found: {bad}/categories.list"),
    ("dataset import mirflickr {bad} {out}/m.h5 --extractor lite0:32", 3, "not found: {bad}/mirflickr"),
    ("dataset import mirflickr {bad} {out}/m.h5 --extractor none", 2, "unknown image extractor 'none'"),
    ("dataset import emoji {out}/no/e.h5", 3, "folder not found: {out}/no"),
    ("encode {model} {data} {out}/no/c.h5 --modality image", 3, "folder not found: {out}/no"),
    ("encode {model} {bad}/missing.txt {out}/c.h5 --modality text", 3, "file not found: {bad}/missing.txt"),
    ("encode {bad}/no-model {data} {out}/c.h5 --modality image", 3, "no model in {bad}/no-model"),
    ("encode {bad}/cut-model {data} {out}/c.h5 --modality image", 5, "{bad}/cut-model/model.safetensors"),
    ("evaluate {bad}/no-model {data}", 3, "no model in {bad}/no-model"),
    ("search {bad}/no-model --text red", 3, "{bad}/no-model is not an index"),
    ("search {bad}/missing --text red", 3, "index not found: {bad}/missing"),
    ("index info {bad}/missing", 3, "index not found: {bad}/missing"),
    # Values.
    ("dataset info {bad}/nan.h5", 4, "{bad}/nan.h5: image_features row 2 has NaN"),
    ("dataset info {bad}/inf.h5", 4, "{bad}/inf.h5: image_features row 2 has an infinite value"),
    ("dataset info {bad}/duplicate.h5", 4, '{bad}/duplicate.h5: duplicate id "2"'),
    ("dataset info {bad}/empty-split.h5", 4, "{bad}/empty-split.h5: split query is empty"),
    ("encode {model} {bad}/narrow.h5 {out}/c.h5 --modality image", 4, "features of (n, 1280), got (48, 7)"),
    ("index build {out}/i {bad}/narrow.h5 --model {model}", 4, "features of (n, 1280), got (48, 7)"),
    ("encode {model} {bad}/no-text.h5 {out}/c.h5 --modality text", 4, "has no text"),
    ("encode {model} {bad}/no-images.h5 {out}/c.h5 --modality unit", 4, "has no /image/features"),
    # Training.
    ("train {bad}/no-split.h5 {out}/m", 4, "training SPDQ needs /split"),
    ("train {bad}/no-labels.h5 {out}/m --recipe paper", 4, "training SPDQ needs /labels"),
    ("train {bad}/no-images.h5 {out}/m", 4, "training SPDQ needs /image/features"),
    ("train {bad}/no-text.h5 {out}/m", 4, "training needs text"),
    ("train {bad}/unlabelled.h5 {out}/m", 4, "no training row of data set drawings has a label"),
    # Judging.
    ("evaluate {model} {data} --protocol best", 2, "unknown protocol 'best'"),
    ("evaluate {model} {bad}/no-labels.h5", 4, "has no /labels"),
    ("evaluate {model} {bad}/no-split.h5", 4, "has no split: make one with `spdq dataset split`"),
    # Queries.
    ("search {index} --text red -k 0", 2, "Invalid value for '-k': 0 is not in the range x>=1"),
    ("search {index} --text <empty>", 4, "empty query text: give at least one word"),
    ("search {index} --text xyzzy", 4, "no known word in 'xyzzy': the vocabulary has"),
    ("search {index} --image {bad}/missing.png", 3, "{bad}/missing.png: cannot be read"),
    ("search {index} --image {bad}/broken.png", 4, "{bad}/broken.png: broken picture"),
    ("search {index} --image {bad}/text.png", 4, "{bad}/text.png: not a JPEG, PNG or WebP picture"),
    ("search {index} --image {bad}/wide.png", 4, "{bad}/wide.png: 9000x10 is above 8192 pixels a side"),
    ("search {index} --queries {bad}/narrow.h5 --modality image", 4, "features of (n, 1280), got (12, 7)"),
    ("search {index} --text red --model {other}", 6, "index was built with model "),
]
# fmt: on


@pytest.mark.parametrize(("line", "code", "message"), TABLE, ids=[row[0] for row in TABLE])
def test_one_line_its_code_and_nothing_left(spdq, world, bad, other_model, tmp_path, line, code, message):
    names = {"bad": bad, "out": tmp_path, "model": world.model, "data": world.data, "index": world.index}
    names["other"] = other_model
    before = sorted(bad.rglob("*")), sorted(world.folder.rglob("*"))
    done = spdq(*(word.format(**names).replace("<empty>", "  ") for word in line.split()))
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("spdq: error: ")
    assert message.format(**names) in done.err
    assert done.err.count("\n") == 1
    assert os.listdir(tmp_path) == []
    assert (sorted(bad.rglob("*")), sorted(world.folder.rglob("*"))) == before


def test_codes_of_another_model(spdq, world, other_model, tmp_path):
    assert spdq("encode", other_model, world.data, tmp_path / "c.h5", "--modality", "image").code == 0
    done = spdq("index", "build", tmp_path / "i", tmp_path / "c.h5", "--model", world.model)
    assert done.code == 6
    assert "Encode it again or pass the right --model" in done.err


def test_a_class_without_a_training_row_and_an_item_without_a_label_are_fine(world):
    dataset = world.dataset
    star = dataset.label_names.index("shape:star")
    assert not dataset.labels[dataset.split.train, star].any()
    assert dataset.labels[dataset.split.query, star].any()
    assert not dataset.labels[1].any()
    assert world.model.is_dir()
