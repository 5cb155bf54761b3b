"""A writer that is killed loses nothing it acknowledged, and nothing is half done."""

from __future__ import annotations

import json
import shutil
import time
from random import Random

from faults_damage import make_bases
from faults_model import ATTRIBUTES, CODEBOOKS, Model, Script
from faults_processes import CannotTrace, changing_calls, inject

from spdq.index import Index

KILLED = -9


def test_killed_at_every_changing_call(start, tmp_path, full, figures, lacking):
    """The script merges segments by itself in its first change and its fourth."""
    try:
        points = changing_calls(start.writer()[0], tmp_path)
    except CannotTrace as error:
        lacking(error)
    start.check(start.last)
    figures |= {"points": len(points), "killed": 0, "the change after the last acknowledged was there": 0}
    for point in points if full else points[3::7]:
        child, _ = start.writer()
        inject(child, point, "signal=SIGKILL")
        status, step, text = child.outcome()
        assert status == KILLED, f"{point}: ended with {status} after change {step}: {text}"
        figures["killed"] += 1
        figures["the change after the last acknowledged was there"] += start.check(step) > step
    assert figures["killed"] > 20


def test_killed_while_creating(nursery, tmp_path, full, figures, lacking):
    """Then there is no index, or an empty one."""
    model, path = Model(Script("int", 22)), tmp_path / "index"
    job = {"path": path, "script": model.script, "step": 0, "last": 0, "create": True}
    try:
        points = changing_calls(nursery.start("write", **job), tmp_path)
    except CannotTrace as error:
        lacking(error)
    figures |= {"points": len(points), "killed": 0, "the index was there": 0}
    for point in points if full else points[::7]:
        shutil.rmtree(path, ignore_errors=True)
        child = nursery.start("write", **job)
        inject(child, point, "signal=SIGKILL")
        status, step, text = child.outcome()
        assert status == KILLED, f"{point}: {text}"
        model.step = step
        status, found, text = nursery.run("check", path=path, model=model, changes=2).outcome()
        assert (status, text) == (0, ""), f"{point}: {text}"
        figures["killed"] += 1
        figures["the index was there"] += found == 0


def test_killed_while_repairing(nursery, tmp_path, full, figures, lacking):
    """Repaired anew, the index holds what it would hold without the kill."""
    make_bases(tmp_path)
    path, made = tmp_path / "index", tmp_path / "str"
    break_all(made)

    def start():
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(made, path)
        return nursery.start("mend", path=path)

    child = start()
    try:
        points = changing_calls(child, tmp_path)
    except CannotTrace as error:
        lacking(error)
    *_, expected = child.outcome()
    assert len(json.loads(expected)) > 0
    figures |= {"points": len(points), "killed": 0}
    for point in points if full else points[::7]:
        child = start()
        inject(child, point, "signal=SIGKILL")
        status, _, text = child.outcome()
        assert status == KILLED, f"{point}: {text}"
        status, _, text = nursery.run("mend", path=path).outcome()
        assert status == 0, f"{point}: {text}"
        assert text == expected, point
        figures["killed"] += 1


def break_all(path):
    """Damage the catalogue, a segment and the attributes of another."""
    segments, attributes = (sorted(path.glob(f"segments/*.{kind}")) for kind in ("safetensors", "db"))
    for file in (path / "catalog.db", segments[0], attributes[1]):
        data = bytearray(file.read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        file.unlink()
        file.write_bytes(data)


def test_killed_at_any_time(nursery, tmp_path, full, figures):
    """Again and again, the same directory carried on."""
    path = tmp_path / "index"
    model = Model(Script("int", 21))
    Index.create(path, CODEBOOKS, ids="int", attributes=ATTRIBUTES).close()
    chance = Random(2)
    figures |= {"killed": 0, "acknowledged": 0, "the change after the last acknowledged was there": 0}
    for _ in range(200 if full else 30):
        child = nursery.start("write", path=path, script=model.script, step=model.step)
        child.go()
        goal = model.step + chance.randrange(40)
        child.wait_until(lambda child=child, goal=goal: child.report.step >= goal or child.ended())
        time.sleep(chance.uniform(0, 0.02))
        child.kill()
        status, step, text = child.outcome()
        assert status == KILLED, text
        figures["killed"] += 1
        figures["acknowledged"] = step
        status, found, text = nursery.run("check", path=path, model=model.advance(step)).outcome()
        assert (status, text) == (0, ""), f"killed after change {step}: {text}"
        figures["the change after the last acknowledged was there"] += found > step
        model.advance(found)
