"""The table over code lengths, splits and seeds holds the figures that judging by hand gives."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from oracles_training import QUICK, made_dataset

from spdq.data import make_split
from spdq.errors import DataError, UsageError
from spdq.training import codebooks, recipes
from spdq.training.spdq import train_spdq, with_bits
from spdq_benchmarks.evaluation import judge
from spdq_benchmarks.retrieval import Cell, benchmark_retrieval, table
from spdq_cli.main import cli


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(codebooks, "MIXES", 100)
    for name, recipe in QUICK.items():
        monkeypatch.setitem(recipes.RECIPES, name, recipe)


def test_cells_are_what_judging_gives():
    data = made_dataset()
    lines = []
    cells = benchmark_retrieval(data, ["default"], ["seen"], [16, 32], seeds=2, report=lines.append)
    assert lines == [f"{data.name} default seen seed {seed}" for seed in (0, 1)]
    assert {(cell.coding, cell.bits) for cell in cells} == {("vectors", 0), ("codes", 16), ("codes", 32)}
    for seed in (0, 1):
        split = data.with_split(make_split(len(data), data.split.query, "seen", seed))
        model = with_bits(train_spdq(split, 16, "default", seed), split, 32)
        by_hand = {(j.figure.protocol, j.direction): j.figure.value for j in judge(model, split)}
        found = {(c.protocol, c.direction): c.values[seed] for c in cells if c.bits == 32}
        assert found == by_hand


def test_the_paper_s_upper_bound_is_named():
    cells = benchmark_retrieval(made_dataset(), ["paper"], ["unseen"], [16], seeds=1)
    assert {cell.coding for cell in cells} == {"vectors", "codes", "label codes"}
    shown = table(cells)
    assert "| upper bound, 16 bits |" in shown
    assert all(cell.deviation == 0 for cell in cells)


def test_mean_and_deviation():
    cell = Cell("d", "default", "seen", "codes", 16, "map@all", "i2t", "", (0.2, 0.4))
    assert (cell.mean, cell.deviation) == (pytest.approx(0.3), pytest.approx(0.02**0.5))
    assert table([cell]).splitlines()[-1] == "| d | default | seen | 16 bits | 0.300 (0.141) |"


def test_without_a_split():
    with pytest.raises(DataError, match="has no split: make one with `spdq dataset split`"):
        benchmark_retrieval(made_dataset().with_split(None))


def test_unknown_recipe():
    with pytest.raises(UsageError, match="unknown recipe 'other': known are default, paper"):
        benchmark_retrieval(made_dataset(), ["other"])


def test_the_command(tmp_path):
    file = tmp_path / "made.h5"
    made_dataset().save(file)
    options = ["--recipe", "default", "--split", "seen", "--bits", "16", "--seeds", "1"]
    plain = CliRunner().invoke(cli, ["bench", "retrieval", str(file), *options])
    assert plain.exit_code == 0, plain.output
    assert "| default | seen | 16 bits |" in plain.stdout
    found = CliRunner().invoke(cli, ["bench", "retrieval", str(file), *options, "--json"])
    cells = json.loads(found.stdout)
    assert {(c["coding"], c["protocol"]) for c in cells} == {
        (coding, protocol) for coding in ("codes", "vectors") for protocol in ("map@50", "map@all")
    }
