"""Run and qrels files of TREC for what a job ranked, so that other tools can judge it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from spdq.data.dataset import Dataset
from spdq.evaluation.trec import write_qrels, write_run
from spdq_benchmarks.record_files import file_name
from spdq_benchmarks.retrieval.judging import Ranking, label_sets, labels_of
from spdq_benchmarks.retrieval.trainings import BY_LABEL

DEPTH = 1000
"""Items of each query in a run file."""
BLOCK = 256


def split_folder(folder: Path, dataset: str, split: str, seed: int) -> Path:
    """Where the files of a split lie; the seed draws the database of ``unseen``."""
    return folder / file_name(dataset) / f"{split}-s{seed}"


def run_path(
    folder: Path, dataset: str, split: str, seed: int, direction: str, method: str, bits: int
) -> Path:
    """Where a run file lies."""
    return split_folder(folder, dataset, split, seed) / direction / f"{file_name(method)}-{bits}.run"


def write_files(folder: Path, ranking: Ranking, dataset: Dataset, method: str, seed: int) -> None:
    """Write the run file of a ranking by codes, and the qrels of its split where they are not there yet.

    The qrels are named after their label set, ``labels.qrels`` where there is one alone, ``items.qrels`` where each
    query's own item is what is relevant. Queries with nothing relevant are not in them, so tools that average over
    qrels leave those out, where ``map@all`` counts 0. Items at one distance are in the order of their rows.

    Raises
    ------
    DataError
        An id has white space, which the format has no way to write.
    StorageError
        A file cannot be written.
    """
    split = ranking.split
    place = split_folder(folder, dataset.name, ranking.name, seed)
    path = run_path(
        folder, dataset.name, ranking.name, seed, ranking.direction, method, ranking.contestant.bits
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    depth = min(DEPTH, len(split.database))
    distances = np.empty((len(split.query), depth), np.float32)
    found = np.empty((len(split.query), depth), np.int64)
    for start in range(0, len(split.query), BLOCK):
        rows = slice(start, min(start + BLOCK, len(split.query)))
        block = ranking.distances(rows)
        found[rows] = np.argsort(block, axis=1, kind="stable")[:, :depth]
        distances[rows] = np.take_along_axis(block, found[rows], axis=1)
    write_run(path, dataset.ids[split.query], distances, dataset.ids[split.database][found], tag=method)
    for name in _label_sets(ranking, dataset):
        qrels = place / f"{name.rstrip(':') or 'labels'}.qrels"
        if not qrels.exists():
            write_qrels(qrels, _judgements(ranking, dataset, name))


def _label_sets(ranking: Ranking, dataset: Dataset) -> list[str]:
    if ranking.name not in BY_LABEL:
        return ["items"]
    return label_sets(dataset) if dataset.labels is not None else []


def _judgements(ranking: Ranking, dataset: Dataset, name: str) -> Iterator[tuple[object, object, int]]:
    """What is relevant, query by query."""
    split = ranking.split
    queries, documents = dataset.ids[split.query], dataset.ids[split.database]
    if ranking.name not in BY_LABEL:
        yield from ((query, query, 1) for query in queries)
        return
    labels = labels_of(dataset, name).astype(np.float32)
    columns = labels[split.database].T
    for query, row in zip(queries, split.query, strict=True):
        yield from ((query, documents[place], 1) for place in np.flatnonzero(labels[row] @ columns > 0))
