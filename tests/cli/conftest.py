"""A tiny world of real files, made once: drawn pictures, a data set of them, a model, an index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from interrupts import heeding_ctrl_c
from PIL import Image, ImageDraw

from spdq.data import Dataset, make_split
from spdq.features import image_extractor
from spdq_cli.main import cli

ROOT = Path(__file__).parents[2]
COLOURS = ("red", "green", "blue", "black")
SHAPES = ("circle", "square", "bar")
N_EACH = 4
TRAIN = ("--bits", "16", "--seed", "3")


@pytest.fixture(scope="session")
def spdq():
    """Call the command in this process: ``spdq("search", index, "-k", 3)`` -> exit code, stdout, stderr."""

    def call(*args, stdin=None):
        done = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin, prog_name="spdq")
        return SimpleNamespace(code=done.exit_code, out=done.stdout, err=done.stderr)

    return call


@pytest.fixture(scope="session")
def process():
    """Start the command in a process of its own, with pipes; ``command=[...]`` runs other Python code."""

    def start(*args, command=("-m", "spdq_cli"), **kwargs):
        paths = [ROOT, *(ROOT / room for room in ("kernels", "cli", "benchmarks"))]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | kwargs
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        with heeding_ctrl_c():
            return subprocess.Popen(
                [sys.executable, *command, *(str(arg) for arg in args)], env=environment, **options
            )

    return start


@pytest.fixture(scope="session")
def run(process):
    """As ``process``, but waits -> exit code, stdout, stderr."""

    def call(*args, stdin=None, **kwargs):
        with process(*args, stdin=subprocess.PIPE, **kwargs) as started:
            out, err = started.communicate(stdin, timeout=300)
        return SimpleNamespace(code=started.returncode, out=out, err=err)

    return call


@pytest.fixture
def imported(spdq, tmp_path):
    """Import into ``tmp_path/x.h5`` -> (what is printed, the data set)."""

    def call(*words):
        done = spdq("dataset", "import", *words[:-1], words[-1], tmp_path / "x.h5", "--json")
        assert done.code == 0, done.err
        return json.loads(done.out), Dataset.load(tmp_path / "x.h5")

    return call


def draw(folder: Path) -> list[tuple[str, str, int]]:
    """48 pictures of a coloured shape -> (colour, shape, number) of each."""
    folder.mkdir()
    random = np.random.default_rng(0)
    items = [(colour, shape, number) for colour in COLOURS for shape in SHAPES for number in range(N_EACH)]
    for colour, shape, number in items:
        image = Image.new("RGB", (32, 32), "white")
        left, top = random.integers(1, 10, 2).tolist()
        box = (left, top, left + 20, top + (6 if shape == "bar" else 20))
        pencil = ImageDraw.Draw(image)
        (pencil.ellipse if shape == "circle" else pencil.rectangle)(box, fill=colour)
        image.save(folder / f"{colour}-{shape}-{number}.png")
    return items


def drawn_dataset(folder: Path) -> Dataset:
    """Items with two label sets; one item has no label, and one label no training row."""
    items = draw(folder / "pictures")
    paths = tuple(f"pictures/{'-'.join(map(str, item))}.png" for item in items)
    extractor = image_extractor("lite0:32")
    names = [f"colour:{colour}" for colour in COLOURS] + [f"shape:{shape}" for shape in (*SHAPES, "star")]
    labels = np.array([[name.split(":")[1] in item for name in names] for item in items], np.uint8)
    query = [row for row, item in enumerate(items) if item[2] == 0]
    labels[query[0], -1] = 1
    labels[1] = 0
    return Dataset(
        "drawings",
        np.array(["-".join(map(str, item)) for item in items]),
        image_features=extractor.extract([folder / path for path in paths]),
        labels=labels,
        label_names=tuple(names),
        texts=tuple(
            f"{colour} {shape}\na {colour} thing\nnumber {number}" for colour, shape, number in items
        ),
        image_paths=paths,
        image_extractor=extractor.name,
        split=make_split(len(items), query, "seen", 0),
        root=folder,
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory, run):
    """``data``, ``model`` and ``index`` as paths, ``dataset`` and ``pictures``; nobody may change them."""
    folder = tmp_path_factory.mktemp("world")
    dataset = drawn_dataset(folder)
    dataset.save(folder / "data.h5")
    made = SimpleNamespace(
        dataset=dataset,
        folder=folder,
        data=folder / "data.h5",
        pictures=folder / "pictures",
        model=folder / "model",
        index=folder / "index",
    )
    trained = run("train", made.data, made.model, *TRAIN)
    assert trained.code == 0, trained.err
    built = run("index", "build", made.index, made.data, "--model", made.model)
    assert built.code == 0, built.err
    return made


def plain_h5(path: Path, kind: str = "spdq-dataset", attributes=(), **arrays) -> Path:
    """A file as another program would write it: no checksums, nothing checked. ``__`` in a name is a /."""
    with h5py.File(path, "w") as file:
        for name, value in {"format": kind, "name": "made", **dict(attributes)}.items():
            fixed = h5py.string_dtype("utf-8", max(1, len(str(value))))
            file.attrs.create(name, value, dtype=fixed if isinstance(value, str) else np.int64)
        file.attrs.create("version", 1, dtype=np.int64)
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array
    return path


@pytest.fixture(scope="session")
def write_plain():
    return plain_h5
