from __future__ import annotations

import dataclasses
import json
import os

import made_sets
import numpy as np
import pytest

from spdq.data import Dataset, QueryItems


def facts(text):
    """The table in a pipe as a dict."""
    return dict(line.split("\t") for line in text.splitlines()[1:])


def test_wikipedia(spdq, tmp_path):
    source = made_sets.wikipedia_sift(tmp_path / "source")
    done = spdq("dataset", "import", "wikipedia", source, tmp_path / "w.h5", "--split", "unseen", "--seed", 4)
    assert done.code == 0, done.err
    dataset = Dataset.load(tmp_path / "w.h5")
    assert (dataset.split.kind, dataset.split.seed) == ("unseen", 4)
    shown = facts(done.out)
    assert (shown["items"], shown["split.kind"], shown["split.train"]) == ("17", "unseen", "6")
    cnn = made_sets.wikipedia_cnn(tmp_path / "cnn")
    assert spdq("dataset", "import", "wikipedia", cnn, tmp_path / "c.h5", "--features", "cnn").code == 0
    assert Dataset.load(tmp_path / "c.h5").name == "wikipedia_cnn"


def test_mirflickr(spdq, tmp_path):
    source = made_sets.mirflickr(tmp_path / "source")
    done = spdq(
        "dataset", "import", "mirflickr", source, tmp_path / "m.h5", "--extractor", "lite0:32", "--json"
    )
    assert done.code == 0, done.err
    described = json.loads(done.out)
    assert (described["items"], described["image_extractor"]) == (6, "lite0:32")
    assert described["image_features"] == {"dim": 1280, "dtype": "float32", "sparse": False}
    dataset = Dataset.load(tmp_path / "m.h5")
    assert all(dataset.image_path(row).is_file() for row in range(len(dataset)))


def test_emoji(spdq, tmp_path):
    done = spdq("dataset", "import", "emoji", tmp_path / "e.h5", "--extractor", "lite0:32", "--json")
    assert done.code == 0, done.err
    described = json.loads(done.out)
    assert described["name"] == "emoji"
    assert described["label_sets"].keys() == {"group:", "subgroup:"}
    dataset = Dataset.load(tmp_path / "e.h5")
    assert dataset.image_path(0).parent == tmp_path / "e-pictures"
    assert len(os.listdir(tmp_path / "e-pictures")) == len(dataset)


def test_a_failed_import_of_emoji_leaves_nothing(spdq, tmp_path, monkeypatch):
    out = tmp_path / "e.h5"
    out.mkdir()
    assert spdq("dataset", "import", "emoji", out).code == 2
    out.rmdir()
    monkeypatch.setattr("spdq.features.lite0.WEIGHTS_SHA256", "0" * 64)
    done = spdq("dataset", "import", "emoji", out, "--extractor", "lite0:32")
    assert done.code == 5
    assert os.listdir(tmp_path) == []


def test_info(spdq, world):
    shown = facts(spdq("dataset", "info", world.data).out)
    assert (shown["name"], shown["items"], shown["label_sets.colour:"]) == ("drawings", "48", "4")
    assert shown["split.queries_trained"] == "no"
    assert json.loads(spdq("dataset", "info", world.data, "--json").out) == world.dataset.describe()


@pytest.mark.parametrize(
    ("options", "sizes", "trained"),
    [
        (["--kind", "unseen"], (12, 18, 18), False),
        (["--kind", "paired"], (12, 36, 48), False),
        (["--kind", "paired", "--train-on-queries"], (12, 48, 48), True),
        (["--kind", "paired", "--train-on-queries", "--query-all", "--seed", "7"], (48, 48, 48), True),
        (["--kind", "seen", "--development", "10"], (10, 26, 26), False),
    ],
)
def test_split(spdq, world, tmp_path, options, sizes, trained):
    done = spdq("dataset", "split", world.data, tmp_path / "s.h5", *options)
    assert done.code == 0, done.err
    split = Dataset.load(tmp_path / "s.h5").split
    assert (len(split.query), len(split.train), len(split.database)) == sizes
    assert split.queries_trained == trained
    assert split.seed == (7 if "--seed" in options else 0)


def test_a_development_split_has_no_query_of_the_file(spdq, world, tmp_path):
    options = ("--kind", "unseen", "--development", "10")
    assert spdq("dataset", "split", world.data, tmp_path / "s.h5", *options).code == 0
    made, whole = Dataset.load(tmp_path / "s.h5"), Dataset.load(world.data)
    kept = np.setdiff1d(np.arange(len(whole)), whole.split.query)
    assert made.ids.tolist() == whole.ids[kept].tolist()
    np.testing.assert_array_equal(made.image_features, whole.image_features[kept])


def test_a_click_log_is_not_lost(spdq, world, tmp_path):
    clicks = QueryItems.from_mapping({"red bar": {0: 2, 3: 1}})
    dataclasses.replace(world.dataset, clicks=clicks).save(tmp_path / "log.h5")
    options = ("--kind", "seen", "--development", "5")
    done = spdq("dataset", "split", tmp_path / "log.h5", tmp_path / "s.h5", *options)
    assert (done.code, "holds a click log, which another split would lose" in done.err) == (4, True)
    assert not (tmp_path / "s.h5").exists()


def test_split_keeps_all_else(spdq, world, tmp_path):
    spdq("dataset", "split", world.data, tmp_path / "s.h5", "--kind", "seen")
    again = Dataset.load(tmp_path / "s.h5")
    assert again.image_path(5).samefile(world.dataset.image_path(5))
    assert (again.texts, again.label_names) == (world.dataset.texts, world.dataset.label_names)
    assert list(again.split.query) == list(world.dataset.split.query)


def test_classes_of_labels(spdq, world, tmp_path):
    prefix = world.dataset.label_names[0].partition(":")[0] + ":"
    done = spdq("dataset", "classes", world.data, tmp_path / "c.h5", "--labels", prefix)
    assert done.code == 0, done.err
    made, expected = Dataset.load(tmp_path / "c.h5"), world.dataset.with_classes_of(prefix)
    np.testing.assert_array_equal(made.classes, expected.classes)
    assert made.name == expected.name
    assert (made.texts, list(made.split.query)) == (expected.texts, list(expected.split.query))
    done = spdq("dataset", "classes", world.data, tmp_path / "c.h5", "--labels", "odd:")
    assert (done.code, "no label starts with 'odd:'" in done.err) == (4, True)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--kind", "seen", "--query-all"],
            4,
            "48 queries of 48 rows leave too few rows to train on and search",
        ),
        (["--kind", "seen", "--train-on-queries"], 2, 'train_on_queries needs kind "paired"'),
        (["--kind", "seen", "--query-all", "--development", "9"], 2, "exclude each other: choose one"),
        (["--kind", "seen", "--development", "36"], 2, "n_query: expected 1 to 35 of 36 rows, got 36"),
        (["--kind", "odd"], 2, "'odd' is not one of 'seen', 'unseen', 'paired'"),
    ],
)
def test_impossible_splits(spdq, world, tmp_path, options, code, message):
    done = spdq("dataset", "split", world.data, tmp_path / "s.h5", *options)
    assert done.code == code
    assert message in done.err
    assert os.listdir(tmp_path) == []


def test_split_needs_query_rows(spdq, world, tmp_path):
    world.dataset.with_split(None).save(tmp_path / "none.h5")
    done = spdq("dataset", "split", tmp_path / "none.h5", tmp_path / "s.h5", "--kind", "seen")
    assert done.code == 4
    assert "has no split whose query rows could be kept: use --query-all" in done.err
    options = ("--kind", "paired", "--query-all", "--train-on-queries")
    assert spdq("dataset", "split", tmp_path / "none.h5", tmp_path / "s.h5", *options).code == 0
