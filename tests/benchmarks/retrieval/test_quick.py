from __future__ import annotations

import numpy as np

from spdq_benchmarks.content import dataset_digest
from spdq_benchmarks.evaluation import chance_level
from spdq_benchmarks.retrieval.job import Task, run_task
from spdq_benchmarks.retrieval.plan import plan_jobs
from spdq_benchmarks.retrieval.quick import ITEMS, QUERIES, quick_dataset


def test_the_same_every_time():
    assert dataset_digest(quick_dataset()) == dataset_digest(quick_dataset())
    assert dataset_digest(quick_dataset()) != dataset_digest(quick_dataset(1))


def test_what_it_holds():
    dataset = quick_dataset()
    assert len(dataset) == ITEMS
    assert len(dataset.split.query) == QUERIES
    assert (dataset.labels[:, :6].sum(axis=1) == 1).all()
    assert dataset.labels[dataset.split.train].any(axis=0).all()
    assert {len(text.splitlines()) for text in dataset.texts} == {2}
    assert np.isfinite(dataset.image_features).all()


def test_it_can_be_learned_but_not_perfectly(tmp_path):
    dataset = quick_dataset()
    dataset.save(tmp_path / "quick.h5")
    (job,) = plan_jobs([tmp_path / "quick.h5"], ["ridge-opq"], ["rest"], [16], 1, ["map@all"])
    records = run_task(Task(job, (16,), False, None))
    (chance,) = chance_level(dataset, ["map@all"], "group:")
    figures = [f for f in records[0]["figures"] if (f["split"], f["labels"]) == ("seen", "group:")]
    assert len(figures) == 4
    for figure in figures:
        assert 2 * chance.value < figure["value"] < 0.95
