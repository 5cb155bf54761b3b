"""The demo's page, served."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from spdq_cli.main import cli

pytest.importorskip("fastapi", reason="fastapi of the serve extra is absent")


def test_the_page_is_served_until_ctrl_c(first_run):
    arguments = ["demo", "--out", first_run.out, "--bits", "16", "--quiet", "--serve", "--port", "0"]
    # Whatever runs the tests may ignore Ctrl-C (a job in the background), and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "spdq_cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            line = process.stderr.readline()
            assert line.startswith(f"spdq: serving {first_run.out} on http://127.0.0.1:"), line
            url = line.rpartition(" on ")[2].strip()
            with urllib.request.urlopen(url) as answer:
                assert b"<title>SPDQ search</title>" in answer.read()
            with urllib.request.urlopen(f"{url}/v1/items?k=1") as answer:
                (item,) = json.load(answer)["items"]
            assert all([item["caption"], item["image"], item["attributes"]["labels"]])
            with urllib.request.urlopen(url + item["image"]) as answer:
                assert answer.headers["content-type"] == "image/webp"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert "The page to look at" in process.stdout.read()
        finally:
            process.kill()


def test_a_missing_extra_is_told_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    done = CliRunner().invoke(cli, ["demo", "--out", str(tmp_path / "out"), "--serve"], prog_name="spdq")
    assert (done.exit_code, (tmp_path / "out").exists()) == (3, False)
    assert 'pip install "spdq[serve]"' in done.stderr
