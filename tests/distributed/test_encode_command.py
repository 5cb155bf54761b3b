"""``spdq encode --ray``: what it says, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from made_encodings import store
from made_models import drawn, picture, trained_on_pictures
from ray_processes import run_driver

from spdq.models import load_model
from spdq_cli.inputs import read_items
from spdq_cli.main import cli


def spdq(*args: object) -> SimpleNamespace:
    done = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="spdq")
    return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, a data set, pictures, JSON lines of units."""
    folder = tmp_path_factory.mktemp("made")
    trained_on_pictures().save_pretrained(folder / "model")
    drawn().save(folder / "data.h5")
    (folder / "in" / "more").mkdir(parents=True)
    picture(0).save(folder / "in" / "b.png")
    picture(1).save(folder / "in" / "more" / "a.png")
    records = [
        {"id": "both", "text": "large red", "image": "in/b.png"},
        {"id": "text", "text": "large red"},
        {"id": "image", "image": "in/more/a.png", "text": None},
    ]
    (folder / "units.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


@pytest.mark.parametrize(
    ("source", "modality"), [("data.h5", "unit"), ("in", "image"), ("units.jsonl", "unit")]
)
def test_the_same_file_and_the_same_words(local_ray, made, tmp_path, source, modality):
    said = {}
    for name, options in (("plain", ()), ("ray", ("--ray", "--workers", 1))):
        done = spdq(
            "encode",
            made / "model",
            made / source,
            tmp_path / name,
            "--modality",
            modality,
            *options,
            "--json",
        )
        assert done.code == 0, done.err
        said[name] = json.loads(done.out) | {"file": None}, done.err
    assert said["ray"] == said["plain"]
    assert (tmp_path / "ray").read_bytes() == (tmp_path / "plain").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["plain", "ray"]


@pytest.mark.parametrize(("name", "content", "modality", "code"), [
    ("in/bad.png", b"no picture", "image", 4), ("in/notes.txt", b"red", "image", 4),
    ("u.jsonl", b'{"id": 1, "image": "no.png"}', "image", 3), ("t.txt", b"red", "image", 2),
])  # fmt: skip
def test_the_same_errors(local_ray, made, tmp_path, name, content, modality, code):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    source = path.parent if name.startswith("in/") else path
    words = ("encode", made / "model", source, tmp_path / "c.h5", "--modality", modality)
    plainly, by_ray = spdq(*words), spdq(*words, "--ray", "--workers", 1)
    assert plainly.code == by_ray.code == code
    assert by_ray.err == plainly.err
    assert by_ray.err.count("\n") == 1
    assert os.listdir(tmp_path) == [name.split("/")[0]]


@pytest.mark.parametrize("option", [("--resume",), ("--workers", 1), ("--address", "auto")])
def test_options_of_ray_without_it(made, tmp_path, option):
    done = spdq("encode", made / "model", made / "in", tmp_path / "c.h5", "--modality", "image", *option)
    assert (done.code, done.out) == (2, "")
    assert "--address, --workers and --resume are for encoding by Ray: add --ray" in done.err


def test_no_model(made, tmp_path):
    done = spdq("encode", tmp_path, made / "in", tmp_path / "c.h5", "--modality", "image", "--ray")
    assert done.code == 3
    assert os.listdir(tmp_path) == []


def test_without_the_extra(made, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = spdq("encode", made / "model", made / "in", tmp_path / "c.h5", "--modality", "image", "--ray")
    assert (done.code, done.err) == (3, 'spdq: error: this needs Ray: pip install "spdq[ray]"\n')
    assert os.listdir(tmp_path) == []


def test_nobody_at_the_address(made, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = ("encode", made / "model", made / "in", tmp_path / "c.h5", "--modality", "image", "--ray")
    code, out, err = run_driver("from spdq_cli.main import main; main()", *words, "--address", address)
    assert (code, out) == (9, "")
    assert err.startswith(f"spdq: error: no Ray cluster that takes this token answers at {address} (")
    assert err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_an_input_that_changed(made, tmp_path):
    shutil.copytree(made / "in", tmp_path / "in")
    model, out = load_model(made / "model"), tmp_path / "c.h5"
    store(model, "image", read_items(str(tmp_path / "in"), "image"), out, {0})
    words = ("encode", made / "model", tmp_path / "in", out, "--modality", "image", "--ray")
    assert "go on with --resume, or remove that folder" in spdq(*words).err
    os.utime(tmp_path / "in" / "b.png", (1, 1))
    done = spdq(*words, "--resume")
    assert done.code == 6
    assert (
        ".c.h5.partial is of another run (other input): give what was given then, or remove that folder"
        in done.err
    )
