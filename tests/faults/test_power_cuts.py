"""What was acknowledged survives a power cut; without any one of the precautions it would not."""

from __future__ import annotations

import os
import shutil
import time
from random import Random

import pytest
from faults_disks import LoopDisk, NoDisk
from faults_model import ATTRIBUTES, CODEBOOKS, NOT_CREATED, Model, Script

from spdq.index import Index

KILLED = -9


@pytest.fixture
def disk(tmp_path, lacking):
    try:
        made = LoopDisk(tmp_path)
    except NoDisk as error:
        lacking(error)
    yield made
    made.close()


class Cut:
    """A writer on a disk whose power is cut some time after change number ``goal``, and what was left of its index."""

    def __init__(self, nursery, disk, path, model, goal, later=0.0, **job):
        child = nursery.start("write", path=path, script=model.script, step=model.step, **job)
        child.go()
        child.wait_until(lambda: child.report.step >= goal or child.ended())
        assert child.status is None, child.report.text
        time.sleep(later)
        child.stop()
        disk.cut_power()
        child.kill()
        status, self.acknowledged, text = child.outcome()
        assert status == KILLED, text
        disk.restart()
        model = model.copy().advance(self.acknowledged)
        model.step = self.acknowledged  # Which may be NOT_CREATED.
        status, self.found, self.lost = nursery.run("check", path=path, model=model, changes=1).outcome()
        assert status == 0, self.lost


def test_power_cuts(nursery, disk, full, figures):
    """The same directory carried on; every fifth time a new one, made just before."""
    chance = Random(3)
    figures |= {"cuts": 0, "acknowledged": 0, "the change after the last acknowledged was there": 0}
    for number in range(100 if full else 6):
        if number % 5 == 0:
            model = Model(Script(chance.choice(("int", "str")), number))
            path = disk.path / f"index{number}"
        create = not path.exists()
        goal = model.step + chance.randrange(12) - create
        if chance.random() < 0.5:  # It rests after each change and is most likely cut there ...
            how = {"patience": 0.05}
        else:  # ... or it goes on and is cut anywhere.
            how = {"later": chance.uniform(0, 0.02)}
        cut = Cut(nursery, disk, path, model, goal, create=create, **how)
        assert not cut.lost, f"cut {number} after change {cut.acknowledged}: {cut.lost}"
        figures["cuts"] += 1
        figures["acknowledged"] += cut.acknowledged - model.step
        figures["the change after the last acknowledged was there"] += cut.found > cut.acknowledged
        if cut.found != NOT_CREATED:
            model.advance(cut.found + 1)  # The check itself made one more change.
        if number % 5 == 4:
            shutil.rmtree(path, ignore_errors=True)
    assert figures["acknowledged"] > 0


@pytest.mark.parametrize(
    ("precaution", "create"), [("fsync", False), ("EXTRA", False), ("directory sync", True)]
)
def test_without_a_precaution_power_cuts_lose(nursery, disk, full, figures, precaution, create):
    """Else the test above would show nothing. The cut comes while the writer rests after a change."""
    figures |= {"cuts": 0, "losses": 0}
    for seed in range(100 if full else 4):
        model = Model(Script("str", seed))
        path = disk.path / f"index{seed}"
        if not create:
            make_durable(path, model)
        goal = model.step + (0 if create else 1 + seed % 4)
        cut = Cut(nursery, disk, path, model, goal, create=create, patience=0.1, without=precaution)
        figures["cuts"] += 1
        figures["losses"] += bool(cut.lost)
        shutil.rmtree(path, ignore_errors=True)
    assert figures["losses"] > 0, "the harness does not notice losses"


def make_durable(path, model):
    """An index directory with some changes, all of it on the disk."""
    with Index.create(path, CODEBOOKS, ids=model.script.ids, attributes=ATTRIBUTES) as index:
        while model.step < 3:
            model.next().apply(index)
            model.advance()
    os.sync()
