from __future__ import annotations

import json
import os

import numpy as np
import numpy.testing as npt
import pytest

from spdq.data.codes import Codes
from spdq.index import Index
from spdq.models import load_model


def test_an_index_of_all_images(world):
    with Index.open(world.index) as index:
        assert list(index.ids) == sorted(world.dataset.ids)
        assert index.metric == "ip"
        assert index.model_path == str(world.model.resolve())
        index.check_model(load_model(world.model).fingerprint)


@pytest.mark.parametrize("modality", ["image", "text", "unit"])
@pytest.mark.parametrize("rows", ["all", "database", "train"])
def test_from_a_data_set_or_from_its_codes(spdq, world, tmp_path, modality, rows):
    options = ("--model", world.model)
    done = spdq(
        "index",
        "build",
        tmp_path / "a",
        world.data,
        *options,
        "--modality",
        modality,
        "--rows",
        rows,
        "--json",
    )
    assert done.code == 0, done.err
    split = world.dataset.split
    chosen = np.arange(48) if rows == "all" else getattr(split, rows)
    assert json.loads(done.out)["items"] == len(chosen)
    spdq("encode", world.model, world.data, tmp_path / "c.h5", "--modality", modality)
    codes = Codes.load(tmp_path / "c.h5")
    Codes(codes.ids[chosen], codes.codes[chosen], *(getattr(codes, name) for name in REST)).save(
        tmp_path / "c.h5"
    )
    assert spdq("index", "build", tmp_path / "b", tmp_path / "c.h5", *options).code == 0
    with Index.open(tmp_path / "a") as a, Index.open(tmp_path / "b") as b:
        npt.assert_array_equal(a.ids, b.ids)
        npt.assert_array_equal(a.codes, b.codes)


REST = ("bits", "model_fingerprint", "codebook_fingerprint", "modality")


def test_the_model_s_path_is_stored_absolute(spdq, world, tmp_path, monkeypatch):
    monkeypatch.chdir(world.folder)
    assert spdq("index", "build", tmp_path / "i", "data.h5", "--model", "model").code == 0
    monkeypatch.chdir(tmp_path)
    assert spdq("search", "i", "--text", "red").code == 0


def test_info(spdq, world):
    done = spdq("index", "info", world.index, "--json")
    stats = json.loads(done.out)
    assert (stats["items"], stats["bits"], stats["metric"], stats["writable"]) == (48, 16, "ip", False)
    assert spdq("index", "verify", world.index).out.splitlines()[1] == "verified\tyes"


def test_verify_finds_damage(spdq, world, tmp_path):
    assert spdq("index", "build", tmp_path / "i", world.data, "--model", world.model).code == 0
    (segment,) = (tmp_path / "i" / "segments").glob("*.safetensors")
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    segment.chmod(0o644)
    segment.write_bytes(content)
    done = spdq("index", "verify", tmp_path / "i")
    assert done.code == 5
    assert "checksum mismatch" in done.err


def other_codes(world, tmp_path, **changes):
    model = load_model(world.model)
    parts = {
        "ids": np.arange(2),
        "codes": np.zeros((2, 2), np.uint8),
        "bits": 16,
        "model_fingerprint": model.fingerprint,
        "codebook_fingerprint": model.codebooks.fingerprint,
        "modality": "image",
    }
    Codes(**{**parts, **changes}).save(tmp_path / "c.h5")
    return tmp_path / "c.h5"


@pytest.mark.parametrize(
    ("changes", "options", "code", "message"),
    [
        ({"model_fingerprint": "ab" * 32}, [], 6, "c.h5 was encoded with model abababababab, this is "),
        ({"codebook_fingerprint": "ab" * 32}, [], 6, "c.h5 was encoded with model "),
        ({"codes": np.full((2, 3), 7, np.uint8)}, [], 4, "expected codes of shape (n, 2), got (2, 3)"),
        ({}, ["--modality", "image"], 2, "c.h5 holds codes (image): --modality and --rows are for data sets"),
        ({}, ["--rows", "all"], 2, "--modality and --rows are for data sets"),
    ],
)
def test_codes_that_do_not_fit(spdq, world, tmp_path, changes, options, code, message):
    source = other_codes(world, tmp_path, **changes)
    done = spdq("index", "build", tmp_path / "i", source, "--model", world.model, *options)
    assert done.code == code
    assert message in done.err
    assert os.listdir(tmp_path) == ["c.h5"]


def test_where_an_index_can_be(spdq, world, tmp_path):
    done = spdq("index", "build", world.index, world.data, "--model", world.model)
    assert done.code == 2
    assert "already exists: choose another directory" in done.err
    done = spdq("index", "build", tmp_path / "no" / "i", world.data, "--model", world.model)
    assert done.code == 3
    assert "folder not found" in done.err


def test_rows_of_a_split_that_is_not_there(spdq, world, tmp_path):
    world.dataset.with_split(None).save(tmp_path / "d.h5")
    done = spdq(
        "index", "build", tmp_path / "i", tmp_path / "d.h5", "--model", world.model, "--rows", "train"
    )
    assert done.code == 4
    assert "has no split: use --rows all" in done.err


def test_a_full_disk_leaves_nothing(run, world, tmp_path):
    code = (
        "import resource\nfrom spdq_cli.main import main\n"
        "import spdq.models.spdq, spdq.index.store, spdq_kernels\nspdq_kernels.warmup()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\nmain()"
    )
    done = run("index", "build", tmp_path / "i", world.data, "--model", world.model, command=("-c", code))
    assert done.code == 8, done.err
    assert os.listdir(tmp_path) == []
