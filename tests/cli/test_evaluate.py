from __future__ import annotations

import json
import shutil

import pytest

from spdq.models import load_model
from spdq_benchmarks.evaluation import chance_level, judge


@pytest.fixture
def own_model(world, tmp_path):
    """A copy of the model, for eval.json is written into it."""
    return shutil.copytree(world.model, tmp_path / "model")


def test_the_figures_are_the_library_s(spdq, world, own_model):
    options = ("--vectors", "--labels", "colour:", "--protocol", "map@5", "--protocol", "ndcg@3", "--json")
    done = spdq("evaluate", own_model, world.data, *options)
    assert done.code == 0, done.err
    record = json.loads(done.out)
    model = load_model(own_model)
    judged = judge(
        model, world.dataset, protocols=("map@5", "ndcg@3"), labels="colour:", codings=("codes", "vectors")
    )
    chance = {
        f.protocol: f.to_json()["value"] for f in chance_level(world.dataset, ("map@5", "ndcg@3"), "colour:")
    }
    assert record["figures"] == [j.to_json() | {"chance": chance[j.figure.protocol]} for j in judged]
    assert len(record["figures"]) == 8
    assert record["model_fingerprint"] == model.fingerprint
    assert record["text_queries"] == "first line of text"
    assert json.loads((own_model / "eval.json").read_text()) == record


def test_no_figure_stands_alone(spdq, world, own_model):
    done = spdq("evaluate", own_model, world.data)
    header, *lines = [line.split("\t") for line in done.out.splitlines()]
    assert header[:6] == ["protocol", "direction", "split", "labels", "coding", "bits"]
    assert header[6:] == ["value", "lowest", "highest", "chance"]
    assert [line[:6] for line in lines] == [
        [protocol, direction, "seen", "all", "codes", "16"]
        for direction in ("i2t", "t2i")
        for protocol in ("map@50", "map@all")
    ]
    for line in lines:
        value, lowest, highest, chance = map(float, line[6:])
        assert 0 <= lowest <= value <= highest <= 1
        assert value > chance > 0
    assert done.err == "spdq: drawings: a text query is its item's first line of text\n"


def test_weight(spdq, world, own_model):
    plain = json.loads(spdq("evaluate", own_model, world.data, "--json").out)
    meaning, instance = (
        json.loads(spdq("evaluate", own_model, world.data, "--instance-weight", weight, "--json").out)
        for weight in ("0", "1000")
    )
    assert [found["instance_weight"] for found in (plain, meaning, instance)] == [None, 0, 1000]
    assert meaning["figures"] != instance["figures"]


def test_whole_texts_are_other_queries_than_names(spdq, world, own_model, tmp_path):
    spdq("dataset", "split", world.data, tmp_path / "p.h5", "--kind", "paired")
    protocols = [f"instance-recall@{n}" for n in range(1, 9)]
    options = ("--direction", "t2i", "--vectors", *(f"--protocol={name}" for name in protocols), "--json")
    names = json.loads(spdq("evaluate", own_model, tmp_path / "p.h5", *options).out)
    whole = json.loads(spdq("evaluate", own_model, tmp_path / "p.h5", *options, "--whole-text").out)
    assert (names["text_queries"], whole["text_queries"]) == ("first line of text", "whole text")
    assert names["figures"] != whole["figures"]


def test_units_of_a_paired_split(spdq, run, world, tmp_path):
    spdq("dataset", "split", world.data, tmp_path / "p.h5", "--kind", "paired")
    # The same rows are trained on, so the model of the "seen" split may be judged here, too.
    model = shutil.copytree(world.model, tmp_path / "model")
    done = spdq("evaluate", model, tmp_path / "p.h5", "--direction", "t2u")
    assert done.code == 0, done.err
    lines = [line.split("\t") for line in done.out.splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        [f"instance-recall@{n}", "t2u", "paired, queries not trained on", "not used"] for n in (1, 10)
    ]
    assert [line[-1] for line in lines] == [f"{1 / 48:.4f}", f"{10 / 48:.4f}"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--protocol", "map"], 2, "unknown protocol 'map': expected one of map@R"),
        (["--protocol", "map@0"], 2, "unknown protocol 'map@0'"),
        (
            ["--protocol", "instance-recall@1"],
            4,
            'needs the queries\' own items in the database: a "paired" split',
        ),
        (["--labels", "taste:"], 4, "no label starts with 'taste:'"),
        (["--direction", "u2t"], 2, "'u2t' is not one of"),
    ],
)
def test_what_cannot_be_judged(spdq, world, own_model, options, code, message):
    done = spdq("evaluate", own_model, world.data, *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert not (own_model / "eval.json").exists()


def test_a_model_is_not_judged_on_rows_it_was_trained_on_unawares(spdq, world, own_model, tmp_path):
    spdq("dataset", "split", world.data, tmp_path / "u.h5", "--kind", "unseen")
    done = spdq("evaluate", own_model, tmp_path / "u.h5")
    assert done.code == 6
    assert "the model was trained on other rows" in done.err
