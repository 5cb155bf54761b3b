"""What a query of a split should find: items of its labels, of its class, or those a click log grades."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError
from spdq.evaluation import Figure, evaluate_labels, evaluate_ranking

Distances = NDArray[np.float32] | Callable[[slice], NDArray[np.float32]]
Progress = Callable[[int, int], None]
Judge = Callable[[Distances, Sequence[str], Progress | None], list[Figure]]

DEFAULT_PROTOCOLS: dict[str, tuple[str, ...]] = {
    "paired": ("instance-recall@1", "instance-recall@10"),
    "matched": ("recall@1", "recall@5", "recall@10", "median-rank", "map@all"),
    "clicks": ("dcg@25", "ndcg@25"),
}
"""By kind of split; others are judged by map@50 and map@all."""


def default_protocols(split: Split) -> tuple[str, ...]:
    """What a split is judged by where nothing is said."""
    return DEFAULT_PROTOCOLS.get(split.kind, ("map@50", "map@all"))


def relevance_name(dataset: Dataset, split: Split, labels: str) -> str:
    """What decides relevance, as it is printed: "grades", "class", or the prefix of labels, "" for all."""
    if split.kind == "clicks":
        return "grades"
    if split.kind == "matched" and not labels and dataset.classes is not None:
        return "class"
    return labels


def relevance(dataset: Dataset, split: Split, labels: str) -> Judge:
    """What judges distances (queries, database rows) of a split by relevance.

    On a "clicks" split that is the gain 2^grade - 1 of each held-out query; on a "matched" one the query's class,
    unless ``labels`` are asked for; elsewhere, and there, at least one common label whose name starts with ``labels``.

    Raises
    ------
    DataError
        The data set has no grades, classes or labels.
    """
    by = relevance_name(dataset, split, labels)
    if by == "grades":
        return _by_gain(_gains(dataset, split))
    if by == "class" and dataset.classes is not None:
        return _by_gain(_same_class(dataset.classes, split))
    selected = dataset.select_labels(labels).labels if labels else dataset.labels
    if selected is None:
        raise DataError(f"data set {dataset.name} has no /labels: MAP needs them, instance-recall does not")
    queries, items = selected[split.query], selected[split.database]
    return lambda distances, protocols, progress: evaluate_labels(
        distances, queries, items, protocols, progress=progress
    )


def _by_gain(gains: sparse.csr_matrix) -> Judge:
    return lambda distances, protocols, progress: evaluate_ranking(
        distances, gains, protocols, progress=progress
    )


def _gains(dataset: Dataset, split: Split) -> sparse.csr_matrix:
    """2^grade - 1 of the held-out queries, (queries, database rows) CSR."""
    grades = dataset.grades
    if grades is None:
        raise DataError(
            f"data set {dataset.name} has no /grades: no query of its click log is held out to judge by"
        )
    gains = (2**grades.value - 1).astype(np.float32)
    shape = (len(grades.queries), len(dataset))
    return sparse.csr_matrix((gains, (grades.query, grades.item)), shape=shape)[:, split.database]


def _same_class(classes: NDArray[np.int64], split: Split) -> sparse.csr_matrix:
    """Which database rows are of each query's class, (queries, database rows) CSR of 0 and 1; -1 is no class."""
    known, column = np.unique(classes[classes >= 0], return_inverse=True)
    rows = np.flatnonzero(classes >= 0)
    one_hot: Any = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, column)), shape=(len(classes), max(len(known), 1))
    )
    return sparse.csr_matrix(one_hot[split.query] @ one_hot[split.database].T)
