from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import made_folder
import made_karpathy
import made_models
import numpy as np
import pytest
import torch
import xxhash
from safetensors.torch import save_file

from spdq.errors import MissingExtraError
from spdq.features import image_extractor
from spdq.features.timm_images import import_timm
from spdq.training.recipes import RECIPES
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask


def test_a_cache_of_features(imported, spdq, tmp_path):
    """What is in the cache is taken from there: here it has been changed, with its checksum."""
    file, photos = made_karpathy.write_set(tmp_path / "set", made_karpathy.flickr_content())
    words = ("karpathy", file, photos, "--extractor", "pixels:8", "--join-val", "--cache")
    _, first = imported(*words, tmp_path / "cache")
    (stored,) = (tmp_path / "cache").glob("*.sqlite")
    key = hashlib.sha256(first.image_path(0).read_bytes()).digest()
    row = np.full(192, 0.25, np.float32).tobytes()
    with closing(sqlite3.connect(stored)) as connection, connection:
        assert connection.execute("SELECT count(*) FROM rows").fetchone() == (len(first),)
        entry = (row, xxhash.xxh3_128_digest(key + row), key)
        connection.execute("UPDATE rows SET features = ?, checksum = ? WHERE picture = ?", entry)
    _, second = imported(*words, tmp_path / "cache")
    expected = np.array(first.image_features)
    expected[0] = 0.25
    np.testing.assert_array_equal(second.image_features, expected)
    assert second.image_extractor == "pixels:8"
    (tmp_path / "file").write_text("")
    done = spdq("dataset", "import", *words, tmp_path / "file", tmp_path / "y.h5")
    assert (done.code, "feature cache" in done.err, (tmp_path / "y.h5").exists()) == (8, True, False)


@pytest.mark.parametrize(("source_format", "options", "shown"), [
    ("nuswide", ("--cache", "x"), "--cache: needs --extractor"),
    ("nuswide", ("--cache", "x", "--allow-download"), "--allow-download and --cache: needs --extractor"),
    ("matlab", ("--allow-download",), "--allow-download: needs --extractor"),
])  # fmt: skip
def test_options_of_an_extractor_without_one(spdq, tmp_path, source_format, options, shown):
    done = spdq("dataset", "import", source_format, tmp_path, tmp_path / "x.h5", *options)
    assert (done.code, shown in done.err) == (2, True)


@pytest.fixture
def networks(tmp_path):
    """Weights of one small network of timm, drawn by two seeds."""
    try:
        timm = import_timm()
    except MissingExtraError as error:
        pytest.skip(f"timm is absent: {error}")
    files = [tmp_path / f"{seed}.safetensors" for seed in range(2)]
    for seed, file in enumerate(files):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            save_file(timm.create_model("test_vit", pretrained=False).state_dict(), file)
    return files


def test_a_model_refuses_features_of_other_weights(spdq, networks, tmp_path):
    weights, model, index = (tmp_path / name for name in ("weights.safetensors", "model", "index"))
    pictures = [made_models.picture(row) for row in range(made_models.N_ITEMS)]
    pictures[0].save(tmp_path / "query.png")
    sets = []
    for network in networks:
        shutil.copy(network, weights)
        maker = image_extractor(f"timm:test_vit:{weights}")
        made = {"image_features": maker.extract(pictures), "image_extractor": maker.name}
        sets.append(replace(made_models.worded(), **made))
        sets[-1].save(network.with_suffix(".h5"))
    shutil.copy(networks[0], weights)
    train_task(SPDQTask, sets[0], 16, replace(RECIPES["default"], **made_models.SHORT)).save_pretrained(model)
    done = spdq("index", "build", index, networks[0].with_suffix(".h5"), "--model", model)
    assert done.code == 0, done.err
    search = ("search", index, "--image", tmp_path / "query.png", "-k", "2")
    done = spdq(*search)
    assert done.code == 0, done.err
    done = spdq("index", "build", tmp_path / "other", networks[1].with_suffix(".h5"), "--model", model)
    assert (done.code, "its image features were made by timm:test_vit.r160_in1k:" in done.err) == (6, True)
    shutil.copy(networks[1], weights)
    done = spdq(*search)
    assert (done.code, "the weights here have SHA-256" in done.err) == (6, True)


class NoFiles(BaseHTTPRequestHandler):
    """A hub that has nothing, and remembers what it was asked for."""

    def do_HEAD(self):
        self.server.asked.append(self.path)
        self.send_response(404)
        self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


def test_weights_are_fetched_only_where_that_is_allowed(run, tmp_path, monkeypatch, networks):
    source = made_folder.image_folder(tmp_path / "pictures")
    words = ("dataset", "import", "folder", source, tmp_path / "x.h5", "-q", "--extractor", "timm:test_vit")
    with ThreadingHTTPServer(("127.0.0.1", 0), NoFiles) as hub:
        hub.asked = []
        thread = Thread(target=hub.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("NO_PROXY", "*")
        try:
            done = run(*words)
            assert (done.code, "allow the download (spdq dataset" in done.err, hub.asked) == (3, True, [])
            done = run(*words, "--allow-download")
            assert (done.code, "cannot be fetched (" in done.err) == (3, True)
            assert "/timm/test_vit.r160_in1k/resolve/main/model.safetensors" in hub.asked
        finally:
            hub.shutdown()
            thread.join()
    assert not (tmp_path / "x.h5").exists()
