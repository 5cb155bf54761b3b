"""A job's records hold what judging its models by hand gives."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from oracles_training import made_dataset

from spdq.data import make_split
from spdq.errors import DataError
from spdq.training import with_bits
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq_benchmarks.evaluation import DIRECTIONS, judge
from spdq_benchmarks.retrieval import job as job_module
from spdq_benchmarks.retrieval.job import Task, key_of, run_task
from spdq_benchmarks.retrieval.plan import plan_jobs

PROTOCOLS = ("map@50", "map@all", "instance-recall@10")


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def plain():
    dataset = made_dataset(60, every=4)
    return replace(dataset, label_names=tuple(name.partition(":")[2] for name in dataset.label_names))


@pytest.fixture
def file(plain, tmp_path):
    job_module._prepared.cache_clear()
    plain.save(tmp_path / "made.h5")
    return tmp_path / "made.h5"


def records_of(file, method, training, bits=(16, 64)):
    (job,) = plan_jobs([file], [method], [training], bits, 1, PROTOCOLS)
    return job, run_task(Task(job, job.bits, True, None))


@pytest.mark.parametrize("training", ["rest", "half"])
def test_figures_are_those_of_the_model(plain, file, training):
    _, records = records_of(file, "spdq", training)
    assert [(record["bits"], record["coding"]) for record in records] == [
        (0, "vectors"),
        (16, "codes"),
        (64, "codes"),
    ]
    kinds = {"rest": {"seen": "seen", "heldout": "paired"}, "half": {"unseen": "unseen"}}[training]
    for name, kind in kinds.items():
        dataset = plain.with_split(make_split(len(plain), plain.split.query, kind, 0))
        model = train_task(SPDQTask, dataset, 64, "default", 0)
        for bits, coding, asked in (
            (64, "codes", model),
            (16, "codes", with_bits(model, dataset, 16)),
            (0, "vectors", model),
        ):
            (record,) = (r for r in records if (r["bits"], r["coding"]) == (bits, coding))
            expected = {
                (j.direction, j.figure.protocol): j.figure.value
                for j in judge(
                    asked,
                    dataset,
                    directions=DIRECTIONS,
                    codings=[coding],
                    protocols=["instance-recall@10"] if kind == "paired" else ["map@50", "map@all"],
                )
            }
            found = {
                (figure["direction"], figure["protocol"]): figure["value"]
                for figure in record["figures"]
                if figure["split"] == name
            }
            assert found == pytest.approx(expected, abs=1e-6)


def test_all_that_has_to_be_said_is_on_record(plain, file):
    job, records = records_of(file, "cvh", "everything", (32,))
    (record,) = records
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["key"] == key_of(job, 32, "codes")
    assert {name: record[name] for name in ("dataset", "training", "seed", "method", "bits", "coding")} == {
        "dataset": "made",
        "training": "everything",
        "seed": 0,
        "method": "cvh",
        "bits": 32,
        "coding": "codes",
    }
    assert record["dataset_digest"] == job.digest
    assert (record["code_bytes"], record["query"], record["threads"], record["labels"]) == (
        4,
        "code",
        1,
        False,
    )
    assert record["rows"] == {"query": 60, "train": 60, "database": {"trained": 60}}
    assert set(record["seconds"]) == {"train", "fit_code", "encode_per_image", "encode_per_text"}
    assert record["versions"]["numpy"] == np.__version__
    assert {"cpu", "cores", "python"} <= set(record["machine"])
    assert {figure["split"] for figure in record["figures"]} == {"trained"}
    assert all(len(figure["each"]) == 60 for figure in record["figures"])


def test_float_vectors_of_a_quantizing_method(file):
    _, records = records_of(file, "ridge-opq", "half", (16,))
    vectors, codes = records
    assert (vectors["bits"], vectors["coding"], vectors["query"]) == (0, "vectors", "float")
    assert vectors["code_bytes"] % 4 == 0 < vectors["code_bytes"]
    assert (codes["code_bytes"], codes["seconds"]["fit_code"] > 0) == (2, True)
    assert vectors["key"] != codes["key"]


def test_only_what_is_missing_is_made(file):
    (job,) = plan_jobs([file], ["ridge-opq"], ["half"], (16, 32), 1, PROTOCOLS)
    (record,) = run_task(Task(job, (32,), False, None))
    assert (record["bits"], record["coding"]) == (32, "codes")
    again = run_task(Task(job, (16, 32), True, None))[-1]
    assert again["figures"] == record["figures"]


def test_a_class_that_training_has_not(plain, file):
    """Its queries count, and find what they can: the method has just never heard of it."""
    labels = plain.labels.copy()
    labels[plain.split.query[0]] = 0
    labels = np.hstack([labels, np.zeros((len(labels), 1), np.uint8)])
    labels[plain.split.query[0], -1] = 1
    replace(plain, labels=labels, label_names=(*plain.label_names, "unheard")).save(file)
    for method in ("spdq", "ridge-opq"):
        _, records = records_of(file, method, "rest", (16,))
        figures = [f for f in records[-1]["figures"] if (f["split"], f["protocol"]) == ("seen", "map@all")]
        assert [figure["empty"] for figure in figures] == [1] * 4
        assert [figure["each"][0] for figure in figures] == [0] * 4


def test_a_data_set_that_changes_under_way(plain, file):
    (job,) = plan_jobs([file], ["cvh"], ["rest"], (16,), 1, PROTOCOLS)
    replace(plain, ids=plain.ids + 1).save(file)
    with pytest.raises(DataError, match=r"made.h5 has changed since the run began: run again"):
        run_task(Task(job, (16,), True, None))
    plain.with_split(None).save(file)
    job_module._prepared.cache_clear()
    with pytest.raises(DataError, match=r"made.h5 has changed since the run began"):
        run_task(Task(job, (16,), True, None))
