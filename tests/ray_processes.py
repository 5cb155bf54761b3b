"""Programs that use Ray, in processes of their own, and what Ray leaves running."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from interrupts import heeding_ctrl_c

ROOT = Path(__file__).parents[1]


def start_driver(code: str, *args: object, **environment: str | None) -> subprocess.Popen[str]:
    """A Python program with pipes; a variable of the environment that is None is taken away."""
    paths = [ROOT, ROOT / "tests", *(ROOT / room for room in ("kernels", "cli", "benchmarks"))]
    changed = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))} | environment
    with heeding_ctrl_c():
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
            env={name: value for name, value in changed.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def run_driver(code: str, *args: object, **environment: str | None) -> tuple[int, str, str]:
    """As ``start_driver``, waited for: exit code, stdout, stderr."""
    with start_driver(code, *args, **environment) as program:
        try:
            out, err = program.communicate(timeout=120)
        finally:
            program.kill()
    return program.returncode, out, err


def ray_processes(folder: str, seconds: float = 20) -> list[str]:
    """The commands of processes that name a folder of Ray's, once those that are ending have ended."""
    until = time.monotonic() + seconds
    while (found := _naming(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _naming(text: str) -> list[str]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = line.read_text().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in command and line.parent.name != str(os.getpid()):
            found.append(command)
    return found
