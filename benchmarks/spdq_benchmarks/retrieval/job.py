"""One job: learn a method, judge its codes of every length, and put it all on record."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from spdq import __version__
from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError
from spdq_benchmarks.content import dataset_digest, package_versions
from spdq_benchmarks.record_files import Record
from spdq_benchmarks.retrieval.contestant import Contestant
from spdq_benchmarks.retrieval.judging import Coding, judge, make_items, rankings
from spdq_benchmarks.retrieval.keys import job_key
from spdq_benchmarks.retrieval.methods import learn, needs_labels
from spdq_benchmarks.retrieval.plan import Job
from spdq_benchmarks.retrieval.trainings import make_splits
from spdq_benchmarks.retrieval.trec_files import write_files
from spdq_benchmarks.speed.machine import machine_facts

MACHINE = ("cpu", "architecture", "simd_level", "python")
VECTORS = 0
"""Bits on the record of float vectors."""


@dataclasses.dataclass(frozen=True)
class Task:
    """A job as it is sent to a process."""

    job: Job
    bits: tuple[int, ...]
    """Code lengths to judge, those of the job that are not on record yet."""
    vectors: bool
    """Whether to judge float vectors, too, where the method has them."""
    trec: str | None
    """Folder for run files."""

    def __str__(self) -> str:
        return str(self.job)


def run_task(task: Task) -> list[Record]:
    """The records of a job, float vectors first.

    Raises
    ------
    DataError
        The data set file has changed since the run was planned; what the method cannot learn from.
    """
    job = task.job
    dataset, splits = _prepared(job.file, job.digest, job.training, job.seed)
    learned = learn(job.method, dataset, job.seed)
    records = []
    if task.vectors and learned.floats is not None:
        records.append(_record(job, learned.floats, dataset, splits, "vectors", None))
    records += [
        _record(job, learned.with_bits(bits), dataset, splits, "codes", task.trec) for bits in task.bits
    ]
    return records


def key_of(job: Job, bits: int, coding: str) -> str:
    """The key of a record of the job."""
    return job_key(job.digest, job.training, job.seed, job.method, job.protocols, bits, coding)


@lru_cache(maxsize=1)
def _prepared(file: str, digest: str, training: str, seed: int) -> tuple[Dataset, dict[str, Split]]:
    """A data set with the training rows of a training, and the splits to judge.

    One object for all methods that are learned on it: what they share is kept by it (``shared_rows``).
    """
    dataset = Dataset.load(file)
    if dataset.split is None or dataset_digest(dataset) != digest:
        raise DataError(f"{file} has changed since the run began: run again")
    splits = make_splits(training, len(dataset), dataset.split.query, seed)
    return dataset.with_split(next(iter(splits.values()))), splits


def _record(
    job: Job,
    contestant: Contestant,
    dataset: Dataset,
    splits: Mapping[str, Split],
    coding: Coding,
    trec: str | None,
) -> Record:
    items = make_items(contestant, splits, coding)
    figures: list[dict[str, Any]] = []
    for ranking in rankings(contestant, items, splits, coding):
        figures += judge(ranking, dataset, job.protocols)
        if trec is not None:
            write_files(Path(trec), ranking, dataset, job.method, job.seed)
    bits = contestant.bits if coding == "codes" else VECTORS
    first = next(iter(splits.values()))
    sample = items.codes["i"] if coding == "codes" else items.vectors["i"]
    machine = machine_facts()
    return {
        "key": key_of(job, bits, coding),
        "dataset": job.dataset,
        "dataset_digest": job.digest,
        "training": job.training,
        "seed": job.seed,
        "method": job.method,
        "bits": bits,
        "coding": coding,
        "code_bytes": sample.shape[1] * sample.itemsize,
        "query": contestant.query,
        "labels": needs_labels(job.method),
        "rows": {
            "query": len(first.query),
            "train": len(first.train),
            "database": {name: len(split.database) for name, split in splits.items()},
        },
        "settings": contestant.settings,
        "threads": 1,
        # A process may use one core only, and would count one.
        "machine": {name: machine[name] for name in MACHINE} | {"cores": os.cpu_count()},
        "versions": {"spdq": __version__} | package_versions(),
        "seconds": {
            "train": contestant.train_seconds,
            "fit_code": contestant.code_seconds if bits != VECTORS else 0.0,
            **items.seconds,
        },
        "figures": figures,
    }
