"""How large the tests of faults are, what they measured, and what they need of the machine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from faults_model import ATTRIBUTES, CODEBOOKS, Model, Script
from faults_processes import Nursery

from spdq.index import Index
from spdq.index.compaction import MAX_SEGMENTS

FIGURES = pytest.StashKey[dict]()


@pytest.fixture(scope="session")
def full():
    """Whether to run all there is; else a sample that takes two minutes."""
    return os.environ.get("SPDQ_FAULTS") == "full"


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    made = Nursery(tmp_path_factory.mktemp("reports"))
    yield made
    made.close()


class Start:
    """An index of so many segments that the next addition merges some, and a script of seven changes to go on with."""

    PLAN = ("add", "update", "remove", "remove half", "put", "compact", "add")

    def __init__(self, nursery, folder):
        self._nursery = nursery
        self._made = folder / "made"
        self._work = folder / "work"
        n_segments = MAX_SEGMENTS + 1
        self.model = Model(Script("str", 3, ("add",) * n_segments + self.PLAN))
        with Index.create(self._made, CODEBOOKS, ids="str", attributes=ATTRIBUTES) as index:
            for _ in range(n_segments):
                self.model.next().apply(index)
                self.model.advance()
            assert index.stats()["segments"] == n_segments

    @property
    def last(self):
        """The number of the last change of the script."""
        return self.model.step + len(self.PLAN)

    def writer(self):
        """A child that waits to do the changes on a new copy of the index, and the path of that."""
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._made, self._work)
        (self._work / "segments" / f"{0:032x}.tmp").touch()  # What a killed writer left.
        job = {"script": self.model.script, "step": self.model.step, "last": self.last}
        child = self._nursery.start("write", path=self._work, **job)
        return child, self._work

    def check(self, step, changes=2):
        """The copy holds what it should after change number ``step``, or the next; returns which."""
        model = self.model.copy().advance(step)
        child = self._nursery.run("check", path=self._work, model=model, changes=changes)
        status, found, text = child.outcome()
        assert not text, f"after change {step}: {text}"
        assert status == 0
        return found


@pytest.fixture(scope="session")
def start(nursery, tmp_path_factory):
    return Start(nursery, tmp_path_factory.mktemp("start"))


@pytest.fixture
def figures(request):
    """A dict for what the test measured: it is shown at the end, and written to the folder SPDQ_FAULTS_OUT."""
    found = {}
    yield found
    if not found:
        return
    name = request.node.name.removeprefix("test_")
    request.config.stash.setdefault(FIGURES, {})[name] = found
    if folder := os.environ.get("SPDQ_FAULTS_OUT"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


@pytest.fixture
def lacking(figures):
    """Call it with what the machine lacks: skips the test, but in CI as root fails it."""

    def give_up(what):
        figures.clear()
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(f"in CI root can have what this test needs: {what}")
        pytest.skip(f"this machine lacks what the test needs: {what}")

    return give_up


def pytest_terminal_summary(terminalreporter, config):
    measured = config.stash.get(FIGURES, {})
    if measured:
        terminalreporter.section("faults")
    for name, found in measured.items():
        shown = ", ".join(f"{key} {value}" for key, value in found.items())
        terminalreporter.write_line(f"{name}: {shown}")
    for report in terminalreporter.stats.get("skipped", ()):
        if "/faults/" in report.nodeid:
            terminalreporter.write_line(f"{report.nodeid} skipped: {report.longrepr[2]}")
