"""A real server in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager

CODE = """
import json, sys
from spdq.serving import Settings, serve
given = json.loads(sys.argv[1])
settings = Settings(**given["settings"])
serve(given["index"], pictures=given["pictures"], settings=settings, ready=lambda url: print(url, flush=True))
"""


@contextmanager
def server(index, pictures=None, before=(), **settings):
    """A process with its ``url`` and ``port``; killed at the end if it still runs.

    Its command begins with ``before``.
    """
    given = {"index": str(index), "pictures": None if pictures is None else str(pictures)}
    given["settings"] = {"port": 0, "threads": 2} | settings
    process = subprocess.Popen(
        [*before, sys.executable, "-W", "error", "-c", CODE, json.dumps(given)],
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
