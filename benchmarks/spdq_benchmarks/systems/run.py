"""Which jobs a run consists of, and running those that are not on record yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from spdq.data.dataset import Dataset
from spdq.errors import DataError, UsageError
from spdq.training.run import check_bits
from spdq_benchmarks.content import dataset_digest
from spdq_benchmarks.record_files import Record, make_folder
from spdq_benchmarks.systems.job import FORMAT, Job, run_job
from spdq_benchmarks.systems.studies import STUDIES
from spdq_benchmarks.systems.trainings import TRAININGS
from spdq_benchmarks.workers import Failure, run_tasks

BITS = (16, 64)
SEEDS = 3


def plan_jobs(
    files: Sequence[Path],
    systems: Sequence[str] = (),
    methods: Sequence[str] = (),
    bits: Sequence[int] = (),
    seeds: int = SEEDS,
    trainings: Sequence[str] = (),
) -> list[Job]:
    """The jobs of a run; what is empty means all of it, ``bits`` :data:`BITS`.

    A data set is for the systems whose split it has: a click log for CSM, matched items for Mixer and gated.

    Raises
    ------
    UsageError
        Unknown system, method or training, a length that no code has, a data set that no system asked for is for.
    DataError
        A data set without a split.
    NotFoundError, DamagedError, IncompatibleError, StorageError
        As ``Dataset.load``.
    """
    _check(systems, STUDIES, "system")
    chosen = {name: study for name, study in STUDIES.items() if not systems or name in systems}
    _check(methods, [name for study in chosen.values() for name in study.methods], "method")
    _check(trainings, TRAININGS, "training")
    for length in bits:
        check_bits(length)
    lengths = tuple(sorted(set(bits))) or BITS
    jobs: list[Job] = []
    for file in files:
        dataset = Dataset.load(file)
        if dataset.split is None:
            raise DataError(f"{file} has no split: make one with `spdq dataset split`")
        digest, before = dataset_digest(dataset), len(jobs)
        for seed in range(seeds):
            for system, study in chosen.items():
                if study.split != dataset.split.kind:
                    continue
                jobs += [
                    Job(str(file), dataset.name, digest, system, method, training, seed, lengths)
                    for method in study.methods
                    if not methods or method in methods
                    for training in study.trainings
                    if study.takes_part(method, training) and (not trainings or training in trainings)
                ]
        if len(jobs) == before:
            wanted = ", ".join(f'{name} a "{study.split}" one' for name, study in chosen.items())
            raise UsageError(
                f'{file} has a "{dataset.split.kind}" split, which none of what is asked for is judged on: {wanted}'
            )
    return jobs


def run_jobs(
    jobs: Sequence[Job], folder: Path, workers: int | None = None, say: Callable[[str], None] | None = None
) -> list[Failure]:
    """Leave the records of all jobs in the folder, which is made if needed; returns those that failed.

    Records that are there with the same key stay as they are, so an interrupted run goes on where it was.

    Raises
    ------
    StorageError
        The folder cannot be written.
    DamagedError, IncompatibleError
        A record in the way is broken, or of another version.
    """
    tell = say or (lambda line: None)
    make_folder(folder)
    left = [job for job in jobs if _finished(job, folder) is None]
    if len(left) < len(jobs):
        tell(f"{len(jobs) - len(left)} of {len(jobs)} jobs are on record already")

    def keep(found: tuple[Job, Record]) -> None:
        job, record = found
        FORMAT.write(job.path(folder), record)

    return run_tasks(run_job, left, workers, keep, tell)


def finished_records(jobs: Sequence[Job], folder: Path) -> list[Record]:
    """The records of the jobs that are there with the keys they would have now. Raises as ``RecordFormat.read``."""
    return [record for job in jobs if (record := _finished(job, folder)) is not None]


def _finished(job: Job, folder: Path) -> Record | None:
    path = job.path(folder)
    if not path.exists():
        return None
    record = FORMAT.read(path)
    return record if record["key"] == job.key else None


def _check(given: Sequence[str], known: Iterable[str], what: str) -> None:
    names = dict.fromkeys(known)
    for name in given:
        if name not in names:
            raise UsageError(f"unknown {what} {name!r}: known are {', '.join(names)}")
