"""A process beside the one that measures an index: opens it and says what that took, or reads it all the time.

It is told what to do by its arguments and answers in lines on standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import spdq_kernels
from spdq.errors import SpdqError
from spdq.index import Index


class Beside:
    """Such a process, ready when this returns. ``role`` is "open" or "read".

    Raises SpdqError where it fails.
    """

    def __init__(self, role: str, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spdq_benchmarks.index_process", role, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def answer(self) -> str:
        """Its next line. Raises SpdqError where it has ended instead."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SpdqError("a process beside the benchmark failed: its error stands above")
        return line

    def ask(self) -> None:
        """Let it go on."""
        if self._process.stdin:
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """Play a role on an index: ``open`` or ``read``, and a path."""
    role, path = sys.argv[1:]
    spdq_kernels.warmup()
    with Index.open(path, verify=False) as index:  # Loads all modules.
        Index(index.codebooks).search(np.zeros(index.dim))
    if role == "read":
        _read(path)
    else:
        _open(path)


def _open(path: str) -> None:
    """Say how many bytes of resident and of proportional memory an opened and searched index takes."""
    before = _memory()
    with Index.open(path) as index:
        index.search(np.zeros(index.dim))
        _say("ready")
        sys.stdin.readline()
        after = _memory()
        _say(f"{after[0] - before[0]} {after[1] - before[1]}")
        sys.stdin.readline()


def _read(path: str) -> None:
    with Index.open(path) as index:
        _say("ready")
        while True:
            index.refresh()
            index.search(np.zeros(index.dim), threads=1)


def _memory() -> tuple[int, int]:
    """Rss and Pss of this process in bytes, as Linux counts them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    facts = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return facts["Rss"], facts["Pss"]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
