"""A program that loads all that jobs need, once, and forks a child for each job that its standard input names.

``faults_processes`` talks to it, in lines of JSON. A child says how far it has come in a ``Report``.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import signal
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path

from faults_jobs import JOBS
from faults_model import ATTRIBUTES, CODEBOOKS, NOT_CREATED, Model, Script, assert_holds

from spdq.errors import SpdqError
from spdq.index import Index

BUG = 1
"""The exit status of a child that fails in another way than it should."""

# A child dies with the nursery. Where only parents may trace their children, strace may trace ours all the same.
_PR_SET_PDEATHSIG = 1
_PR_SET_PTRACER = 0x59616D61
_ANY_PROCESS = ctypes.c_ulong(-1)


class Report:
    """A file that two processes map: what is written there needs no system call and outlives a SIGKILL.

    ``go``: the child may begin; ``step``: the last change that is acknowledged; ``text``: what else it says.
    """

    SIZE = 1 << 18
    _HEAD = 24

    def __init__(self, path):
        self.path = Path(path)
        new = not self.path.exists()
        if new:
            self.path.write_bytes(bytes(self.SIZE))
        with self.path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self.SIZE)
        if new:
            self.step = NOT_CREATED

    go = property(lambda self: self._get(0), lambda self, value: self._set(0, value))
    step = property(lambda self: self._get(8), lambda self, value: self._set(8, value))

    @property
    def text(self):
        return self._map[self._HEAD : self._HEAD + self._get(16)].decode()

    @text.setter
    def text(self, text):
        encoded = text.encode()[: self.SIZE - self._HEAD]
        self._map[self._HEAD : self._HEAD + len(encoded)] = encoded
        self._set(16, len(encoded))

    def await_go(self, value=1):
        while self.go < value:
            time.sleep(0.0005)

    def close(self):
        self._map.close()

    def _get(self, at):
        return struct.unpack_from("<q", self._map, at)[0]

    def _set(self, at, value):
        struct.pack_into("<q", self._map, at, value)


def serve():
    """Fork a child for each job that a line of standard input names; say which children have ended."""
    _warm_up()
    for line in sys.stdin:
        asked = json.loads(line)
        if "job" in asked:
            answer = os.fork() or _run(**asked)
        else:
            pid, status = os.waitpid(asked["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _warm_up():
    """Load all modules and kernels that a job needs."""
    with tempfile.TemporaryDirectory() as folder:
        for ids in ("int", "str"):
            path = Path(folder) / ids
            model = Model(Script(ids, 0))
            with Index.create(path, CODEBOOKS, ids=ids, attributes=ATTRIBUTES) as index:
                for _ in range(2):
                    model.next().apply(index)
                    assert_holds(index, model.advance().items())
            Index.repair(path)


def _run(job, report, arguments):
    """The life of a child. The exit code of an error of ours is its status."""
    status = BUG
    report = Report(report)
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY_PROCESS)
        report.await_go()
        JOBS[job](report, **arguments)
        status = 0
    except SpdqError as error:
        status = error.exit_code
        report.text = f"{type(error).__name__}: {error}"
    except BaseException:
        report.text = traceback.format_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve()
