"""Rows measured in a process of their own, whose kernels use a lower SIMD level than the processor has.

The level is chosen when the kernels are imported, so it cannot change in a process that has them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence

from spdq.errors import SpdqError
from spdq_benchmarks.speed.results import Result, Settings, TurnSizes
from spdq_benchmarks.speed.rows import Row

CASE = LEVEL = "avx2"
"""The level, and the case, that is measured so."""


def elsewhere(settings: Settings, rows: Sequence[Row]) -> list[Result]:
    """Measure rows at ``LEVEL``.

    Raises
    ------
    SpdqError
        The process failed; its last words are in the message.
    """
    task = {"settings": dataclasses.asdict(settings), "rows": [dataclasses.asdict(row) for row in rows]}
    done = subprocess.run(
        [sys.executable, "-m", "spdq_benchmarks.speed.lower_level"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SPDQ_SIMD": LEVEL, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SpdqError(f"the process at SIMD level {LEVEL} failed: {words[-1]}")
    return [Result(**fields) for fields in json.loads(done.stdout)]


def main() -> None:
    """Read settings and rows from standard input, write results to standard output, all as JSON."""
    from spdq_benchmarks.speed.benchmark import measure

    task = json.load(sys.stdin)
    settings = Settings(**{**task["settings"], "sizes": TurnSizes(**task["settings"]["sizes"])})
    results = measure(settings, [Row(**row) for row in task["rows"]], lambda line: None)
    json.dump([dataclasses.asdict(result) for result in results], sys.stdout)


if __name__ == "__main__":
    try:
        main()
    except SpdqError as error:
        sys.exit(str(error))
