"""Bags of words and images, one predicted from the other by ridge regression: the baselines of a click log."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.linear_model import Ridge
from sklearn.preprocessing import normalize

from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.errors import DataError
from spdq.features.words import WordExtractor
from spdq.training.click_pairs import training_clicks
from spdq_benchmarks.relevance import relevance
from spdq_benchmarks.systems.vectors import Floats, Vectors, checked_split, fitted_on, unit_length

Doubles = NDArray[np.float64]

RIDGES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Strengths tried, beside rows of mean length 1."""
JUDGED_BY = "dcg@25"
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
    def candidates(self, texts: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], Floats, Floats]]:
        """By settings, vectors (q, D) of queries and (n, D) of all items; a query of no known word is 0."""


class WordsOfImages(Bags):
    """The words an image was clicked for, summed up or at length 1, predicted from the image and compared by cosine.

    Predicted words H Y, with the words Y (n, v) and H = K (K + ridge)^-1 of the images' inner products K (n, n), have
    as many dimensions as the vocabulary. With Y = U S V' the inner product of H Y and a query T is that of H U S and
    T V = T Y' U / S, so as many dimensions as there are training images do.
    """

    def candidates(self, texts: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], Floats, Floats]]:
        asked = self.extractor.transform(texts)
        summed = (self.clicks @ self.words).astype(np.float64)[self.train]
        products = self.images @ self.images[self.train].T
        for length, clicked in (("sum", summed), ("1", normalize(summed))):
            squares, axes = linalg.eigh((clicked @ clicked.T).toarray())
            kept = squares > SMALLEST * squares[-1]
            lengths, axes = np.sqrt(squares[kept]), axes[:, kept]
            queries = np.asarray((asked @ clicked.T) @ (axes / lengths), np.float32)
            for ridge in RIDGES:
                ridged = products[self.train] + ridge * np.eye(len(self.train))
                words = linalg.solve(ridged, axes * lengths, assume_a="pos")
                yield {"ridge": ridge, "length": length}, queries, unit_length(products @ words)


class ImagesOfWords(Bags):
    """The mean of the images a query was clicked for, predicted from its words and compared by cosine."""

    def candidates(self, texts: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], Floats, Floats]]:
        _, _, axes = linalg.svd(self.images[self.train], full_matrices=False)
        items = self.images @ axes[:IMAGE_AXES].T
        targets = normalize(self.clicks.T, norm="l1") @ items
        for ridge in RIDGES:
            learned = Ridge(ridge, fit_intercept=False, solver="sparse_cg")
            learned.fit(self.words.astype(np.float64), targets)
            predicted = learned.predict(self.extractor.transform(texts))
            yield {"ridge": ridge}, unit_length(predicted), unit_length(items)


def bag_of_words(kind: type[Bags], dataset: Dataset, seed: int, letters: tuple[int, int] | None) -> Vectors:
    """What a baseline learns of a click log.

    Of its settings those are taken that do best on the very queries it is judged on: a bound from above.

    Raises
    ------
    DataError
        The data set lacks image features, clicks, grades or a split.
    """
    split, judge = checked_split(dataset), relevance(dataset, checked_split(dataset), "")

    def figure(candidate: tuple[dict[str, Any], Floats, Floats]) -> float:
        _, queries, items = candidate
        return judge(-(queries @ items[split.database].T), [JUDGED_BY], None)[0].value

    bags = kind(dataset, training_clicks(dataset), letters)
    settings, queries, items = max(bags.candidates(held_out_clicks(dataset).queries), key=figure)
    return Vectors(
        {"t": queries},
        {"i": items[split.database]},
        fitted_on(items[split.train], seed),
        {**settings, "letters": letters},
    )


def held_out_clicks(dataset: Dataset) -> QueryItems:
    """Grades of the held-out queries; DataError where there are none."""
    if dataset.grades is None:
        raise DataError(
            f"data set {dataset.name} has no /grades: hold out queries with `spdq dataset import clicks`"
        )
    return dataset.grades
