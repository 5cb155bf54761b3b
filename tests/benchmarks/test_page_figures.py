from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from spdq.errors import MissingExtraError, NotFoundError, SpdqError
from spdq_benchmarks import page_figures
from spdq_benchmarks.page_figures import measure_page
from spdq_cli.main import cli

pytest.importorskip("playwright", reason="playwright is absent: pip install playwright")


def chromium():
    found = [name for name in page_figures.BROWSERS if page_figures.shutil.which(name)]
    if not found:
        pytest.skip("Chromium is absent: install it (Debian: apt-get install chromium)")


def test_the_time_from_the_last_key_to_the_answer(first_run):
    chromium()
    before = set(first_run.out.iterdir())
    arguments = ["bench", "page", str(first_run.out), "--items", "300", "--queries", "2", "--json"]
    done = CliRunner().invoke(cli, arguments, prog_name="spdq")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["items"], found["queries"]) == (300, 2)
    assert 0 < found["median"] <= found["p95"] <= found["most"]
    assert set(first_run.out.iterdir()) == before
    table = CliRunner().invoke(cli, arguments[:-1], prog_name="spdq").stdout.splitlines()
    assert table[0].split("\t") == ["items", "queries", "median ms", "p95 ms", "most ms"]
    assert table[1].split("\t")[:2] == ["300", "2"]


def test_what_is_missing_is_named(tmp_path, monkeypatch, first_run):
    with pytest.raises(NotFoundError, match=r"emoji\.h5"):
        measure_page(tmp_path, 1, 1, 0)
    with monkeypatch.context() as patch:
        patch.setattr(page_figures, "BROWSERS", ("no-such-browser",))
        with pytest.raises(NotFoundError, match="no browser found: install one of no-such-browser"):
            measure_page(first_run.out, 1, 1, 0)
    monkeypatch.setitem(sys.modules, "playwright", None)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(MissingExtraError, match="pip install playwright"):
        measure_page(first_run.out, 1, 1, 0)


def test_a_server_that_fails_is_told(tmp_path, capfd):
    with (
        pytest.raises(SpdqError, match="the server failed"),
        page_figures._server(tmp_path, tmp_path),
    ):
        pass
    assert "NotFoundError" in capfd.readouterr().err
