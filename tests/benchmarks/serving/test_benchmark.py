"""The whole benchmark on little: that each part works and is told, not how fast."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

import pytest
from made_models import trained_on_pictures

from spdq.errors import NotFoundError, SpdqError, StorageError
from spdq_benchmarks.index_figures import Figure
from spdq_benchmarks.serving import on_ray
from spdq_benchmarks.serving.benchmark import Settings, serving_figures
from spdq_benchmarks.serving.hostile import KINDS
from spdq_benchmarks.serving.made import make_index
from spdq_benchmarks.serving.processes import Process, serving, split_cores
from spdq_benchmarks.serving.table import table, write_report

LITTLE = Settings(n_rows=1000, rate=20, seconds=1, overload_seconds=1)


def test_everything_is_measured(tmp_path):
    trained_on_pictures().save_pretrained(tmp_path / "model")
    said = []
    figures = serving_figures(LITTLE, tmp_path / "model", said.append, tmp_path)
    names = [figure.name for figure in figures]
    assert len(said) == len(set(names)) == len(names)
    for wanted in (
        "20 searches a second by vectors: p99",
        "20 searches a second by texts: p99",
        "one text embedded, median",
        "capacity",
        "5 times the capacity: refused, p99",
        "after the overload: normal again",
        *(f"8 x {kind.name}: slowest refusal" for kind in KINDS),
        "memory at its most, beyond that",
    ):
        assert wanted in names
    for figure in figures:
        assert figure.value >= 0 or figure.name == "memory afterwards, beyond that"
        if (figure.unit == "MiB" and figure.must is not None) or "unexpected" in figure.name:
            assert figure.reached, figure
    assert not (tmp_path / "index").exists()


def test_what_ray_costs(tmp_path, monkeypatch):
    """All that is measured; what Ray starts is tested elsewhere."""
    asked = []

    @contextmanager
    def plain(path, on_ray):
        asked.append((path.name, on_ray))
        with serving(tmp_path / "index") as started:
            yield started

    make_index(tmp_path / "index", 1000, 0, None)
    monkeypatch.setattr(on_ray, "serving", plain)
    said = []
    figures = on_ray.compared_figures(LITTLE, None, said.append, tmp_path)
    assert asked == [("index", False), ("index", True), ("shards", True)]
    assert len(said) == len({figure.name for figure in figures}) == 12
    for name in ("plain server", "Ray Serve", "Ray Serve, 2 shards"):
        assert any(figure.name == f"{name}, by vectors, 4 clients" for figure in figures)
    assert all(figure.value > 0 for figure in figures if figure.unit != "requests")


def test_no_model_there(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        serving_figures(LITTLE, tmp_path / "none", print)


def test_a_process_that_fails(capfd):
    process = Process("server", {"index": "/nowhere", "cores": split_cores()[0], "settings": {}})
    with pytest.raises(SpdqError, match="a process of the benchmark failed: its error stands above"):
        process.answer()
    process.stop()
    assert "/nowhere" in capfd.readouterr().err


def test_a_table(tmp_path):
    figures = [Figure("p99", 12.345, "ms", 10), Figure("failed", 0, "requests", 0), Figure("free", 1.5, "ms")]
    lines = table(figures, "spdq bench serving").splitlines()
    assert re.search(
        r", \d+ cores, load average [\d.]+ at the end\. Command: `spdq bench serving`$", lines[0]
    )
    assert lines[2:] == [
        "| what | measured | asked for |",
        "|---|---|---|",
        "| p99 | 12.35 ms | at most 10 (NOT reached) |",
        "| failed | 0 requests | at most 0 |",
        "| free | 1.5 ms |  |",
    ]
    write_report(tmp_path, figures, "spdq bench serving")
    assert (tmp_path / "serving.md").read_text().splitlines()[2:] == lines[2:]
    kept = json.loads((tmp_path / "serving.json").read_text())
    assert [figure["reached"] for figure in kept["figures"]] == [False, True, None]


def test_a_report_that_cannot_be_written(tmp_path):
    (tmp_path / "serving.md").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*serving\.md"):
        write_report(tmp_path, [], "spdq bench serving")
