"""A real server in a process of its own, and everything that its description offers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

CODE = """
import json, sys
from spdq.serving import Settings
from spdq.{room}.{module} import serve
given = json.loads(sys.argv[1])
settings = Settings(**given.pop("settings"))
serve(**given, settings=settings, ready=lambda url: print(url, flush=True))
"""
PLAIN, ON_RAY = (
    CODE.format(room="serving", module="server"),
    CODE.format(room="distributed", module="serving"),
)
HERE = Path(__file__).parent


@contextmanager
def server(index, pictures=None, code=PLAIN, before=(), more=None, **settings):
    """A process with its ``url`` and ``port``; killed at the end if it still runs.

    Its command begins with ``before``; ``more`` is what ``serve`` is told beside the settings.
    """
    given = {"index": str(index), "pictures": None if pictures is None else str(pictures)} | (more or {})
    given["settings"] = {"port": 0, "threads": 2} | settings
    # Ray's own imports warn.
    warnings = ["-W", "error"] if code == PLAIN else []
    process = subprocess.Popen(
        [*before, sys.executable, *warnings, "-c", code, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        try:
            process.url = process.stdout.readline().strip()
            assert process.url, process.stderr.read()
            process.port = int(process.url.rpartition(":")[2])
            yield process
        finally:
            process.kill()


def ask_everything(url, cases, folder, headers=()):
    """Let schemathesis ask well and badly, so many cases each; what it says and its exit code."""
    return subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                HERE / "serving" / "schemathesis.toml",
            ),
            *("run", f"{url}/openapi.json", *(word for header in headers for word in ("--header", header))),
            *("--max-examples", str(cases), "--seed", "1", "--continue-on-failure", "--no-color"),
            *("--report", "ndjson", "--report-ndjson-path", folder / "events.ndjson"),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE / "serving"), *sys.path])},
        capture_output=True,
        text=True,
        timeout=max(300, cases * 3),
    )
