"""Bags of words and images, one predicted from the other by ridge regression: the baselines of a click log."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.errors import DataError
from spdq.evaluation import evaluate_ranking
from spdq.features.words import WordExtractor
from spdq.training.click_pairs import training_clicks
from spdq.training.inputs import validation_rows
from spdq_benchmarks.systems.vectors import Floats, Vectors, checked_split, fitted_on, unit_length

Doubles = NDArray[np.float64]

RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Strengths tried on queries held out of the training log, beside rows of mean length 1."""
SMALLEST = 1e-9
"""Share of the largest eigenvalue below which a direction of the words is left out."""
IMAGE_AXES = 256
"""Leading principal axes of the images that are predicted from words."""


class Bags(ABC):
    """Words of queries and the images they were clicked for; a query's words weigh tf-idf, a click 1 + ln(clicks).

    Parameters
    ----------
    dataset
        Image features are centred and brought to mean length 1.
    clicks
        What is learned from.
    letters
        Lengths of letter n-grams beside the words, None for none.
    """

    def __init__(self, dataset: Dataset, clicks: QueryItems, letters: tuple[int, int] | None) -> None:
        if dataset.image_features is None:
            raise DataError(f"data set {dataset.name} has no /image/features")
        self.train = checked_split(dataset).train
        self.images: Doubles = dataset.image_features.astype(np.float64)
        self.images -= self.images[self.train].mean(axis=0)
        self.images /= np.linalg.norm(self.images[self.train], axis=1).mean()
        self.extractor = WordExtractor.fit(clicks.queries, letters=letters)
        self.words = self.extractor.transform(clicks.queries)
        self.clicks = sparse.csr_matrix(
            (1 + np.log(clicks.value), (clicks.item, clicks.query)), (len(self.images), len(clicks.queries))
        )

    @abstractmethod
    def vectors(self, texts: tuple[str, ...], ridge: float) -> tuple[Floats, Floats]:
        """Vectors (q, D) of queries and (n, D) of all items; a query of no known word is 0."""

    def figure(self, held: QueryItems, ridge: float) -> float:
        """How well held-out queries find what was clicked for them."""
        queries, items = self.vectors(held.queries, ridge)
        relevant = sparse.csr_matrix(
            (np.ones(len(held.item)), (held.query, held.item)), (len(queries), len(items))
        )
        (found,) = evaluate_ranking(-(queries @ items.T), relevant, ["ndcg@25"])
        return found.value


class WordsOfImages(Bags):
    """The words an image was clicked for, at length 1, predicted from the image and compared by cosine.

    Predicted words H Y, with the words Y (n, v) and H = K (K + ridge)^-1 of the images' inner products K (n, n), have
    as many dimensions as the vocabulary. With Y = U S V' the inner product of H Y and a query T is that of H U S and
    T V = T Y' U / S, so as many dimensions as there are training images do.
    """

    def __init__(self, dataset: Dataset, clicks: QueryItems, letters: tuple[int, int] | None) -> None:
        super().__init__(dataset, clicks, letters)
        self._clicked = normalize((self.clicks @ self.words).astype(np.float64))[self.train]
        squares, axes = linalg.eigh((self._clicked @ self._clicked.T).toarray())
        kept = squares > SMALLEST * squares[-1]
        self._lengths, self._axes = np.sqrt(squares[kept]), axes[:, kept]
        self._products = self.images @ self.images[self.train].T

    def vectors(self, texts: tuple[str, ...], ridge: float) -> tuple[Floats, Floats]:
        shared = self.extractor.transform(texts) @ self._clicked.T
        queries = np.asarray(shared @ (self._axes / self._lengths), np.float32)
        ridged = self._products[self.train] + ridge * np.eye(len(self.train))
        words = linalg.solve(ridged, self._axes * self._lengths, assume_a="pos")
        return queries, unit_length(self._products @ words)


class ImagesOfWords(Bags):
    """The mean of the images a query was clicked for, predicted from its words and compared by cosine."""

    def __init__(self, dataset: Dataset, clicks: QueryItems, letters: tuple[int, int] | None) -> None:
        super().__init__(dataset, clicks, letters)
        _, _, axes = linalg.svd(self.images[self.train], full_matrices=False)
        self._items = self.images @ axes[:IMAGE_AXES].T
        self._targets = normalize(self.clicks.T, norm="l1") @ self._items

    def vectors(self, texts: tuple[str, ...], ridge: float) -> tuple[Floats, Floats]:
        learned = Ridge(ridge, fit_intercept=False, solver="sparse_cg").fit(
            self.words.astype(np.float64), self._targets
        )
        return unit_length(learned.predict(self.extractor.transform(texts))), unit_length(self._items)


def bag_of_words(kind: type[Bags], dataset: Dataset, seed: int, letters: tuple[int, int] | None) -> Vectors:
    """What a baseline learns of a click log.

    The strength of the ridge is the best for a tenth of the training queries, which all is then learned with.

    Raises
    ------
    DataError
        The data set lacks image features, clicks, grades or a split.
    """
    clicks, split = training_clicks(dataset), checked_split(dataset)
    learn, judged = validation_rows(np.arange(len(clicks.queries)), seed)
    ridge = RIDGES[len(RIDGES) // 2]
    if len(judged):
        part, held = kind(dataset, clicks.take_queries(learn), letters), clicks.take_queries(judged)
        ridge = max(RIDGES, key=lambda strength: part.figure(held, strength))
    queries, items = kind(dataset, clicks, letters).vectors(held_out_clicks(dataset).queries, ridge)
    return Vectors(
        {"t": queries},
        {"i": items[split.database]},
        fitted_on(items[split.train], seed),
        {"ridge": ridge, "letters": letters},
    )


def held_out_clicks(dataset: Dataset) -> QueryItems:
    """Grades of the held-out queries; DataError where there are none."""
    if dataset.grades is None:
        raise DataError(
            f"data set {dataset.name} has no /grades: hold out queries with `spdq dataset import clicks`"
        )
    return dataset.grades
