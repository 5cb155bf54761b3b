"""The race of coarse indexes: what is computed from its times, and, where Faiss is, the race itself."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest

from spdq.errors import MissingExtraError
from spdq_benchmarks.speed import list_race, peers
from spdq_benchmarks.speed.data import CodeKind
from spdq_benchmarks.speed.list_race import Contest, Curve, ListSettings, benchmark_lists
from spdq_benchmarks.speed.rows import Target

SMALL = ListSettings(n_rows=(3000,), probes=(1, 4), batch=4, singles=1, repeats=1)


@pytest.fixture(scope="module")
def report():
    """A race over 3,000 rows."""
    if find_spec("faiss") is None:
        pytest.skip('faiss of the faiss extra is absent: pip install "spdq[faiss]"')
    said = []
    return benchmark_lists(SMALL, said.append), said


def test_both_sides_find_the_same_where_they_keep_the_same_codes(report):
    curves = {curve.name: curve.recalls for curve in report[0].curves["3000"]}
    assert len(curves) == 7
    assert curves["spdq 8x8 residual"] == curves["faiss IndexIVFPQ 8x8 residual"]
    for name in ("16x4", "16x4 residual"):
        np.testing.assert_allclose(
            curves[f"spdq {name}"], curves[f"faiss IndexIVFPQFastScan {name}"], atol=0.1
        )


def test_a_size_without_targets_is_judged_by_none(report):
    results = report[0].results
    assert [result.name.split(",")[0] for result in results] == [
        *("building", "padding of spdq 8x8", "padding of spdq 16x4"),
    ]
    assert all(result.reached is None for result in results)
    assert results[0].value > 0
    assert results[1].value == results[2].value > 0


def test_the_report_is_a_table_and_json(report):
    text = list_race.list_table(report[0])
    assert text.count("| 3k | spdq 16x4 |") == 2
    assert len(report[1]) == 3
    assert json.loads(json.dumps(report[0].to_json()))["settings"]["n_rows"] == [3000]


def curve(name, recalls, seconds):
    return Curve(name, tuple(2**i for i in range(len(recalls))), recalls, seconds, seconds)


def test_times_are_interpolated_between_recalls():
    one = curve("a", (0.2, 0.4, 0.8), (1.0, 4.0, 16.0))
    assert one.seconds_at(0.4) == pytest.approx(4)
    assert one.seconds_at(0.3) == pytest.approx(2)
    assert one.seconds_at(0.1) == one.seconds_at(0.9) == np.inf


def test_figures_are_judged_by_the_better_of_our_codes():
    contest = Contest(CodeKind(8, 8), True, {1_000_000: {0.5: Target(3, 5)}}, {1_000_000: Target(5, 9)})
    ours = [curve("spdq", (0.1, 0.4), (1.0, 1.0)), curve("spdq residual", (0.1,) * 6 + (0.9,), (2.0,) * 7)]
    peer = curve("faiss residual", (0.1,) * 6 + (0.9,), (8.0,) * 7)
    batch, single = list_race._figures(1_000_000, contest, ours, peer)
    assert (batch.value, batch.reached, batch.below) == (pytest.approx(4), True, "spdq residual")
    assert (single.value, single.reached) == (pytest.approx(4), False)
    assert list_race.line(batch) == "4 (must be 3, yes) faiss residual, 1M, batch, recall 0.50"


@pytest.mark.parametrize(("n_rows", "n_lists"), [(20_000, 128), (1_000_000, 1024), (10_000_000, 4096)])
def test_lists_grow_with_the_root_of_the_rows(n_rows, n_lists):
    assert list_race.lists_for(n_rows) == n_lists


def test_faiss_is_needed(monkeypatch):
    monkeypatch.setattr(peers, "absent_peers", lambda: ["faiss"])
    with pytest.raises(
        MissingExtraError, match=r"not here: faiss, which comes with pip install \"spdq\[faiss\]\""
    ):
        benchmark_lists(SMALL)
