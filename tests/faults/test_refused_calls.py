"""Storage that refuses: the call says so and nothing is acknowledged, changed or left behind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
from faults_disks import NoDisk, small_disk
from faults_model import ATTRIBUTES, CODEBOOKS, Model, Script
from faults_processes import SYNCING, WRITING, CannotTrace, changing_calls, inject

from spdq.errors import StorageError
from spdq.index import Index


@pytest.fixture(scope="module")
def points(start, tmp_path_factory):
    """The changing calls of the script, or what prevents to know them."""
    try:
        return changing_calls(start.writer()[0], tmp_path_factory.mktemp("trace"))
    except CannotTrace as error:
        return error


@pytest.fixture
def refuse(start, points, lacking):
    """Run the script with a fault at a point: whether it ended well, the last acknowledged change, what it said."""
    if isinstance(points, CannotTrace):
        lacking(points)

    def run(point, what):
        child, _ = start.writer()
        inject(child, point, what)
        status, step, text = child.outcome()
        assert status in (0, StorageError.exit_code), f"{what} at {point}: {status} {text}"
        assert (status == 0) == (step == start.last), f"{what} at {point}: {step} {text}"
        return status == 0, step, text

    return run


def test_input_output_errors(start, points, refuse, full, figures):
    """Where Python sees none, SQLite made do without that call: it was a directory's."""
    figures |= {"refused calls": 0, "errors": 0, "errors after which the change was there": 0}
    unseen = Counter()
    for point in points if full else [point for point in points if point.name in SYNCING][::4]:
        ended_well, step, _ = refuse(point, "error=EIO")
        figures["refused calls"] += 1
        if ended_well:
            unseen[point.name] += 1
            assert point.name not in SYNCING or Path(point.file).is_dir(), point
            start.check(step)
        else:
            figures["errors"] += 1
            figures["errors after which the change was there"] += start.check(step) > step
    figures["without an error"] = dict(unseen)
    assert figures["errors"] > figures["refused calls"] / 2


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS"])
def test_refused_writes(start, points, refuse, full, figures, error):
    """Once, and for good from some call on. Only the note in the lock file, who holds it, may be missing."""
    figures |= {"refused calls": 0, "errors": 0, "without an error": 0}
    places = [point for point in points if point.name in WRITING]
    width = 1 if full else 7 if error == "ENOSPC" else 40
    for number, point in enumerate(places[::width]):
        for ever_after in ("", "+") if full and error == "ENOSPC" else ("", "+")[number % 2]:
            ended_well, step, text = refuse(point, f"error={error}{ever_after}")
            figures["refused calls"] += 1
            if ended_well:
                figures["without an error"] += 1
                assert point.number == 1
            else:
                figures["errors"] += 1
                assert says_nothing_changed(text, start.model, step), f"{point}{ever_after}: {text}"
            assert start.check(step) == step, f"{point}: {text}"
    assert figures["errors"] > 0


def says_nothing_changed(text, model, step):
    """A removal, change number ``step``, succeeds although the merging after it fails: the next change is told."""
    if text.endswith(": an earlier write to this index failed: open it anew"):
        return model.copy().advance(step - 1).next().kind == "remove"
    return "; nothing was changed, index is at generation " in text


def test_small_disk(nursery, tmp_path, full, figures, lacking):
    chance = Random(4)
    figures |= {"full disks": 0, "acknowledged before": 0}
    for seed in range(60 if full else 3):
        try:
            with small_disk(tmp_path, "1m") as disk:
                figures["acknowledged before"] += fill(
                    nursery, disk, seed, chance.randrange(600_000, 950_000)
                )
        except NoDisk as error:
            lacking(error)
        figures["full disks"] += 1


def fill(nursery, disk, seed, ballast):
    """Change an index until the disk is full, make room, go on; returns how many changes were acknowledged before."""
    path, model = disk / "index", Model(Script("str", seed))
    Index.create(path, CODEBOOKS, ids="str", attributes=ATTRIBUTES).close()
    (disk / "ballast").write_bytes(bytes(ballast))
    child = nursery.run("write", path=path, script=model.script, step=0)
    status, step, text = child.outcome()
    assert status == StorageError.exit_code, text
    assert says_nothing_changed(text, model, step), text
    with Index.open(path) as index:
        index.verify()
    (disk / "ballast").unlink()
    status, found, text = nursery.run("check", path=path, model=model.advance(step), changes=5).outcome()
    assert (status, text, found) == (0, "", step)
    return step
