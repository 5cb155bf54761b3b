"""Jobs in real processes: kept, made anew, failed, gone on with."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from oracles_training import made_dataset

from spdq.errors import IncompatibleError, StorageError
from spdq_benchmarks.retrieval.plan import plan_jobs
from spdq_benchmarks.retrieval.records import read_records, record_path
from spdq_benchmarks.retrieval.run import finished_records, run_jobs
from spdq_benchmarks.workers import FailedJobsError, check_failures

METHODS = ["cca", "cca-opq"]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of two methods on half of a data set, at 16 bits, in two processes."""
    folder = tmp_path_factory.mktemp("run")
    made_dataset(60).save(folder / "made.h5")
    said = []
    failures = run_jobs(planned(folder), folder / "out", 2, say=said.append)
    assert failures == []
    return folder, said


def paths_in(out):
    """The files of the first run: cca's, then those of cca-opq."""
    places = (("cca", 16, "codes"), ("cca-opq", 0, "vectors"), ("cca-opq", 16, "codes"))
    return [record_path(out, "made", "half", method, 0, bits, coding) for method, bits, coding in places]


def planned(folder, bits=(16,), protocols=("map@all",)):
    return plan_jobs([folder / "made.h5"], METHODS, ["half"], bits, 1, protocols)


def test_records_and_what_is_said(first):
    folder, said = first
    assert len(said) == 2
    assert said[0].startswith("[1/2] made half cca")
    assert said[1].endswith("s; about 0 s left")
    found = {(r["method"], r["coding"], r["bits"]) for r in read_records(folder / "out")}
    assert found == {("cca", "codes", 16), ("cca-opq", "codes", 16), ("cca-opq", "vectors", 0)}
    finished = finished_records(planned(folder), folder / "out")
    assert [(r["method"], r["bits"]) for r in finished] == [("cca", 16), ("cca-opq", 0), ("cca-opq", 16)]


def test_what_is_on_record_is_not_made_again(first):
    folder, _ = first
    paths = paths_in(folder / "out")
    before = [path.stat().st_mtime_ns for path in paths]
    said = []
    assert run_jobs(planned(folder), folder / "out", 2, say=said.append) == []
    assert said == ["2 of 2 jobs are on record already"]
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_only_what_is_missing_or_of_another_key_is_made(first):
    folder, _ = first
    out = folder / "out"
    changed, _, kept = paths_in(out)
    record = json.loads(changed.read_text())
    changed.write_text(json.dumps(record | {"key": "of older code"}))
    before = kept.stat().st_mtime_ns
    assert len(finished_records(planned(folder), out)) == 2
    said = []
    assert run_jobs(planned(folder, (16, 32)), out, 1, say=said.append) == []
    assert [line.split(":")[0] for line in said] == [
        "[1/2] made half cca seed 0",
        "[2/2] made half cca-opq seed 0",
    ]
    again = json.loads(changed.read_text())
    assert (again["key"], again["figures"]) == (record["key"], record["figures"])
    assert kept.stat().st_mtime_ns == before
    assert len(finished_records(planned(folder, (16, 32)), out)) == 5


def test_a_record_of_another_version_stops_the_run(first, tmp_path):
    folder, _ = first
    path = paths_in(folder / "out")[0]
    other = tmp_path / path.relative_to(folder / "out")
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    with pytest.raises(IncompatibleError, match="is a record of version 99"):
        run_jobs(planned(folder), tmp_path)


def test_a_job_that_fails_is_named_and_the_others_go_on(tmp_path):
    for name in ("good", "bad"):
        replace(made_dataset(60), name=name).save(tmp_path / f"{name}.h5")
    jobs = plan_jobs([tmp_path / "bad.h5", tmp_path / "good.h5"], ["cca"], ["half"], [16], 1, ["map@all"])
    replace(made_dataset(50), name="bad").save(tmp_path / "bad.h5")
    said = []
    failures = run_jobs(jobs, tmp_path / "out", 1, say=said.append)
    assert [failure.job for failure in failures] == ["bad half cca seed 0"]
    assert "bad half cca seed 0 failed: " in said[0]
    assert [record["dataset"] for record in read_records(tmp_path / "out")] == ["good"]
    with pytest.raises(FailedJobsError, match=r"1 job failed, .*bad half cca seed 0: .*bad.h5 has changed"):
        check_failures(failures)
    check_failures([])


def test_missing_run_files_are_made(first):
    folder, _ = first
    jobs = plan_jobs([folder / "made.h5"], ["cca"], ["half"], [16], 1, ["map@all"])
    said = []
    assert run_jobs(jobs, folder / "out", 1, trec=True, say=said.append) == []
    runs = sorted(path.name for path in (folder / "out/trec/made/unseen-s0").iterdir())
    assert runs == ["group.qrels", "i2t", "i2u", "t2i", "t2u", "topic.qrels"]
    run_jobs(jobs, folder / "out", 1, trec=True, say=said.append)
    assert said[-1] == "1 of 1 jobs are on record already"


def test_a_folder_that_cannot_be_made(first, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot make .*file"):
        run_jobs(planned(first[0]), tmp_path / "file")
