"""Every system on the same way: train, evaluate, encode, index, search. Nothing but ``train`` is told which it is."""

from __future__ import annotations

import json

import pytest
from oracles_csm import judged_log
from oracles_gated import made_drawings

SETS = {"csm": judged_log, "mixer": made_drawings, "gated": made_drawings}


@pytest.fixture(scope="module", params=SETS)
def trained(request, spdq, tmp_path_factory):
    """Name of the system, its data set, its model, and what ``train`` said."""
    folder = tmp_path_factory.mktemp(request.param)
    dataset = SETS[request.param]()
    dataset.save(folder / "data.h5")
    done = spdq("train", folder / "data.h5", folder / "m", "--model", request.param, "--bits", "16", "--json")
    assert done.code == 0, done.err
    return request.param, dataset, folder, json.loads(done.out)


def test_train_says_what_it_made(trained):
    system, dataset, _, said = trained
    assert (said["type"], said["dataset"], said["bits"]) == (system, dataset.name, 16)


def test_it_is_judged_by_its_split(spdq, trained):
    system, dataset, folder, _ = trained
    asked = ("t2i", "ndcg@25") if system == "csm" else ("i2u", "map@all")
    done = spdq(
        "evaluate",
        folder / "m",
        folder / "data.h5",
        "--direction",
        asked[0],
        "--protocol",
        asked[1],
        "--json",
    )
    assert done.code == 0, done.err
    (figure,) = json.loads(done.out)["figures"]
    assert figure["split"] == dataset.split.kind
    assert figure["value"] > 1.5 * figure["chance"]


def test_it_is_indexed_and_searched(spdq, trained):
    system, dataset, folder, _ = trained
    modality = "image" if system == "csm" else "unit"
    built = spdq(
        "index", "build", folder / "i.spdq", folder / "data.h5", "--model", folder / "m",
        "--modality", modality, "--rows", "database",
    )  # fmt: skip
    assert built.code == 0, built.err
    text = "red" if system == "csm" else "bbbkkk"
    done = spdq("search", folder / "i.spdq", "--text", text, "-k", "3", "--json")
    assert done.code == 0, done.err
    hits = [hit["id"] for line in done.out.splitlines() for hit in json.loads(line)["hits"]]
    wanted = dataset.ids[::4] if system == "csm" else ["bbbkkk"]
    assert set(hits) & set(wanted)


def test_units_are_encoded(spdq, trained):
    system, dataset, folder, _ = trained
    done = spdq("encode", folder / "m", folder / "data.h5", folder / "c.h5", "--modality", "unit", "--json")
    if system == "csm":  # Its items have no text at all.
        assert (done.code, "has no text" in done.err) == (4, True)
        return
    assert done.code == 0, done.err
    assert json.loads(done.out)["items"] == len(dataset)


def test_a_query_of_no_known_word(spdq, trained):
    _, _, folder, _ = trained
    done = spdq("search", folder / "i.spdq", "--text", "12345 zzqqxx")
    assert done.code == 4
    assert "no known word" in done.err
