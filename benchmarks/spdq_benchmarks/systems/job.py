"""One job: learn a method on a data set, judge its vectors and its codes of every length, put it all on record."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from spdq import __version__
from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.models.directory import canonical_json
from spdq.training.vectors import OWN_ALONG, additive_codebooks
from spdq_benchmarks.content import NOT_DECISIVE, code_digest, dataset_digest, package_versions
from spdq_benchmarks.evaluation import distances_to_codes, vector_distances
from spdq_benchmarks.record_files import RECORDS, Record, RecordFormat, file_name
from spdq_benchmarks.relevance import Distances, relevance
from spdq_benchmarks.retrieval.contestant import stopwatch
from spdq_benchmarks.speed.machine import machine_facts
from spdq_benchmarks.systems.studies import STUDIES
from spdq_benchmarks.systems.trainings import TRAININGS
from spdq_benchmarks.systems.vectors import Vectors, checked_split

FORMAT = RecordFormat(
    "spdq-systems-record",
    1,
    ("key", "dataset", "system", "method", "training", "seed", "figures"),
    "spdq bench systems",
)
VECTORS, CODES, OWN_CODES = "vectors", "codes", "own codes"
"""Float vectors; codes of codebooks learned in training; codes of codebooks learned from what is searched."""
MACHINE = ("cpu", "architecture", "simd_level", "python")


@dataclass(frozen=True)
class Job:
    """One method of a system's study, learned once; vectors and codes of all lengths are judged."""

    file: str
    dataset: str
    digest: str
    """Of the data set's content."""
    system: str
    method: str
    training: str
    """What is trained on, one of ``TRAININGS``."""
    seed: int
    bits: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dataset} {self.system}: {self.method}, {self.training}, seed {self.seed}"

    def path(self, folder: Path) -> Path:
        """Where its record lies under an output folder."""
        place = folder / RECORDS / file_name(self.dataset) / self.system / file_name(self.method)
        return place / f"s{self.seed}-{self.training}.json"

    @property
    def key(self) -> str:
        """Hex SHA-256 of what decides the record."""
        parts = dataclasses.asdict(self) | {
            "file": None,
            "code": _code_digest(self.system),
            "packages": package_versions(),
            "protocols": STUDIES[self.system].protocols,
        }
        return hashlib.sha256(canonical_json(parts)).hexdigest()


def run_job(job: Job) -> tuple[Job, Record]:
    """The record of a job.

    Raises
    ------
    DataError
        The data set file has changed since the run was planned; what the method cannot learn from.
    """
    dataset = _loaded(job.file)
    if dataset_digest(dataset) != job.digest:
        raise DataError(f"{job.file} has changed since the run began: run again")
    study = STUDIES[job.system]
    with stopwatch() as watch:
        vectors = study.methods[job.method](TRAININGS[job.training].of(dataset, job.seed), job.seed)
    machine = machine_facts()
    return job, {
        "key": job.key,
        **{name: getattr(job, name) for name in ("dataset", "system", "method", "training", "seed")},
        "dataset_digest": job.digest,
        "settings": vectors.settings,
        "dimensions": next(iter(vectors.items.values())).shape[1],
        "machine": {name: machine[name] for name in MACHINE} | {"cores": os.cpu_count()},
        "versions": {"spdq": __version__} | package_versions(),
        "seconds": watch.seconds,
        "figures": list(_figures(job, vectors, dataset)),
    }


def _figures(job: Job, vectors: Vectors, dataset: Dataset) -> Iterator[dict[str, Any]]:
    study = STUDIES[job.system]
    judge = relevance(dataset, checked_split(dataset), "")
    for direction in vectors.directions(study.directions):
        for coding, bits, distances in _codings(job, vectors, direction):
            for figure in judge(distances, study.protocols, None):
                yield {"direction": direction, "coding": coding, "bits": bits, **figure.to_json()}


def _codings(job: Job, vectors: Vectors, direction: str) -> Iterator[tuple[str, int, Distances]]:
    """Every way to rank the items, with its bits, 0 for vectors."""
    queries, items = vectors.queries[direction[0]], vectors.items[direction[2]]
    yield VECTORS, 0, vector_distances(queries, items)
    if vectors.codebooks is None:
        return
    for bits in job.bits:
        for coding, codebooks in (
            (CODES, vectors.codebooks(bits)),
            (OWN_CODES, additive_codebooks(items, bits, OWN_ALONG, job.seed)),
        ):
            yield coding, bits, distances_to_codes(codebooks, queries, codebooks.encode(items))


@lru_cache(maxsize=1)
def _loaded(file: str) -> Dataset:
    return Dataset.load(file)


@lru_cache
def _code_digest(system: str) -> str:
    home = importlib.import_module(next(iter(STUDIES[system].methods.values())).__module__).__name__
    start = [home, "spdq_benchmarks.systems.job", "spdq_benchmarks.relevance", "spdq_benchmarks.evaluation"]
    others = {f"spdq_benchmarks.systems.{name}_methods" for name in STUDIES} - {home}
    return code_digest(start, NOT_DECISIVE | others)
