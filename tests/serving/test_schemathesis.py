"""Every operation as /openapi.json describes it, well and badly asked by schemathesis; ``make serving`` asks more."""

from __future__ import annotations

import os

from served import ask_everything, server

TOKEN = "0123456789abcdef"
CASES = int(os.environ.get("SPDQ_SERVING_CASES", "100"))


def test_nothing_that_is_asked_breaks_it(named, tmp_path):
    with server(*named, allow_writes=True, token=TOKEN) as process:
        run = ask_everything(process.url, CASES, tmp_path, [f"Authorization: Bearer {TOKEN}"])
        assert run.returncode == 0, run.stdout + run.stderr
        assert process.poll() is None
