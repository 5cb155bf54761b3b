"""Which jobs a run consists of: data sets x trainings x methods x seeds, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spdq.data.dataset import Dataset
from spdq.errors import DataError, UsageError
from spdq.evaluation import parse_protocols
from spdq.training.run import BITS
from spdq_benchmarks.content import dataset_digest
from spdq_benchmarks.record_files import file_name
from spdq_benchmarks.retrieval.methods import METHODS, check_method, needs_labels
from spdq_benchmarks.retrieval.trainings import BY_LABEL, TRAININGS, make_splits, protocols_of

PROTOCOLS = (
    "map@50",
    "map@all",
    "map@50/first-hits",
    "pr-curve",
    "instance-recall@1",
    "instance-recall@10",
)
"""What is judged where nothing is said. The curve holds precision at 64 ranks, too."""

STRONGEST = ("kernel-ridge-aq", "mlp-aq", "cdq", "supcon-pq", "ridge-opq")
"""The five strongest baselines, which get as many seeds as our recipes: those of the highest mean map@50 and map@all at
64 bits over emoji, Wikipedia (both) and MIRFlickr-1k, seen and unseen."""
SEEDS = 3
"""Of our two recipes and the strongest baselines; the others and the ablations get one."""


@dataclass(frozen=True)
class Job:
    """One method, learned once on one training of a data set; all code lengths are judged."""

    file: str
    dataset: str
    digest: str
    """Of the data set's content."""
    training: str
    seed: int
    method: str
    bits: tuple[int, ...]
    protocols: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.dataset} {self.training} {self.method} seed {self.seed}"


def plan_jobs(
    files: Sequence[Path],
    methods: Sequence[str] = (),
    trainings: Sequence[str] = (),
    bits: Sequence[int] = (),
    seeds: int | None = None,
    protocols: Sequence[str] = (),
) -> list[Job]:
    """The jobs of a run; what is empty means all of it, or :data:`PROTOCOLS`. First seeds come first.

    Parameters
    ----------
    files
        Data set files, each with a split, of which the query rows are taken.
    seeds
        Runs of every method; None as :data:`SEEDS` and :data:`STRONGEST` say.

    Raises
    ------
    UsageError
        Unknown method, training, protocol or length, no data set, two of one name, nothing to judge.
    DataError
        A data set lacks its split, features, or labels that a method learns from.
    NotFoundError, DamagedError, IncompatibleError, StorageError
        As ``Dataset.load``.
    """
    methods = tuple(dict.fromkeys(methods)) or METHODS
    trainings = tuple(dict.fromkeys(trainings)) or tuple(TRAININGS)
    lengths = tuple(sorted(set(bits))) or BITS
    asked = tuple(dict.fromkeys(p.name for p in parse_protocols(protocols or PROTOCOLS)))
    _check(methods, trainings, lengths, seeds)
    trainings = tuple(name for name in trainings if _is_judged(name, asked))
    if not trainings:
        raise UsageError(
            f"nothing to judge: labels decide on the splits {', '.join(BY_LABEL)}, instance-recall is for the others"
        )
    found = [(file, Dataset.load(file)) for file in files]
    _check_names(found)
    for file, dataset in found:
        _check_dataset(file, dataset, methods, trainings, asked)
    digests = [dataset_digest(dataset) for _, dataset in found]
    runs = {method: _seeds(method, seeds) for method in methods}
    return [
        Job(str(file), dataset.name, digest, training, seed, method, lengths, asked)
        for seed in range(max(runs.values()))
        for (file, dataset), digest in zip(found, digests, strict=True)
        for training in trainings
        for method in methods
        if seed < runs[method]
    ]


def _seeds(method: str, seeds: int | None) -> int:
    if seeds is not None:
        return seeds
    return SEEDS if method in ("spdq", "spdq-paper", *STRONGEST) else 1


def _is_judged(training: str, protocols: tuple[str, ...]) -> bool:
    return any(protocols_of(split, protocols) for split in TRAININGS[training])


def _check(methods: Sequence[str], trainings: Sequence[str], bits: Sequence[int], seeds: int | None) -> None:
    for method in methods:
        check_method(method)
    for training in trainings:
        if training not in TRAININGS:
            raise UsageError(f"unknown training {training!r}: known are {', '.join(TRAININGS)}")
    for length in bits:
        if length not in BITS:
            raise UsageError(f"bits must be one of {', '.join(map(str, BITS))}, got {length}")
    if seeds is not None and seeds < 1:
        raise UsageError(f"seeds: expected at least 1, got {seeds}")


def _check_names(found: list[tuple[Path, Dataset]]) -> None:
    if not found:
        raise UsageError("no data set: give at least one file")
    files: dict[str, Path] = {}
    for file, dataset in found:
        name = file_name(dataset.name)
        if name in files:
            raise UsageError(
                f"{files[name]} and {file} are both called {dataset.name}, so their records could not be told apart: "
                "run them into different folders"
            )
        files[name] = file


def _check_dataset(
    file: Path,
    dataset: Dataset,
    methods: Sequence[str],
    trainings: Sequence[str],
    protocols: tuple[str, ...],
) -> None:
    if dataset.split is None:
        raise DataError(f"{file} has no split: make one with `spdq dataset split`")
    if dataset.image_features is None:
        raise DataError(f"{file} has no /image/features, which every method learns from")
    if dataset.text_features is None and dataset.texts is None:
        raise DataError(f"{file} has no text: neither /text/features nor /text/utf8")
    for training in trainings:
        make_splits(training, len(dataset), dataset.split.query, 0)
    if dataset.labels is not None:
        return
    learners = [method for method in methods if needs_labels(method)]
    if learners:
        others = [method for method in METHODS if not needs_labels(method)]
        raise DataError(
            f"{file} has no /labels, which {', '.join(learners)} learn from: "
            f"choose others with --method ({', '.join(others)})"
        )
    by_label = [
        p.name
        for training in trainings
        for split in TRAININGS[training]
        if split in BY_LABEL
        for p in protocols_of(split, protocols)
    ]
    if by_label:
        raise DataError(
            f"{file} has no /labels to judge {by_label[0]} by: choose --protocol instance-recall@1 or the like"
        )
