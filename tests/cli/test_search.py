from __future__ import annotations

import json

import numpy as np
import pytest

from spdq import Engine


@pytest.fixture(scope="module")
def engine(world):
    return Engine(world.model, world.index)


def answers(done):
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def as_json(hits):
    return [hit._asdict() for hit in hits]


def test_by_text(spdq, world, engine):
    done = spdq("search", world.index, "--text", "red circle", "-k", 2, "--json")
    (answer,) = answers(done)
    assert answer == {"query": "red circle", "hits": as_json(engine.search(text="red circle", k=2))}
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2]
    assert all(hit["id"].startswith("red-circle") for hit in answer["hits"])
    assert done.err == ""


def test_by_image(spdq, world, engine):
    picture = world.pictures / "blue-square-2.png"
    (answer,) = answers(spdq("search", world.index, "--image", picture, "--json"))
    assert answer == {"query": str(picture), "hits": as_json(engine.search(image=picture))}
    assert len(answer["hits"]) == 10


def test_texts_from_standard_input(spdq, world, engine):
    found = answers(spdq("search", world.index, "--text", "-", "-k", 2, "--json", stdin="red bar\ngreen\n"))
    assert [answer["query"] for answer in found] == ["red bar", "green"]
    assert [answer["hits"] for answer in found] == [
        as_json(engine.search(text=text, k=2)) for text in ("red bar", "green")
    ]


def test_no_lines_are_no_queries(spdq, world):
    done = spdq("search", world.index, "--text", "-", "--json", stdin="")
    assert (done.code, done.out, done.err) == (0, "", "")


@pytest.mark.parametrize("modality", ["text", "image"])
def test_the_queries_of_a_data_set(spdq, world, engine, modality):
    done = spdq("search", world.index, "--queries", world.data, "--modality", modality, "-k", 4, "--json")
    rows = world.dataset.split.query
    for answer, row in zip(answers(done), rows, strict=True):
        name = world.dataset.texts[row].splitlines()[0]
        query = {"text": name} if modality == "text" else {"image": world.dataset.image_path(row)}
        expected = engine.search(**query, k=4)
        assert answer["query"] == world.dataset.ids[row]
        assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in expected]
        distances = [hit["distance"] for hit in answer["hits"]]
        np.testing.assert_allclose(distances, [hit.distance for hit in expected], atol=1e-4)


def test_a_table_without_json(spdq, world):
    lines = spdq("search", world.index, "--text", "red circle", "-k", 1).out.splitlines()
    assert lines[0] == "query\trank\tid\tinner product"
    assert lines[1].startswith("red circle\t1\tred-circle-")
    assert len(lines) == 2


def test_more_than_there_is(spdq, world):
    (answer,) = answers(spdq("search", world.index, "--text", "red", "-k", 1_000_000, "--json"))
    assert len(answer["hits"]) == 48


def test_instance_weight(spdq, world, engine):
    options = ("--text", "red circle", "--instance-weight", 0, "--json")
    (answer,) = answers(spdq("search", world.index, *options))
    assert answer["hits"] == as_json(engine.search(text="red circle", instance_weight=0))
    assert answer["hits"] != as_json(engine.search(text="red circle"))


def test_unknown_words_are_said(spdq, world, engine):
    done = spdq("search", world.index, "--text", "red xyzzy circle qqqq", "--json")
    assert done.err == "spdq: unknown words left out: xyzzy, qqqq\n"
    assert answers(done)[0]["hits"] == as_json(engine.search(text="red xyzzy circle qqqq"))


def test_another_path_to_the_model(spdq, world, tmp_path):
    (tmp_path / "link").symlink_to(world.model)
    assert spdq("search", world.index, "--text", "red", "--model", tmp_path / "link").code == 0


@pytest.mark.parametrize(
    "options",
    [[], ["--text", "a", "--image", "b"], ["--text", "a", "--queries", "c"]],
    ids=["none", "ti", "tq"],
)
def test_exactly_one_query(spdq, world, options):
    done = spdq("search", world.index, *options)
    assert done.code == 2
    assert "expected exactly one of --text, --image and --queries" in done.err


def test_a_bad_line_is_named_after_the_good_ones_are_answered(spdq, world):
    done = spdq("search", world.index, "--text", "-", "--json", stdin="red\n\n")
    assert done.code == 4
    assert json.loads(done.out)["query"] == "red"
    assert done.err == "spdq: error: standard input line 2: empty query text: give at least one word\n"


def test_queries_need_a_split(spdq, world, tmp_path):
    world.dataset.with_split(None).save(tmp_path / "d.h5")
    done = spdq("search", world.index, "--queries", tmp_path / "d.h5")
    assert done.code == 4
    assert "has no split, so no query rows: make one with `spdq dataset split`" in done.err
