"""What the tests of faults let child processes do: change an index, look at it, follow it, contend for it.

The first argument of each job is a ``Report`` (see ``faults_nursery``).
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import traceback
from pathlib import Path
from random import Random

import pytest
from faults_damage import examine
from faults_model import (
    ATTRIBUTES,
    CODEBOOKS,
    NOT_CREATED,
    Model,
    Script,
    assert_answers,
    assert_holds,
    content,
)

from spdq.errors import LockedError, SpdqError, StorageError
from spdq.index import Index, store
from spdq.index.catalogue import Catalogue


def write(report, path, script, step, last=None, create=False, patience=0.0, without=None, log=None):
    """Make the changes after number ``step`` up to ``last``, or for ever, and acknowledge each when its call returned.

    ``patience``: the longest rest before one, in seconds. ``without``: a precaution of the index to leave out.
    ``log``: a file that gets a line "change generation" for each change made.
    """
    script, chance = Script.of(script), Random(step)
    _leave_out(without)
    path = Path(path)
    if create:
        Index.create(path, CODEBOOKS, ids=script.ids, attributes=ATTRIBUTES).close()
    report.step = step
    with Index.open(path, writable=True) as index:
        while last is None or step < last:
            time.sleep(chance.uniform(0, patience))
            change = script.change(step + 1, index.ids.tolist())
            try:
                change.apply(index)
            except StorageError as error:
                _refuses_more(index, change)
                raise error
            step += 1
            report.step = step
            if log is not None:
                with open(log, "a") as file:
                    file.write(f"{step} {index.generation}\n")


def _refuses_more(index, change):
    """A writer that failed stays failed, and says so."""
    with pytest.raises(StorageError, match="an earlier write to this index failed: open it anew"):
        change.apply(index)


def _leave_out(precaution):
    match precaution:
        case "fsync":
            os.fsync = lambda handle: None
        case "directory sync":
            store.sync_directory = lambda path: None
        case "EXTRA":
            Catalogue._set_durable = lambda catalogue: catalogue._run("PRAGMA synchronous=FULL")


def check(report, path, model, changes=0):
    """The index holds what ``model`` says or the next change on top, for readers and a writer.

    Then the writer makes some ``changes`` more. ``report.step``: the change that was found to be the last one.
    ``report.text``: what was lost, empty if nothing.
    """
    model = Model.of(model)
    try:
        _check(report, Path(path), model, changes)
    except (AssertionError, SpdqError):
        report.text = "lost: " + traceback.format_exc(limit=-2)


def _check(report, path, model, changes):
    if model.step == NOT_CREATED:
        model.step = 0
        if not path.exists():
            report.step = NOT_CREATED
            return
    with Index.open(path) as reader:
        if content(reader) != model.items():
            following = model.copy().advance()
            if content(reader) == following.items():
                model = following
        assert_holds(reader, model.items())
    report.step = model.step
    with Index.open(path, writable=True) as writer:
        # SQLite leaves an empty journal where it is, to the next change.
        assert (strange := orphans(path)) in ([], ["catalog.db-journal"]), strange
        writer.verify()
        for _ in range(changes):
            model.next().apply(writer)
            model.advance()
    if changes:
        assert (strange := orphans(path)) == [], strange
        with Index.open(path) as reader:
            assert_holds(reader, model.items())


def orphans(path):
    """Files of an index that its catalogue does not name, as SQLite alone reads it."""
    connection = sqlite3.connect(path / "catalog.db")
    names = {name for (name,) in connection.execute("SELECT name FROM segments")}
    connection.close()
    ours = {"catalog.db", "codebooks.safetensors", "segments", "writer.lock"}
    strange = [file.name for file in path.iterdir() if file.name not in ours]
    return strange + [file.name for file in (path / "segments").iterdir() if file.stem not in names]


def follow(report, path, script, log, seconds):
    """Read an index that is being written: each answer must be that of the model at the reader's generation."""
    model = Model(Script.of(script))
    history, chance = _History(log), Random(os.getpid())
    reads, seen = 0, set()
    index = Index.open(path)
    last = index.generation
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if chance.random() < 0.5:
            moved = index.refresh()
            assert moved == (index.generation > last)
        else:
            index.close()
            index = Index.open(path)
        assert index.generation >= last, f"generation {index.generation} after {last}"
        last = index.generation
        history.show(model, last)
        (assert_holds if reads % 10 == 0 else assert_answers)(index, model.items())
        reads += 1
        seen.add(last)
    report.text = json.dumps({"reads": reads, "generations": len(seen), "last": last})


class _History:
    """Which change an index shows at a generation, from the log of its writer."""

    def __init__(self, log):
        self._file = Path(log).open()  # noqa: SIM115 - as long as the process
        self._line = ""
        self._before = self._after = (0, 0)

    def show(self, model, generation):
        """Advance a model to what this generation holds; from call to call it may not go back."""
        deadline = time.monotonic() + 30
        while self._after[1] < generation:
            self._line += self._file.readline()
            if self._line.endswith("\n"):
                self._before, self._after = self._after, tuple(map(int, self._line.split()))
                self._line = ""
            else:
                assert time.monotonic() < deadline, f"generation {generation} was never acknowledged"
                time.sleep(0.0005)
        model.advance(self._before[0])
        # A change that merges segments besides is two generations: removing comes before merging, adding after it.
        if generation == self._after[1] or model.next().kind == "remove":
            model.advance(self._after[0])


def contend(report, path, script, step):
    """Try to be the writer: make one change and stay until told to go, or report after how long it was refused."""
    report.step = step
    start = time.monotonic()
    try:
        index = Index.open(path, writable=True)
    except LockedError as error:
        report.text = json.dumps({"seconds": time.monotonic() - start, "error": str(error)})
        return
    with index:
        Script.of(script).change(step + 1, index.ids.tolist()).apply(index)
        report.step = step + 1
        report.await_go(2)


def mend(report, path):
    """Repair an index; ``report.text``: what it then holds, in JSON."""
    Index.repair(path)
    with Index.open(path) as index:
        held = content(index)
        assert_holds(index, held)
    report.text = json.dumps(sorted(held.items()))


def damage(report, folder, kind, first, count, base, seed):
    """Examine some damaged copies of an index; ``report.step`` is the number of the one under examination."""
    found = []
    for number in range(first, first + count):
        report.step = number
        found.append(examine(Path(folder), Path(base), kind, Random(f"{seed} {kind} {number}")))
    report.text = json.dumps(found)


JOBS = {job.__name__: job for job in (write, check, follow, contend, mend, damage)}
