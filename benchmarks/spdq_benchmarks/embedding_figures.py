"""How long a model takes for one query: `spdq bench embedding`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.models.model import Model
from spdq.models.rows import sparse_or_dense
from spdq_benchmarks.index_figures import Figure

MUST_MS = 1.0
"""Of one text and of one row of image features, on one core."""
QUERIES = 200
WARM_UP = 20


def embedding_figures(model: Model, dataset: Dataset, repeats: int = 5) -> list[Figure]:
    """Median milliseconds, on one thread, from one query of a data set to its vector.

    Queries are the first 200 of the split, or of the data set where it has none: the first line of a raw text where
    the model reads texts, else a row of text features; and a row of image features. Each is timed ``repeats`` times on
    its own; the first 20 calls are not counted.

    Raises
    ------
    DataError
        The data set lacks what the model reads.
    """
    rows = (
        np.arange(len(dataset))
        if dataset.split is None or not len(dataset.split.query)
        else dataset.split.query
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            return [
                Figure(name, _median(calls * repeats), "ms", MUST_MS)
                for name, calls in _calls(model, dataset, rows[:QUERIES])
            ]
    finally:
        torch.set_num_threads(threads)


def _calls(
    model: Model, dataset: Dataset, rows: np.ndarray
) -> Iterator[tuple[str, list[Callable[[], object]]]]:
    images, features, texts = dataset.image_features, dataset.text_features, dataset.texts
    if images is None:
        raise DataError(f"data set {dataset.name} has no /image/features")
    if texts is not None and model.text_extractor is not None:
        lines = [(texts[row].splitlines() or [""])[0] for row in rows]
        yield "one text to its vector", [_text(model, line) for line in lines]
    elif features is not None:
        yield (
            "one row of text features to its vector",
            [_row(model.embed_text, sparse_or_dense(features[row : row + 1])) for row in rows.tolist()],
        )
    else:
        raise DataError(f"data set {dataset.name} has no text that the model reads")
    yield (
        "one row of image features to its vector",
        [_row(model.embed_image, images[row : row + 1]) for row in rows.tolist()],
    )


def _text(model: Model, line: str) -> Callable[[], object]:
    return lambda: model.embed_text(model.text_features([line]))


def _row(embed: Callable[..., object], features: object) -> Callable[[], object]:
    return lambda: embed(features)


def _median(calls: list[Callable[[], object]]) -> float:
    for call in calls[:WARM_UP]:
        call()
    spent = []
    for call in calls:
        started = perf_counter()
        call()
        spent.append(perf_counter() - started)
    return 1000 * float(np.median(spent))
