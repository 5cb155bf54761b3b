"""``spdq bench scale``: the command from the outside."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

FEW = ("--classes", 300, "--rows", 2000, "--steps", 1)


def test_a_report_is_printed_and_kept(spdq, tmp_path):
    done = spdq("bench", "scale", "--out", tmp_path / "out", *FEW)
    assert done.code == 0, done.err
    assert "| classes | 300 |" in done.out
    assert "| rows | 2,000 |" in done.out
    assert [line.partition(":")[0] for line in done.err.splitlines()] == ["spdq"] * 3
    text = (tmp_path / "out" / "scale.md").read_text()
    assert f"Command: `spdq bench scale --out {tmp_path / 'out'} --classes 300 --rows 2000 --steps 1`" in text
    assert done.out in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scale.json", "scale.md"]


def test_json_alone_where_it_is_asked_for(spdq, tmp_path):
    done = spdq("bench", "scale", "--out", tmp_path, *FEW, "-q", "--json")
    assert (done.code, done.err) == (0, "")
    kept = json.loads((tmp_path / "scale.json").read_text())
    assert kept.pop("command").endswith(" -q --json")
    assert json.loads(done.out) == kept
    assert (kept["mixer"]["classes"], kept["click_log"]["rows"]) == (300, 2000)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, r"Missing option '--out'.*"),
        (["--out", "x", "--classes", "1"], 2, r"Invalid value for '--classes': 1 is not in the range x>=2.*"),
        (["--out", "x", "--rows", "0"], 2, r"Invalid value for '--rows': 0 is not in the range x>=1.*"),
        (["--out", "x", "--steps", "0"], 2, r"Invalid value for '--steps': 0 is not in the range x>=1.*"),
        (["--out", "x", "--seed", "-1"], 2, r"Invalid value for '--seed': -1 is not in the range x>=0.*"),
        (["--out", __file__], 8, r"cannot make .*test_bench_scale\.py: File exists"),
    ],
)
def test_errors_are_one_line(spdq, tmp_path, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    done = spdq("bench", "scale", *args)
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(f"spdq: error: {message}\n", done.err)
    assert list(tmp_path.iterdir()) == []


def children(pid):
    """Processes that a process has started, by Linux's own list."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_ctrl_c_leaves_neither_processes_nor_the_log(process, tmp_path):
    out = tmp_path / "out"
    sizes = ("--classes", "2", "--steps", "1", "--rows", "2000000")
    with process("bench", "scale", "--out", out, *sizes) as started:
        assert started.stderr.readline() == "spdq: a Mixer with 2 classes: 4 steps\n"
        assert started.stderr.readline() == "spdq: a click log of 2,000,000 rows: writing\n"
        wait_until(lambda: list(out.glob(".scale-*/log.tsv")))
        workers = children(started.pid)
        assert workers
        started.send_signal(signal.SIGINT)
        printed, err = started.communicate(timeout=60)
    assert (started.returncode, printed, err) == (130, "", "spdq: interrupted\n")
    wait_until(lambda: not any(map(is_running, workers)))
    assert list(out.iterdir()) == []
