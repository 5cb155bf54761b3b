"""``spdq bench speed`` in a process without torch, against the real Faiss."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest

from spdq_benchmarks.speed.rows import CASES, plan
from spdq_cli.commands.bench import SPEED_CASES


@pytest.fixture(scope="module")
def quick(run, tmp_path_factory):
    """One quick run of everything: what it printed, and its folder."""
    if find_spec("faiss") is None:
        pytest.skip('faiss of the faiss extra is absent: pip install "spdq[faiss]"')
    folder = tmp_path_factory.mktemp("speed")
    code = (
        "import sys\nfrom spdq_cli.main import main\ntry:\n    main()\nfinally:\n"
        "    print([m for m in ('torch', 'sklearn', 'h5py') if m in sys.modules])"
    )
    done = run("bench", "speed", "--quick", "--json", "--out", folder, command=("-c", code))
    assert done.code == 0, done.err
    printed, heavy = done.out.splitlines()
    return json.loads(printed), heavy, done.err, folder


def test_no_other_library_shares_the_process(quick):
    assert quick[1] == "[]"


def test_every_row_whose_peer_is_installed_is_measured(quick):
    report = quick[0]
    cases = [row.case for row in plan((20_000,), ("pq", "single", "fastscan", "hamming"))]
    found = [result["case"] for result in report["results"]]
    assert {case: found.count(case) for case in cases} == {case: cases.count(case) for case in cases}
    assert report["absent"] == [name for name in ("scann", "usearch") if find_spec(name) is None] + [
        "avx2"
    ] * ("avx2" not in report["machine"]["simd_flags"])


def test_the_forced_level_was_in_force(quick):
    forced = [result for result in quick[0]["results"] if result["case"] == "avx2"]
    assert {result["simd_level"] for result in forced} <= {"avx2"}
    assert bool(forced) == ("avx2" in quick[0]["machine"]["simd_flags"])


def test_peers_that_are_not_exact_find_most_of_it(quick):
    """Faiss's FastScan rounds its tables to bytes; its coarse index passes rows by."""
    shares = {result["name"]: result["agreement"] for result in quick[0]["results"] if result["agreement"]}
    fast = [share for name, share in shares.items() if name.startswith("fastscan")]
    assert len(fast) == 8
    assert min(fast) > 0.8
    assert shares["peers IndexIVFPQFastScan 16x4 batch 20k k=10"] > 0.4


def test_no_figure_is_judged_at_sizes_it_was_not_stated_for(quick):
    assert {result["reached"] for result in quick[0]["results"]} == {None}


def test_progress_goes_to_stderr_a_line_a_row(quick):
    report, _, err, _ = quick
    lines = err.splitlines()
    assert len(lines) == len(report["results"])
    assert all(line.startswith("spdq: ") for line in lines)


def test_files(quick):
    report, _, _, folder = quick
    assert json.loads((folder / "speed.json").read_text()) == report
    lines = (folder / "speed.md").read_text().splitlines()
    assert lines[6] == "| ratio | must | reached | row | what is compared | range | same rows |"
    assert len(lines) == 8 + len(report["results"])


def test_every_case_can_be_chosen():
    assert tuple(CASES) == SPEED_CASES


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--case", "nonsense"], 2, ".*'--case': 'nonsense' is not one of 'pq', .*"),
        (["--rows", "5"], 2, "Invalid value for '--rows': 5 is not in the range x>=10000.*"),
        (["--ivf", "--case", "pq"], 2, "--case is not for --ivf, which has rows of its own.*"),
        (["--out", "no/such/folder"], 3, "folder not found: no/such/folder"),
    ],
)
def test_errors_are_one_line(spdq, args, code, message):
    done = spdq("bench", "speed", *args)
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(f"spdq: error: {message}\n", done.err)


def test_a_table_is_printed(spdq):
    done = spdq("bench", "speed", "--quick", "--case", "threads", "--repeats", 1, "--rows", 10_000)
    assert done.code == 0, done.err
    assert "| threads 2 against 1 8x8 batch 10k k=10 | spdq, 1 thread " in done.out
    assert done.err.startswith("spdq: ")


def test_the_race_of_coarse_indexes(spdq, tmp_path):
    if find_spec("faiss") is None:
        pytest.skip('faiss of the faiss extra is absent: pip install "spdq[faiss]"')
    done = spdq("bench", "speed", "--ivf", "--quick", "--rows", 10_000, "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert json.loads((tmp_path / "speed.json").read_text()) == report
    assert "| 10k | faiss IndexIVFPQ 8x8 residual | 2 |" in (tmp_path / "speed.md").read_text()
    assert all(line.startswith("spdq: ") for line in done.err.splitlines())
