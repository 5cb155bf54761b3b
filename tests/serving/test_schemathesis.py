"""Every operation as /openapi.json describes it, well and badly asked by schemathesis; ``make serving`` asks more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from served import server

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef"
CASES = int(os.environ.get("SPDQ_SERVING_CASES", "100"))
SECONDS = max(300, CASES * 3)


def test_nothing_that_is_asked_breaks_it(named, tmp_path):
    with server(*named, allow_writes=True, token=TOKEN) as process:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
                *("run", f"{process.url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"),
                *("--max-examples", str(CASES), "--seed", "1", "--continue-on-failure", "--no-color"),
                *("--report", "ndjson", "--report-ndjson-path", tmp_path / "events.ndjson"),
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert process.poll() is None
