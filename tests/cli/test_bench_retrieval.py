"""``spdq bench retrieval``: the command from the outside, with real methods in real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace

import pytest
from oracles_training import made_dataset

from spdq.data import make_split

FEW = ("--training", "half", "--bits", "16", "--protocol", "map@all")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "made.h5"
    made_dataset(60).save(path)
    return path


def test_a_table_and_nothing_left_behind(spdq, data, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    done = spdq("bench", "retrieval", data, "--method", "cca", "--method", "cca-opq", *FEW)
    assert done.code == 0, done.err
    assert "### made, unseen, group:" in done.out
    assert "| cca-opq | float vectors |" in done.out
    assert "| cca | 16 bits |" in done.out
    assert "[2/2] made half cca" in done.err
    assert list(tmp_path.iterdir()) == []


def test_records_are_kept_and_gone_on_with(spdq, data, tmp_path):
    options = ("bench", "retrieval", data, "--method", "cca", *FEW, "--out", tmp_path / "out", "--json")
    first = spdq(*options, "--trec")
    assert first.code == 0, first.err
    found = json.loads(first.out)
    assert {(cell["method"], cell["split"], cell["bits"], cell["protocol"]) for cell in found} == {
        ("cca", "unseen", 16, "map@all")
    }
    assert {cell["direction"] for cell in found} == {"i2t", "t2i", "t2u", "i2u"}
    assert (tmp_path / "out/records/made/half/cca/s0-16-codes.json").is_file()
    report = (tmp_path / "out/report.md").read_text()
    command = f"spdq bench retrieval {data} --method cca --training half --bits 16 --protocol map@all --out"
    assert f"Command: {command} {tmp_path / 'out'} --trec --json" in report.replace("\\", "")
    assert (tmp_path / "out/report.html").is_file()
    assert (tmp_path / "out/trec/made/unseen-s0/i2t/cca-16.run").is_file()
    again = spdq(*options)
    assert "1 of 1 jobs are on record already" in again.err
    assert json.loads(again.out) == found


def test_a_failed_job_is_named_beside_the_figures_of_the_others(spdq, data, tmp_path):
    few = tmp_path / "few.h5"
    split = make_split(6, [0, 1, 2], "seen", 0)  # half of the three other rows is too few to learn from
    replace(made_dataset(6), name="few", split=split).save(few)
    done = spdq("bench", "retrieval", few, data, "--method", "cca", *FEW)
    assert done.code == 1
    assert "few half cca seed 0 failed: " in done.err
    assert "error: 1 job failed" in done.err.splitlines()[-1]
    assert "### made, unseen, group:" in done.out


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "give either data set files or --quick"),
        (("{data}", "--quick"), 2, "give either data set files or --quick"),
        (("{data}", "--trec"), 2, "--trec needs a folder for its files: --out FOLDER"),
        (("{data}", "--method", "spqd"), 2, "unknown method 'spqd': known are spdq, spdq-paper, "),
        (("{data}", "--protocol", "map"), 2, "unknown protocol 'map': expected one of map@R"),
        (("{data}", "--training", "all"), 2, "'all' is not one of 'rest', 'half', 'everything'"),
        (("nowhere.h5",), 3, "nowhere.h5"),
        (("{data}", "--out", "{data}"), 8, "cannot make"),
    ],
)
def test_bad_input(spdq, data, options, code, message):
    done = spdq("bench", "retrieval", *(option.format(data=data) for option in options))
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def children(pid):
    """Processes that a process has started, by Linux's own list."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("to_all", [True, False], ids=["as a terminal sends it", "to the command alone"])
def test_ctrl_c_keeps_what_is_done(process, run, data, tmp_path, to_all):
    options = ("bench", "retrieval", data, *FEW, "--out", tmp_path / "out")
    methods = ("--method", "cca", "--method", "spdq", "--seeds", "40", "--workers", "2")
    with process(*options, *methods, start_new_session=True) as started:
        line = started.stderr.readline()
        assert "made half cca seed 0" in line
        workers = children(started.pid)
        assert len(workers) >= 2
        (os.killpg if to_all else os.kill)(started.pid, signal.SIGINT)
        out, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    end = time.monotonic() + 10
    while any(map(is_running, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, workers))
    again = run(*options, "--method", "cca", "--seeds", "1")
    assert again.code == 0, again.err
    assert "1 of 1 jobs are on record already" in again.err
    assert "| cca | 16 bits |" in again.out
