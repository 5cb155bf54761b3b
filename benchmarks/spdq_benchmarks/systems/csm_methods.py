"""CSM and what it is held against on a click log: words predicted from images, popularity."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.preprocessing import normalize

from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.errors import DataError
from spdq.evaluation import evaluate_ranking
from spdq.features.words import WordExtractor
from spdq.training.click_pairs import training_clicks
from spdq.training.csm import CSMTask
from spdq.training.inputs import validation_rows
from spdq.training.run import train_task
from spdq_benchmarks.systems.vectors import (
    Floats,
    Vectors,
    checked_split,
    fitted_on,
    model_vectors,
    unit_length,
)

DIRECTIONS = ("t2i",)
RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Strengths tried on queries held out of the training log, beside centred images of mean length 1."""
LETTERS = (3, 3)
SMALLEST = 1e-9
"""Share of the largest eigenvalue below which a direction of the words is left out."""

Doubles = NDArray[np.float64]


def csm(dataset: Dataset, seed: int, recipe: str = "default") -> Vectors:
    """A recipe of the system."""
    model = train_task(CSMTask, dataset, recipe=recipe, seed=seed)
    return model_vectors(model, dataset, DIRECTIONS, asdict(CSMTask.recipes[recipe]))


def csm_paper(dataset: Dataset, seed: int) -> Vectors:
    """The reconstruction of the paper."""
    return csm(dataset, seed, "paper")


def popularity(dataset: Dataset, seed: int) -> Vectors:
    """The same ranking for every query: by all clicks of an image."""
    clicks, split = training_clicks(dataset), checked_split(dataset)
    total = np.bincount(clicks.item, clicks.value, minlength=len(dataset)).astype(np.float32)
    queries = np.ones((len(_held_out(dataset).queries), 1), np.float32)
    return Vectors({"t": queries}, {"i": total[split.database, None]}, None)


def words(dataset: Dataset, seed: int, letters: tuple[int, int] | None = None) -> Vectors:
    """Bag of words from the image: ridge regression of what an image was clicked for, compared by cosine.

    An image's words are those of its queries (tf-idf, each query weighted by 1 + ln(clicks)), of length 1. The strength
    of the ridge is the best for a tenth of the training queries, which the words are then learned without.
    """
    clicks, split = training_clicks(dataset), checked_split(dataset)
    learn, judged = validation_rows(np.arange(len(clicks.queries)), seed)
    strengths: tuple[float, ...] = RIDGES
    if len(judged):
        part = _Words.of(dataset, clicks.take_queries(learn), letters)
        held = clicks.take_queries(judged)
        strengths = (max(RIDGES, key=lambda strength: part.figure(held, strength)),)
    whole = _Words.of(dataset, clicks, letters)
    items = whole.items(strengths[0])
    return Vectors(
        {"t": whole.queries(_held_out(dataset).queries)},
        {"i": items[split.database]},
        fitted_on(items[split.train], seed),
        {"ridge": strengths[0], "letters": letters},
    )


def words_and_letters(dataset: Dataset, seed: int) -> Vectors:
    """The same of words and letter trigrams, what CSM's query tower reads."""
    return words(dataset, seed, LETTERS)


class _Words:
    """Words of the training images, and a ridge regression to them.

    Predicted words H Y, with the words Y (n, v) and H = K (K + ridge)^-1 of the images' inner products K (n, n), have
    as many dimensions as the vocabulary. With Y = U S V' the inner product of H Y and a query T is that of H U S and
    T V = T Y' U / S, so as many dimensions as there are training images do.
    """

    def __init__(
        self, extractor: WordExtractor, kernel: Doubles, everyone: Doubles, clicked: sparse.csr_matrix
    ) -> None:
        self._extractor, self._kernel, self._everyone, self._clicked = extractor, kernel, everyone, clicked
        squares, axes = linalg.eigh((clicked @ clicked.T).toarray())
        kept = squares > SMALLEST * squares[-1]
        self._lengths, self._axes = np.sqrt(squares[kept]), axes[:, kept]

    @classmethod
    def of(cls, dataset: Dataset, clicks: QueryItems, letters: tuple[int, int] | None) -> _Words:
        if dataset.image_features is None:
            raise DataError(f"data set {dataset.name} has no /image/features")
        images = dataset.image_features.astype(np.float64)
        train = checked_split(dataset).train
        images -= images[train].mean(axis=0)
        images /= np.linalg.norm(images[train], axis=1).mean()
        extractor = WordExtractor.fit(clicks.queries, letters=letters)
        weights = sparse.csr_matrix(
            (1 + np.log(clicks.value), (clicks.item, clicks.query)), (len(images), len(clicks.queries))
        )
        clicked = normalize((weights @ extractor.transform(clicks.queries)).astype(np.float64))[train]
        return cls(extractor, images[train] @ images[train].T, images @ images[train].T, clicked)

    def items(self, ridge: float) -> Floats:
        """Vectors of all items of the data set."""
        ridged = self._kernel + ridge * np.eye(len(self._kernel))
        words = linalg.solve(ridged, self._axes * self._lengths, assume_a="pos")
        return unit_length(self._everyone @ words)

    def queries(self, texts: tuple[str, ...]) -> Floats:
        """Vectors of queries; one of no known word is 0."""
        shared = self._extractor.transform(texts) @ self._clicked.T
        return np.asarray(shared @ (self._axes / self._lengths), np.float32)

    def figure(self, held: QueryItems, ridge: float) -> float:
        """How well held-out queries find what was clicked for them."""
        items = self.items(ridge)
        relevant = sparse.csr_matrix(
            (np.ones(len(held.item)), (held.query, held.item)), (len(held.queries), len(items))
        )
        (found,) = evaluate_ranking(-(self.queries(held.queries) @ items.T), relevant, ["ndcg@25"])
        return found.value


def _held_out(dataset: Dataset) -> QueryItems:
    if dataset.grades is None:
        raise DataError(
            f"data set {dataset.name} has no /grades: hold out queries with `spdq dataset import clicks`"
        )
    return dataset.grades


METHODS = {
    "csm": csm,
    "csm-paper": csm_paper,
    "words": words,
    "words-and-letters": words_and_letters,
    "popularity": popularity,
}
