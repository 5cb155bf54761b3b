"""Run the jobs that are not on record yet, in parallel, and tell how it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spdq_benchmarks.evaluation import DIRECTIONS
from spdq_benchmarks.record_files import Record, make_folder
from spdq_benchmarks.retrieval.job import VECTORS, Task, key_of, run_task
from spdq_benchmarks.retrieval.plan import Job
from spdq_benchmarks.retrieval.records import RETRIEVAL, record_path, write_record
from spdq_benchmarks.retrieval.trainings import TRAININGS
from spdq_benchmarks.retrieval.trec_files import run_path
from spdq_benchmarks.workers import Failure, run_tasks

TREC = "trec"
"""Folder of run files in the output folder."""

Say = Callable[[str], None]


def run_jobs(
    jobs: Sequence[Job], folder: Path, workers: int | None = None, trec: bool = False, say: Say | None = None
) -> list[Failure]:
    """Leave the records of all jobs in the folder, which is made if needed; returns those that failed.

    Records that are there with the same key stay as they are, so an interrupted run goes on where it was: only the
    jobs under way are lost. Each process has one thread.

    Parameters
    ----------
    workers
        Processes; None is one for each core.
    trec
        Whether to write TREC files, too; a job whose run files are missing is run again.
    say
        Called with a line of text for each job.

    Raises
    ------
    StorageError
        The folder cannot be written.
    DamagedError, IncompatibleError
        A record in the way is broken, or of another version.
    """
    tell = say or (lambda line: None)
    make_folder(folder)
    tasks = [task for job in jobs if (task := _task(job, folder, trec)) is not None]
    if len(tasks) < len(jobs):
        tell(f"{len(jobs) - len(tasks)} of {len(jobs)} jobs are on record already")

    def keep(records: list[Record]) -> None:
        for record in records:
            write_record(folder, record)

    return run_tasks(run_task, tasks, workers, keep, tell)


def finished_records(jobs: Sequence[Job], folder: Path) -> list[Record]:
    """The records of the jobs that are there with the keys they would have now. Raises as ``RecordFormat.read``."""
    found = []
    for job in jobs:
        for bits, coding in ((VECTORS, "vectors"), *((bits, "codes") for bits in job.bits)):
            record = _finished(job, folder, bits, coding)
            if record is not None:
                found.append(record)
    return found


def _task(job: Job, folder: Path, trec: bool) -> Task | None:
    """What of a job is not on record with the key it would have now; None where all is."""

    def is_run(bits: int) -> bool:
        return not trec or all(
            run_path(folder / TREC, job.dataset, split, job.seed, direction, job.method, bits).exists()
            for split in TRAININGS[job.training]
            for direction in DIRECTIONS
        )

    bits = tuple(b for b in job.bits if _finished(job, folder, b, "codes") is None or not is_run(b))
    if not bits:
        return None
    vectors = _finished(job, folder, VECTORS, "vectors") is None
    return Task(job, bits, vectors, str(folder / TREC) if trec else None)


def _finished(job: Job, folder: Path, bits: int, coding: str) -> Record | None:
    path = record_path(folder, job.dataset, job.training, job.method, job.seed, bits, coding)
    if not path.exists():
        return None
    record = RETRIEVAL.read(path)
    return record if record["key"] == key_of(job, bits, coding) else None
