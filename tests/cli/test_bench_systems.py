"""``spdq bench systems``: the command from the outside."""

from __future__ import annotations

import json

import pytest
from oracles_csm import judged_log

FEW = ("--method", "words", "--method", "popularity", "--bits", "16", "--seeds", "1")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "log.h5"
    judged_log().save(path)
    return path


def test_a_table_is_printed(spdq, log):
    done = spdq("bench", "systems", log, *FEW)
    assert done.code == 0, done.err
    assert "## csm on log" in done.out
    assert "| popularity |" in done.out
    assert "log csm: words, split, seed 0" in done.err


def test_a_report_is_kept_and_gone_on_with(spdq, log, tmp_path):
    options = ("bench", "systems", log, *FEW, "--out", tmp_path / "out", "--json")
    first = spdq(*options)
    assert first.code == 0, first.err
    text = (tmp_path / "out" / "systems.md").read_text()
    assert f"Command: `spdq bench systems {log} --method words" in text
    again = spdq(*options)
    assert "2 of 2 jobs are on record already" in again.err
    assert json.loads(again.out) == json.loads(first.out)


def test_a_wrong_name_lists_the_known(spdq, log):
    done = spdq("bench", "systems", log, "--method", "soup")
    assert done.code == 2
    assert "unknown method 'soup': known are csm, csm-paper, words" in done.err
