"""CSM and what it is held against on a click log: ridge regression between bags of words and images, popularity."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from spdq.data.dataset import Dataset
from spdq.training.click_pairs import training_clicks
from spdq.training.csm import CSMTask
from spdq.training.run import train_task
from spdq_benchmarks.systems.bags import ImagesOfWords, WordsOfImages, bag_of_words, held_out_clicks
from spdq_benchmarks.systems.vectors import Vectors, checked_split, model_vectors

DIRECTIONS = ("t2i",)
LETTERS = (3, 3)


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
    queries = np.ones((len(held_out_clicks(dataset).queries), 1), np.float32)
    return Vectors({"t": queries}, {"i": total[split.database, None]}, None)


def words(dataset: Dataset, seed: int) -> Vectors:
    """Words predicted from the image."""
    return bag_of_words(WordsOfImages, dataset, seed, None)


def words_and_letters(dataset: Dataset, seed: int) -> Vectors:
    """Words and letter trigrams, what CSM's query tower reads, predicted from the image."""
    return bag_of_words(WordsOfImages, dataset, seed, LETTERS)


def words_to_image(dataset: Dataset, seed: int) -> Vectors:
    """The image predicted from the words of the query."""
    return bag_of_words(ImagesOfWords, dataset, seed, None)


METHODS = {
    "csm": csm,
    "csm-paper": csm_paper,
    "words": words,
    "words-and-letters": words_and_letters,
    "words-to-image": words_to_image,
    "popularity": popularity,
}
