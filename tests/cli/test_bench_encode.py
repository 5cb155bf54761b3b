from __future__ import annotations

import json

import pytest
from made_models import picture, trained_on_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    trained_on_pictures().save_pretrained(folder / "model")
    (folder / "pictures").mkdir()
    for row in range(3):
        picture(row).save(folder / "pictures" / f"{row}.png")
    return folder


def test_both_ways_make_the_same_codes(run, folder):
    words = ("--kind", "features", "--rows", 3000, "--turns", 1, "--workers", 1)
    done = run("bench", "encode", folder / "model", folder / "pictures", *words, "--json")
    assert done.code == 0, done.err
    (found,) = json.loads(done.out)
    assert (found["kind"], found["items"], found["workers"], found["turns"]) == ("features", 3000, 1, 1)
    assert found["ratio"] == found["plain_seconds"] / found["ray_seconds"]
    assert found["other_codes"] == 0
    assert done.err.splitlines() == [
        "spdq: features: turn 1 of 1, 1 items", "spdq: features: turn 1 of 1, 3000 items"
    ]  # fmt: skip


def test_a_table():
    from spdq_benchmarks.encode_figures import EncodeFigures, table

    found = EncodeFigures("pictures", 10_000, None, 3, 50.0, 40.0, 0.01, 8.26, 2)
    assert found.ratio == 1.25
    assert table(found) == "| pictures | 10,000 | 200 | 250 | 1.25 | 8.3 s | 2 |"


def test_no_pictures(spdq, folder, tmp_path):
    done = spdq("bench", "encode", folder / "model", tmp_path, "--kind", "pictures")
    assert done.code == 4
    assert "no pictures" in done.err
