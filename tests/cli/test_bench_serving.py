"""``spdq bench serving``: the command from the outside."""

from __future__ import annotations

import json
import re

import pytest


def test_a_quick_run(spdq, tmp_path):
    done = spdq("bench", "serving", "--quick", "-q", "--json", "--out", tmp_path)
    assert (done.code, done.err) == (0, "")
    figures = json.loads(done.out)
    kept = json.loads((tmp_path / "serving.json").read_text())
    assert kept == {"command": f"spdq bench serving --quick --out {tmp_path} -q --json", "figures": figures}
    assert "| capacity |" in (tmp_path / "serving.md").read_text()
    names = {figure["name"]: figure for figure in figures}
    assert names["20 searches a second by vectors: refused or failed"]["value"] == 0
    assert not any("texts" in name for name in names)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--rows", "999"], 2, r"Invalid value for '--rows': 999 is not in the range x>=1000.*"),
        (["--rate", "0"], 2, r"Invalid value for '--rate': 0.* is not in the range x>=1.*"),
        (["--out", "nowhere"], 3, r"folder not found: nowhere"),
        (["--quick", "--model", "nowhere"], 3, r"no model in nowhere: config\.json is missing.*"),
    ],
)
def test_errors_are_one_line(spdq, tmp_path, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    done = spdq("bench", "serving", *args)
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(f"spdq: error: {message}\n", done.err)
