from __future__ import annotations

import numpy as np
import pytest

from spdq.errors import SpdqError
from spdq.index import Index
from spdq_benchmarks import index_figures as figures
from spdq_benchmarks.index_figures import Figure, line
from spdq_benchmarks.index_process import Beside


def test_every_figure_is_measured_and_nothing_stays(tmp_path):
    said = []
    found = figures.index_figures(20_000, 1, 0, said.append, tmp_path)
    assert said == [line(one) for one in found]
    assert len({one.name for one in found}) == len(found)
    assert {one.unit for one in found} >= {"ms", "s", "a second", "bytes an item"}
    assert all(np.isfinite(one.value) for one in found)
    assert sum(one.must is not None for one in found) == 11
    on_disk = next(one.value for one in found if one.name == "on disk")
    assert 8 < on_disk < 16  # The codes, and some kilobytes of codebooks and catalogue.
    assert list(tmp_path.iterdir()) == []


def test_what_is_reached():
    assert Figure("a", 1, "s").reached is None
    assert Figure("a", 1, "s", 1).reached is True
    assert Figure("a", 2, "s", 1).reached is False
    assert Figure("a", 2, "s", 1, at_most=False).reached is True
    assert line(Figure("a", 0.5, "s", 1, at_most=False)) == "a: 0.5 s (must be at least 1: NOT reached)"
    assert line(Figure("a", 12345.678, "s")) == "a: 1.235e+04 s"


def test_a_wrong_answer_gives_no_figure(tmp_path, monkeypatch):
    search = Index.search

    def wrong(index, queries, k=10, filter=None, **more):
        distances, ids = search(index, queries, k, None, **more)
        return distances, ids

    monkeypatch.setattr(Index, "search", wrong)
    with pytest.raises(SpdqError, match="a filtered search did not find the nearest rows"):
        figures.index_figures(20_000, 1, 0, lambda _: None, tmp_path)


def test_a_process_that_fails_is_told(tmp_path):
    beside = Beside("open", tmp_path / "nowhere")
    try:
        with pytest.raises(SpdqError, match="a process beside the benchmark failed"):
            beside.answer()
    finally:
        beside.stop()
