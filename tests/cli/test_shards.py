"""``spdq index shard``, and what ``--ray`` does with its folder."""

from __future__ import annotations

import json
import re

import pytest

from spdq.index import Index


def test_shards_answer_as_the_index(spdq, world, tmp_path):
    done = spdq("index", "shard", world.index, tmp_path / "s", "--shards", 3, "--json")
    assert done.code == 0, done.err
    paths = [tmp_path / "s" / f"shard-{number}-of-3" for number in (1, 2, 3)]
    assert json.loads(done.out) == {"shards": list(map(str, paths))}
    ids = []
    for path in paths:
        with Index.open(path) as shard:
            ids += shard.ids.tolist()
    assert ids == sorted(world.dataset.ids)
    query = ("--queries", world.data, "-k", 7, "--json")
    plain, sharded = spdq("search", world.index, *query), spdq("search", tmp_path / "s", *query, "--ray")
    assert (plain.code, sharded.code) == (0, 0), sharded.err
    assert plain.out == sharded.out
    done = spdq("index", "info", tmp_path / "s", "--ray", "--json")
    assert done.code == 0, done.err
    facts = json.loads(done.out)
    assert (facts["items"], [one["items"] for one in facts["shards"]]) == (48, [16, 16, 16])


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["index", "shard", "{index}", "{folder}", "--shards", "0"], 2, "Invalid value for '--shards'.*"),
        (["index", "shard", "{index}", "{folder}"], 2, r".* already exists: choose another folder"),
        (["index", "shard", "{folder}/no", "{folder}/t"], 3, "index not found: .*"),
        (["search", "{index}", "--text", "a", "--ray"], 2, ".* is an index, not a folder of shards: .*"),
        (["search", "{folder}", "--text", "a", "--ray"], 3, ".* holds no index directories"),
        (["search", "{folder}", "--text", "a"], 3, ".* is not an index: it has no file catalog.db"),
        (["search", "{index}", "--text", "a", "--address", "x:1"], 2, "--address is for .*: add --ray"),
        (["index", "info", "{index}", "--address", "x:1"], 2, "--address is for .*: add --ray"),
    ],
)
def test_errors_are_one_line(spdq, world, tmp_path, args, code, message):
    done = spdq(*(str(one).format(index=world.index, folder=tmp_path) for one in args))
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(f"spdq: error: {message}\n", done.err)
    assert list(tmp_path.iterdir()) == []
