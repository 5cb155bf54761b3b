"""A run over made data sets in real processes: planned, kept, gone on with, told."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from oracles_csm import judged_log
from oracles_gated import made_drawings

from spdq.errors import DamagedError, DataError, UsageError
from spdq_benchmarks.systems.job import FORMAT, run_job
from spdq_benchmarks.systems.report import means, table, write_report
from spdq_benchmarks.systems.run import finished_records, plan_jobs, run_jobs
from spdq_benchmarks.systems.trainings import TRAININGS


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    paths = folder / "log.h5", folder / "drawings.h5"
    judged_log().save(paths[0])
    made_drawings().save(paths[1])
    return paths


def test_a_data_set_is_for_the_systems_of_its_split(files):
    jobs = plan_jobs(files, seeds=2)
    assert {(job.dataset, job.system) for job in jobs} == {
        ("log", "csm"), ("drawings", "mixer"), ("drawings", "gated"),
    }  # fmt: skip
    assert {job.training for job in jobs if job.method in ("mixer", "plain")} == set(TRAININGS)
    assert {job.training for job in jobs if job.method == "image-only"} == {"split", "database"}
    assert {job.training for job in jobs if job.system == "csm"} == {"split"}
    assert {job.seed for job in jobs} == {0, 1}
    assert len({job.key for job in jobs}) == len({job.path(files[0]) for job in jobs}) == len(jobs)


def test_what_cannot_be_planned(files, tmp_path):
    with pytest.raises(UsageError, match="unknown system 'soup': known are csm, mixer, gated"):
        plan_jobs(files, ["soup"])
    with pytest.raises(UsageError, match="unknown method 'cca': known are csm, csm-paper"):
        plan_jobs(files, ["csm"], ["cca"])
    with pytest.raises(UsageError, match="bits must be one of"):
        plan_jobs(files, bits=[12])
    with pytest.raises(UsageError, match="unknown training 'all': known are split, database"):
        plan_jobs(files, trainings=["all"])
    with pytest.raises(UsageError, match=r'log.h5 has a "clicks" split, .*gated a "matched" one'):
        plan_jobs(files[:1], ["gated"])
    drawings = made_drawings()
    drawings.with_split(None).save(tmp_path / "bare.h5")
    with pytest.raises(DataError, match=r"bare\.h5 has no split"):
        plan_jobs([tmp_path / "bare.h5"])


def test_a_run_is_kept_and_told(files, tmp_path):
    jobs = plan_jobs(files, methods=["words", "popularity", "cca"], seeds=2, trainings=["split"])
    said = []
    assert run_jobs(jobs, tmp_path, 2, said.append) == []
    assert len(said) == len(jobs)
    records = finished_records(jobs, tmp_path)
    assert len(records) == len(jobs)
    assert run_jobs(jobs, tmp_path, 2, said.append) == []
    assert said[-1] == f"{len(jobs)} of {len(jobs)} jobs are on record already"

    write_report(records, tmp_path, "spdq bench systems")
    text = (tmp_path / "systems.md").read_text()
    assert "## csm on log" in text
    assert "## gated on drawings" in text
    assert table(records) in text
    found = json.loads((tmp_path / "systems.json").read_text())["figures"]
    assert found == means(records)
    words = [one for one in found if one["method"] == "words" and one["protocol"] == "dcg@25"]
    assert {(one["coding"], one["bits"]) for one in words} == {
        ("vectors", 0), ("codes", 16), ("codes", 64), ("own codes", 16), ("own codes", 64),
    }  # fmt: skip
    assert all(len(one["values"]) == 2 and one["mean"] == np.mean(one["values"]) for one in words)
    row = re.search(r"^\| words \| \*\*(\S+)\*\*", text, re.MULTILINE)
    assert row is not None
    best = max(one["mean"] for one in found if (one["protocol"], one["bits"]) == ("dcg@25", 0))
    assert row[1] == f"{best:.3f}"


def test_a_damaged_record_is_not_overwritten(files, tmp_path):
    jobs = plan_jobs(files[:1], methods=["popularity"], seeds=1)
    run_jobs(jobs, tmp_path, 1)
    jobs[0].path(tmp_path).write_text("{}")
    with pytest.raises(DamagedError, match=r"is no record of spdq bench systems\. Delete it and run again"):
        run_jobs(jobs, tmp_path, 1)


def test_a_changed_file_is_refused(files, tmp_path):
    (job,) = plan_jobs(files[:1], methods=["popularity"], seeds=1)
    (other,) = plan_jobs(files[1:], methods=["cca"], seeds=1, trainings=["split"])
    with pytest.raises(DataError, match=r"drawings.h5 has changed since the run began: run again"):
        run_job(type(job)(other.file, *list(vars(job).values())[1:]))


def test_some_classes_are_shuffled():
    drawings, training = made_drawings(), TRAININGS["shuffled30"]
    noisy = training.of(drawings, 0)
    train = drawings.split.train
    changed = np.flatnonzero(noisy.classes != drawings.classes)
    assert 0 < len(changed) <= 0.3 * len(train)
    assert np.isin(changed, train).all()
    np.testing.assert_array_equal(np.sort(noisy.classes), np.sort(drawings.classes))
    np.testing.assert_array_equal(training.of(drawings, 0).classes, noisy.classes)
    assert (training.of(drawings, 1).classes != noisy.classes).any()
    with pytest.raises(DataError, match="has no /classes to shuffle"):
        training.of(judged_log(), 0)


def test_the_database_is_trained_on_too():
    drawings = made_drawings()
    assert TRAININGS["split"].of(drawings, 0) is drawings
    known = TRAININGS["database"].of(drawings, 0).split
    np.testing.assert_array_equal(known.train, np.union1d(drawings.split.train, drawings.split.database))
    np.testing.assert_array_equal(known.query, drawings.split.query)
    np.testing.assert_array_equal(known.database, drawings.split.database)


def test_records_say_where_they_come_from(files):
    (job,) = plan_jobs(files[:1], methods=["words"], seeds=1)
    _, record = run_job(job)
    assert record["settings"]["letters"] is None
    assert record["dimensions"] > 1
    assert record["key"] == job.key
    assert set(FORMAT.fields) <= set(record)
