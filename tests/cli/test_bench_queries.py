from __future__ import annotations

import json


def test_made_vectors(spdq):
    done = spdq("bench", "queries", "--rows", 1000, "--codes", "opq", "--bits", 32, "--seeds", 1, "--json")
    assert done.code == 0, done.err
    assert "made: opq, 32 bits, images for both, seed 0" in done.err
    rows = {row["learned"]: row for row in json.loads(done.out)}
    assert rows["images for texts"]["texts_kept_at"][0] > rows["images"]["texts_kept_at"][0]


def test_a_data_set_and_its_model(spdq, world):
    args = ("bench", "queries", world.data, "--model", world.model, "--codes", "aq", "--bits", 32, "-q")
    done = spdq(*args, "--seeds", 2, "--develop")
    assert done.code == 0, done.err
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[3].startswith("| aq | 32 | images | ")
    assert lines[-1].startswith("Means of 2 seeds, which differ by at most ")


def test_what_cannot_be_measured(spdq, world):
    done = spdq("bench", "queries", "--model", world.model)
    assert (done.code, "--model is for DATA.h5" in done.err) == (2, True)
    done = spdq("bench", "queries", world.data)
    assert (done.code, "name a model (--model)" in done.err) == (4, True)
