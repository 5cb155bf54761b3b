"""Child processes that can be killed, stopped and refused at an exact place."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import faults_nursery
from faults_nursery import Report

PATIENCE = 120
"""Seconds after which a child counts as hanging."""

CHANGING = (
    *("write", "pwrite64", "writev", "pwritev", "fsync", "fdatasync", "sync_file_range", "rename"),
    *("renameat", "renameat2", "unlink", "unlinkat", "rmdir", "truncate", "ftruncate", "fallocate"),
    *("mkdir", "mkdirat", "link", "linkat", "symlink", "symlinkat", "fchmod", "fchown"),
    *("open", "openat", "creat"),
)
"""System calls that change files, under the names they have on one machine or another."""

WRITING = {"write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate"}
SYNCING = {"fsync", "fdatasync", "sync_file_range", "rename", "renameat", "renameat2"}


class Nursery:
    """A process that has loaded all that a child needs, and forks one for each job."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self._count = 0
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", faults_nursery.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(self, job, **arguments):
        """A child that waits to be told to go."""
        self._count += 1
        report = Report(self._folder / f"report{self._count}")
        pid = self.ask(job=job, report=report.path, arguments=arguments)
        return Child(self, pid, report)

    def run(self, job, **arguments):
        """A child that has come to its end."""
        child = self.start(job, **arguments)
        child.go()
        child.wait()
        return child

    def ask(self, **question):
        self._process.stdin.write(json.dumps(question, default=_plain) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery died"
        return json.loads(answer)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _plain(value):
    return str(value) if isinstance(value, Path) else value.state()


class Child:
    """A forked process, and after its end its ``status``: an exit code, or minus the number of a signal."""

    def __init__(self, nursery, pid, report):
        self._nursery = nursery
        self.pid = pid
        self.report = report
        self.status = None

    def go(self, value=1):
        self.report.go = value

    def ended(self):
        if self.status is None:
            self.status = self._nursery.ask(ended=self.pid)
        return self.status is not None

    def wait(self):
        """Its status. Kills it and fails if it does not end."""
        self.wait_until(self.ended)
        return self.status

    def wait_until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"a child hung: {self.report.text}")
            time.sleep(0.001)

    def kill(self):
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def stop(self):
        """Stop it as it stands; returns once it does."""
        os.kill(self.pid, signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        self.wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def forget(self):
        """Remove its report."""
        self.report.close()
        self.report.path.unlink()

    def outcome(self):
        """Status, last acknowledged change and text of an ended child, whose report is removed."""
        found = self.wait(), self.report.step, self.report.text
        self.forget()
        return found


class Point(NamedTuple):
    """The ``number``-th system call ``name`` of a child, counted from 1, and the file it was called with."""

    name: str
    number: int
    file: str


class CannotTrace(Exception):
    """strace is not there or may not do its work."""


@contextmanager
def traced(child, *options):
    """Attach strace to a waiting child. Raises CannotTrace."""
    if shutil.which("strace") is None:
        raise CannotTrace("strace is not installed")
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(child.pid), *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        if b"attached" not in (said := tracer.stderr.readline()):
            raise CannotTrace(said.decode().strip())
        yield
    except BaseException:
        child.kill()
        raise
    finally:
        tracer.stderr.read()
        tracer.stderr.close()
        tracer.wait()


def changing_calls(child, folder):
    """Let a waiting child do its job and return each call that changed a file as a Point. Raises CannotTrace."""
    trace = Path(folder) / "trace"
    with traced(child, "-e", "trace=" + ",".join(f"?{name}" for name in CHANGING), "-y", "-o", str(trace)):
        child.go()
        assert child.wait() == 0, child.report.text
    counts, points = dict.fromkeys(CHANGING, 0), []
    for line in trace.read_text(errors="replace").splitlines():
        if match := re.match(r"\d+ +(\w+)\(", line):
            name = match[1]
            counts[name] += 1
            if name not in ("open", "openat") or "O_CREAT" in line:
                file = re.search(r"\(\d+<([^>]*)>|\"([^\"]*)\"", line)
                points.append(Point(name, counts[name], (file[1] or file[2]) if file else ""))
    trace.unlink()
    return points


def inject(child, point, what):
    """Let a waiting child do its job, but for what happens at a point, such as ``signal=SIGKILL`` or ``error=EIO``.

    ``what`` may end with "+": also at every later call of this name.
    """
    when = f"{point.number}{'+' if what.endswith('+') else ''}"
    fault = f"inject={point.name}:{what.removesuffix('+')}:when={when}"
    with traced(child, "-e", f"trace={point.name}", "-e", fault, "-o", os.devnull):
        child.go()
        child.wait()
