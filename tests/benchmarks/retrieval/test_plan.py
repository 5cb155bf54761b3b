from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_training import made_dataset

from spdq.data import make_split
from spdq.errors import DataError, NotFoundError, UsageError
from spdq_benchmarks.retrieval.methods import METHODS, needs_labels
from spdq_benchmarks.retrieval.plan import PROTOCOLS, SEEDS, STRONGEST, plan_jobs


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "made.h5"
    made_dataset().save(path)
    return path


def saved(folder, dataset):
    path = folder / "changed.h5"
    dataset.save(path)
    return path


def test_everything_is_planned_where_nothing_is_said(file):
    jobs = plan_jobs([file])
    assert len({str(job) for job in jobs}) == len(jobs)
    often = {"spdq", "spdq-paper", *STRONGEST}
    for method in METHODS:
        found = {(job.training, job.seed) for job in jobs if job.method == method}
        seeds = range(SEEDS if method in often else 1)
        assert found == {(training, seed) for training in ("rest", "half", "everything") for seed in seeds}
    assert {job.bits for job in jobs} == {(16, 32, 64, 128)}
    assert {job.protocols for job in jobs} == {PROTOCOLS}
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert len(STRONGEST) == 5
    assert set(STRONGEST) < set(METHODS)


def test_what_is_said_is_planned(file):
    jobs = plan_jobs([file], ["cvh", "spdq", "cvh"], ["half"], [64, 16], 2, ["map@all"])
    assert [str(job) for job in jobs] == [f"made half {m} seed {s}" for s in (0, 1) for m in ("cvh", "spdq")]
    assert {(job.bits, job.protocols) for job in jobs} == {((16, 64), ("map@all",))}


def test_trainings_without_anything_to_judge_are_left_out(file):
    assert {job.training for job in plan_jobs([file], ["cvh"], protocols=["map@all"])} == {"rest", "half"}
    jobs = plan_jobs([file], ["cvh"], protocols=["instance-recall@1"])
    assert {job.training for job in jobs} == {"rest", "everything"}
    with pytest.raises(UsageError, match="nothing to judge: labels decide on the splits seen, unseen"):
        plan_jobs([file], ["cvh"], ["everything"], protocols=["map@all"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ["spqd"]}, r"unknown method 'spqd': known are spdq, spdq-paper, .*cvh, .*cca-opq"),
        ({"trainings": ["all"]}, "unknown training 'all': known are rest, half, everything"),
        ({"protocols": ["map"]}, "unknown protocol 'map': expected one of map@R"),
        ({"bits": [24]}, "bits must be one of 16, 32, 64, 128, got 24"),
        ({"seeds": 0}, "seeds: expected at least 1, got 0"),
    ],
)
def test_unknown_words(file, options, message):
    with pytest.raises(UsageError, match=message):
        plan_jobs([file], **options)


def test_no_data_set():
    with pytest.raises(UsageError, match="no data set: give at least one file"):
        plan_jobs([])


def test_an_unknown_data_set(tmp_path):
    with pytest.raises(NotFoundError, match=r"nowhere.h5"):
        plan_jobs([tmp_path / "nowhere.h5"])


def test_two_data_sets_of_one_name(file, tmp_path):
    other = saved(tmp_path, made_dataset(50))
    with pytest.raises(UsageError, match=r"made.h5 and .*changed.h5 are both called made"):
        plan_jobs([file, other])
    renamed = saved(tmp_path, replace(made_dataset(50), name="made:2"))
    assert {job.dataset for job in plan_jobs([file, renamed])} == {"made", "made:2"}


def test_data_sets_that_lack_what_training_needs(tmp_path):
    plain = made_dataset()
    for changed, message in (
        (plain.with_split(None), "changed.h5 has no split: make one with `spdq dataset split`"),
        (replace(plain, image_features=None), "changed.h5 has no /image/features"),
        (replace(plain, text_features=None), "changed.h5 has no text: neither /text/features nor /text/utf8"),
    ):
        with pytest.raises(DataError, match=message):
            plan_jobs([saved(tmp_path, changed)], ["cvh"])


def test_too_few_rows_for_a_training(tmp_path):
    path = saved(tmp_path, made_dataset(8).with_split(make_split(8, np.arange(7), "seen", 0)))
    with pytest.raises(DataError, match="leave too few rows to train on and search"):
        plan_jobs([path], ["cvh"])
    assert plan_jobs([path], ["cvh"], ["rest"])


def test_labels_are_missed_before_anything_is_trained(tmp_path):
    path = saved(tmp_path, replace(made_dataset(), labels=None, label_names=()))
    with pytest.raises(DataError, match=r"no /labels, which spdq, scm-seq learn from: .*cvh"):
        plan_jobs([path], ["spdq", "cvh", "scm-seq"])
    with pytest.raises(DataError, match="no /labels to judge map@50 by: choose --protocol instance-recall@1"):
        plan_jobs([path], ["cvh"])
    jobs = plan_jobs([path], ["cvh"], protocols=["instance-recall@10"])
    assert {job.training for job in jobs} == {"rest", "everything"}


def test_who_learns_from_labels():
    assert all(needs_labels(method) for method in ("spdq", "spdq-paper:product", "scm-orth", "ridge-opq"))
    assert not any(needs_labels(method) for method in ("cvh", "cca-itq", "svd-opq"))
