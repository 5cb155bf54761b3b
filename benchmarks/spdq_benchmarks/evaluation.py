"""Judge a trained model on the split of a data set: which rows are queries, what is searched, by which figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError, IncompatibleError
from spdq.evaluation import Figure, evaluate_instances
from spdq.models.model import Model
from spdq.models.rows import embed_rows, text_features
from spdq.models.spdq import SPDQModel
from spdq.quantizers.codebooks import Codebooks
from spdq.training.provenance import training_digest
from spdq_benchmarks.relevance import default_protocols, relevance, relevance_name

Direction = Literal["i2t", "t2i", "t2u", "i2u", "i2i", "t2t"]
"""Query modality, then what the database holds: i image, t text, u unit."""
Coding = Literal["codes", "vectors", "label codes"]

DIRECTIONS: tuple[Direction, ...] = ("i2t", "t2i", "t2u", "i2u")
CROSS_MODAL: tuple[Direction, ...] = ("i2t", "t2i")
SIX_TASKS: tuple[Direction, ...] = ("t2t", "t2i", "t2u", "i2t", "i2i", "i2u")
"""Queries of both modalities against images, texts and units."""


@dataclass(frozen=True)
class Judgement:
    """One figure and everything that has to be said with it."""

    figure: Figure
    direction: Direction
    split: str
    """Kind of the split; "paired" also says whether the queries were trained on."""
    labels: str
    """What decides relevance: prefix of a label set, "" for all labels, "class" or "grades"."""
    coding: str
    """"codes"; "vectors", the floats they stand for; or "label codes", an upper bound made with the items' labels."""
    bits: int

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``."""
        return {
            "direction": self.direction,
            "split": self.split,
            "labels": self.labels,
            "coding": self.coding,
            "bits": self.bits,
            **self.figure.to_json(),
        }


def judge(
    model: Model,
    dataset: Dataset,
    *,
    directions: Sequence[Direction] = CROSS_MODAL,
    protocols: Sequence[str] = (),
    labels: str = "",
    codings: Sequence[Coding] = ("codes",),
    whole_text_queries: bool = False,
    instance_weight: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judgement]:
    """Judge a model on a data set's split, label-free: database items are coded from their features alone.

    Text queries are the first line of a text, its name, unless ``whole_text_queries``; of a "clicks" split they are the
    held-out queries. What is relevant and by which ``protocols`` a split is judged where none are given:
    ``spdq_benchmarks.relevance``.

    Raises
    ------
    DataError
        The data set lacks the split, labels or a modality that is asked for.
    IncompatibleError
        The model was trained on other rows than the split says.
    UsageError
        An unknown protocol.
    """
    split = _checked_split(model, dataset)
    if not protocols:
        protocols = default_protocols(split)
    by_instance = [name for name in protocols if name.startswith("instance-recall")]
    by_label = [name for name in protocols if name not in by_instance]
    if by_instance and split.kind != "paired":
        raise DataError(
            f'{by_instance[0]} needs the queries\' own items in the database: a "paired" split, this is {split.kind}'
        )
    by_relevance = relevance(dataset, split, labels) if by_label else None
    by = relevance_name(dataset, split, labels)
    judgements: list[Judgement] = []
    for direction in directions:
        queries = query_vectors(model, dataset, split, direction[0], whole_text_queries, instance_weight)
        items = embed_rows(model, dataset, direction[2], split.database)
        for coding in codings:
            distances = vector_distances(queries, items)
            if coding == "codes":
                distances = distances_to_codes(model.codebooks, queries, model.codebooks.encode(items))
            elif coding == "label codes":
                distances = distances_to_codes(
                    model.codebooks, queries, _label_codes(model, dataset, split.database)
                )
            figures: list[Figure] = []
            if by_relevance is not None:
                figures += by_relevance(distances, by_label, progress)
            if by_instance:
                own = np.searchsorted(split.database, split.query)
                figures += evaluate_instances(distances, own, by_instance, progress=progress)
            judgements += [
                Judgement(figure, direction, split_name(split), by, coding, model.codebooks.bits)
                for figure in figures
            ]
    return judgements


def chance_level(dataset: Dataset, protocols: Sequence[str], labels: str = "") -> list[Figure]:
    """What a random ranking of the split's database reaches. Raises DataError without split or labels."""
    split = dataset.split
    if split is None:
        raise DataError("the data set has no split: make one with `spdq dataset split`")
    queries = len(dataset.grades.queries) if dataset.grades is not None else len(split.query)
    tied = np.broadcast_to(np.float32(0), (queries, len(split.database)))
    return relevance(dataset, split, labels)(tied, protocols, None)


def query_vectors(
    model: Model,
    dataset: Dataset,
    split: Split,
    modality: str,
    whole_text: bool = False,
    instance_weight: float | None = None,
) -> NDArray[np.float32]:
    """Vectors (q, dim) of the split's queries, "i" images or "t" texts, as they meet what is searched.

    Raises
    ------
    DataError
        The data set lacks the modality; image queries of a click log.
    """
    if split.kind == "clicks":
        if modality == "i" or dataset.grades is None:
            raise DataError(
                f"data set {dataset.name} is a click log: its held-out queries are texts (t2i, t2t, t2u)"
            )
        vectors = model.embed_text(model.text_features(dataset.grades.queries))
    elif modality == "i":
        vectors = embed_rows(model, dataset, "i", split.query)
    else:
        vectors = model.embed_text(text_features(model, dataset, split.query, first_line=not whole_text))
    return model.weigh_query(vectors, "image" if modality == "i" else "text", instance_weight)


def split_name(split: Split) -> str:
    """The kind of a split as it is printed with every figure."""
    if split.kind != "paired":
        return split.kind
    return "paired, queries trained on" if split.queries_trained else "paired, queries not trained on"


def _checked_split(model: Model, dataset: Dataset) -> Split:
    if dataset.split is None:
        raise DataError(f"data set {dataset.name} has no split: make one with `spdq dataset split`")
    if training_digest(dataset) != model.training["rows_digest"]:
        raise IncompatibleError(
            f"the model was trained on other rows ({model.training['dataset']}, split "
            f"{model.training['split']}) than this data set's split says ({dataset.name}, {dataset.split.kind}). "
            "Evaluate on the split it was trained with"
        )
    return dataset.split


def vector_distances(
    queries: NDArray[np.float32], items: NDArray[np.float32]
) -> Callable[[slice], NDArray[np.float32]]:
    """Negative inner products of the vectors themselves."""
    columns = np.ascontiguousarray(items.T)
    return lambda rows: -(queries[rows] @ columns)


def _label_codes(model: Model, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    if not isinstance(model, SPDQModel) or dataset.labels is None:
        raise DataError("label codes need an SPDQ model and a data set with /labels")
    return model.encode_labels(dataset.labels[rows])


def code_distances(
    codebooks: Codebooks, queries: NDArray[np.float32], codes: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Asymmetric distances (nq, n) of query vectors (nq, dim) to codes (n, M), smaller = closer.

    The very sums the index ranks by, so its ties are ties here.
    """
    tables = codebooks.lookup_tables(queries, "ip")
    sums = tables[:, 0, codes[:, 0]]
    for m in range(1, codes.shape[1]):
        sums += tables[:, m, codes[:, m]]
    return sums


def distances_to_codes(
    codebooks: Codebooks, queries: NDArray[np.float32], codes: NDArray[np.uint8]
) -> Callable[[slice], NDArray[np.float32]]:
    """The same by blocks of queries."""
    return lambda rows: code_distances(codebooks, queries[rows], codes)
