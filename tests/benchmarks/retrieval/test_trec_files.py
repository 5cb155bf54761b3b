"""Run and qrels files judged by another program give the figures on record."""

from __future__ import annotations

from dataclasses import replace

import ir_measures
import numpy as np
import pytest
from oracles_training import made_dataset

from spdq.errors import DataError
from spdq.evaluation.trec import read_qrels, read_run
from spdq_benchmarks.retrieval import job as job_module
from spdq_benchmarks.retrieval import trec_files
from spdq_benchmarks.retrieval.job import Task, run_task
from spdq_benchmarks.retrieval.plan import plan_jobs
from spdq_benchmarks.retrieval.trec_files import run_path

METHOD, BITS = "cca-opq", 128
PROTOCOLS = ("map@all", "precision@5", "instance-recall@3")


def written(dataset, folder, training, trec):
    job_module._prepared.cache_clear()
    dataset.save(folder / "made.h5")
    (job,) = plan_jobs([folder / "made.h5"], [METHOD], [training], [BITS], 1, PROTOCOLS)
    return run_task(Task(job, (BITS,), False, str(trec)))[0]


def judged(run, qrels, measure):
    pairs = [ir_measures.Qrel(q, d, n) for q, found in read_qrels(qrels).items() for d, n in found.items()]
    found = [ir_measures.ScoredDoc(q, d, s) for q, docs in read_run(run).items() for d, s in docs.items()]
    return ir_measures.calc_aggregate([measure], pairs, found)[measure]


@pytest.mark.parametrize("training", ["rest", "everything"])
def test_others_reach_the_same_figures(tmp_path, training):
    dataset = made_dataset(60, every=4)
    record = written(dataset, tmp_path, training, tmp_path / "trec")
    measures = {"map@all": "AP", "precision@5": "P@5", "instance-recall@3": "R@3"}
    assert record["figures"]
    for figure in record["figures"]:
        run = run_path(tmp_path / "trec", "made", figure["split"], 0, figure["direction"], METHOD, BITS)
        name = figure["labels"].rstrip(":") or "items"
        qrels = run.parents[1] / f"{name}.qrels"
        found = judged(run, qrels, ir_measures.parse_measure(measures[figure["protocol"]]))
        # They leave out queries for which nothing is relevant.
        found *= len(read_qrels(qrels)) / figure["queries"]
        assert found == pytest.approx(figure["value"], abs=1e-6), (figure["split"], figure["direction"])
    splits = {path.name for path in (tmp_path / "trec/made").iterdir()}
    assert splits == ({"seen-s0", "heldout-s0", "queries-s0"} if training == "rest" else {"trained-s0"})


def test_runs_are_cut_and_qrels_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(trec_files, "DEPTH", 7)
    monkeypatch.setattr(trec_files, "BLOCK", 4)
    names = tuple(f"l{i}" for i in range(8))
    written(replace(made_dataset(60), label_names=names), tmp_path, "half", tmp_path)
    place = tmp_path / "made/unseen-s0"
    assert sorted(path.name for path in place.iterdir()) == ["i2t", "i2u", "labels.qrels", "t2i", "t2u"]
    run = read_run(place / "i2t" / f"{METHOD}-{BITS}.run")
    assert {len(found) for found in run.values()} == {7}
    assert len(run) == 12
    assert max(len(found) for found in read_qrels(place / "labels.qrels").values()) > 7


def test_ids_with_white_space_are_refused(tmp_path):
    dataset = made_dataset(60)
    with pytest.raises(DataError, match="query id: expected text without white space, got 'item 0'"):
        written(replace(dataset, ids=np.array([f"item {i}" for i in range(60)])), tmp_path, "half", tmp_path)
