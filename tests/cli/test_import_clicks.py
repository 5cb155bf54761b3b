from __future__ import annotations

import json
import os

import numpy as np
import pytest
from made_clicks import write_log
from made_folder import ROWS, image_folder

from spdq.data import Dataset

LOG = [(f"query {n % 10}", ROWS[n % 5]["file_name"], n % 3 + 1) for n in range(40)]
SHOWN = {"rows": 40, "unclicked": 0, "unknown": 0, "repeated": 30, "rare": 0}


@pytest.fixture
def imported(spdq, tmp_path):
    """Import a log of a folder of pictures into ``tmp_path/x.h5``."""

    def call(*options, log=LOG, images=None, name="log.tsv"):
        images = images or image_folder(tmp_path / "photos")
        words = (write_log(tmp_path / name, log), tmp_path / "x.h5", "--images", images, *options)
        return spdq("dataset", "import", "clicks", *words)

    return call


def test_a_folder(spdq, imported, tmp_path):
    done = imported("--extractor", "lite0:32", "--json")
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    dataset = Dataset.load(tmp_path / "x.h5")
    assert shown == {"file": str(tmp_path / "x.h5"), "log": SHOWN, **dataset.describe()}
    assert (dataset.name, dataset.ids.tolist()) == ("photos", sorted(row["file_name"] for row in ROWS))
    assert (dataset.image_extractor, dataset.image_features.shape) == ("lite0:32", (5, 1280))
    assert all(dataset.image_path(row).is_file() for row in range(5))
    assert (dataset.split.kind, dataset.split.seed) == ("clicks", 0)
    assert {*dataset.clicks.queries, *dataset.grades.queries} == {query for query, _, _ in LOG}
    assert len(dataset.grades.queries) == 1
    table = spdq("dataset", "info", tmp_path / "x.h5").out
    assert "clicks.queries\t9\n" in table
    assert "grades.queries\t1\n" in table
    assert "split.kind\tclicks\n" in table


def test_options(imported, tmp_path):
    log = [*LOG, ("rare", "sea.png", 2), ("rare", "tree.png", 1), ("a", "none.png", 9), ("x", "sea.png", 0)]
    extractor = ("--extractor", "lite0:64:2x2")
    options = (*extractor, "--min-clicks", 2, "--hold-out", ".5", "--seed", 3, "--skip-unknown")
    done = imported(*options, log=log, name="log.jsonl.gz")
    assert done.code == 0, done.err
    assert "log.unknown\t1\n" in done.out
    assert "log.unclicked\t1\n" in done.out
    assert "log.rare\t1\n" in done.out
    dataset = Dataset.load(tmp_path / "x.h5")
    assert (len(dataset.grades.queries), len(dataset.clicks.queries)) in ((5, 6), (6, 5))
    assert (dataset.split.seed, dataset.image_regions, dataset.image_features.shape) == (3, 4, (5, 5120))


def test_a_data_set(spdq, world, imported, tmp_path):
    log = [(f"{key.split('-')[0]} thing", key, 1) for key in world.dataset.ids.tolist()]
    done = imported(log=log, images=world.data)
    assert done.code == 0, done.err
    dataset = Dataset.load(tmp_path / "x.h5")
    np.testing.assert_array_equal(dataset.image_features, world.dataset.image_features)
    assert (dataset.texts, dataset.label_names) == (world.dataset.texts, world.dataset.label_names)
    assert dataset.image_path(7).samefile(world.dataset.image_path(7))
    assert (len(dataset.clicks.queries), len(dataset.grades.queries)) == (3, 1)
    assert (dataset.clicks.value == 1).all()
    assert imported("--extractor", "lite0:64", log=log, images=world.data).code == 0
    assert Dataset.load(tmp_path / "x.h5").image_extractor == "lite0:64"


def test_importing_again_keeps_the_held_out_queries(spdq, world, imported, tmp_path):
    log = [(f"query {n}", key, 1) for n, key in enumerate(world.dataset.ids.tolist())]
    for _ in range(2):
        assert imported(log=log, images=world.data).code == 0
    written = (tmp_path / "x.h5").read_bytes()
    done = imported("--seed", 1, log=log, images=world.data)
    assert (done.code, done.out) == (2, "")
    assert "x.h5 holds the same items with another split (kind clicks, seed 0)" in done.err
    assert (tmp_path / "x.h5").read_bytes() == written
    assert imported("--seed", 1, "--resplit", log=log, images=world.data).code == 0
    assert Dataset.load(tmp_path / "x.h5").split.seed == 1


def test_rows_of_clicked_items_are_split_in_other_ways(spdq, world, imported, tmp_path):
    log = [(f"query {n}", key, 1) for n, key in enumerate(world.dataset.ids.tolist())]
    assert imported(log=log, images=world.data).code == 0
    done = spdq("dataset", "split", tmp_path / "x.h5", tmp_path / "y.h5", "--kind", "seen")
    assert (done.code, "has no split whose query rows could be kept: use --query-all" in done.err) == (
        4,
        True,
    )
    done = spdq("dataset", "split", tmp_path / "x.h5", tmp_path / "y.h5", "--kind", "clicks")
    assert (done.code, "'clicks' is not one of 'seen', 'unseen', 'paired'" in done.err) == (2, True)


BAD = [
    ([], [("cat", "none.png", 1)], 4, "log.tsv line 2: unknown image 'none.png'; 1 of 1 rows name images"),
    (
        [],
        [("cat", "sea.png", -1)],
        4,
        "log.tsv line 2: clicks: expected a whole number from 0 to 1,000,000,000",
    ),
    ([], [(" ", "sea.png", 1)], 4, "log.tsv line 2: query: expected text, got an empty one"),
    ([], [("cat", "sea.png", 1)], 4, "1 query cannot be split"),
    (["--min-clicks", "99"], LOG, 4, "no click is left of 40 rows"),
    (["--min-clicks", "0"], LOG, 2, "'--min-clicks': 0 is not in the range x>=1"),
    (["--hold-out", "1"], LOG, 2, "'--hold-out': 1.0 is not in the range 0<x<1"),
    (["--extractor", "lite9"], LOG, 2, "lite9"),
]


@pytest.mark.parametrize(("options", "log", "code", "message"), BAD)
def test_bad_logs_and_options(imported, tmp_path, options, log, code, message):
    done = imported(*options, log=log)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["log.tsv", "photos"]


def test_missing_files(spdq, imported, tmp_path):
    for images, message in (
        (tmp_path / "none", "folder not found"),
        (tmp_path / "none.h5", "data set not found"),
    ):
        done = imported(images=images)
        assert (done.code, message in done.err) == (3, True)
    done = spdq(
        "dataset",
        "import",
        "clicks",
        tmp_path / "no.tsv",
        tmp_path / "x.h5",
        "--images",
        image_folder(tmp_path / "p"),
    )
    assert (done.code, "file not found" in done.err) == (3, True)
    done = spdq(
        "dataset", "import", "clicks", tmp_path / "no.csv", tmp_path / "x.h5", "--images", tmp_path / "p"
    )
    assert (done.code, "name ends in .tsv, .jsonl" in done.err) == (2, True)
    done = spdq("dataset", "import", "clicks", tmp_path / "log.tsv", tmp_path / "x.h5")
    assert (done.code, "Missing option '--images'" in done.err) == (2, True)
