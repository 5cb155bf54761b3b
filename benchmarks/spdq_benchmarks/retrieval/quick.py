"""A small labelled data set made on the spot, on which every method can be run in minutes."""

from __future__ import annotations

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.splits import make_split

NAME = "quick"
ITEMS, QUERIES = 300, 60
IMAGE_WIDTH = 64
BITS = (16, 64)

GROUPS = ("boat", "castle", "dog", "flower", "harbour", "train")
TOPICS = ("night", "old", "red", "snow", "wide")
FILLERS = 200
"""Words that say nothing, of which a text has a few."""


def quick_dataset(seed: int = 0) -> Dataset:
    """300 pictures' features with raw texts of two lines, a name and a description; one group and any topics each.

    Features and words follow the labels with noise, so that what learns does better than chance and nothing is
    perfect.
    """
    random = np.random.default_rng(seed)
    groups = np.arange(ITEMS) % len(GROUPS)
    labels = np.zeros((ITEMS, len(GROUPS) + len(TOPICS)), np.uint8)
    labels[np.arange(ITEMS), groups] = 1
    labels[:, len(GROUPS) :] = random.random((ITEMS, len(TOPICS))) < 0.3
    own = random.normal(size=(ITEMS, 8))
    """What an item has beside its labels, in its picture and in its text."""
    image = (
        labels @ random.normal(size=(labels.shape[1], IMAGE_WIDTH))
        + 0.5 * own @ random.normal(size=(8, IMAGE_WIDTH))
        + 1.5 * random.normal(size=(ITEMS, IMAGE_WIDTH))
    )
    texts = tuple(
        _text(group, topics, row, random)
        for group, topics, row in zip(groups, labels[:, len(GROUPS) :], own, strict=True)
    )
    return Dataset(
        NAME,
        np.arange(ITEMS),
        image_features=image.astype(np.float32),
        texts=texts,
        labels=labels,
        label_names=(*(f"group:{name}" for name in GROUPS), *(f"topic:{name}" for name in TOPICS)),
        split=make_split(ITEMS, random.choice(ITEMS, QUERIES, replace=False), "seen", seed),
    )


def _text(group: np.integer, topics: np.ndarray, own: np.ndarray, random: np.random.Generator) -> str:
    words = [name for name, has in zip(TOPICS, topics, strict=True) if has]
    # A made word for each trait of the item that stands out.
    traits = [f"trait{i}{'high' if value > 0 else 'low'}" for i, value in enumerate(own) if abs(value) > 1]
    noise = [f"word{number}" for number in random.integers(FILLERS, size=4)]
    heard = [GROUPS[group]] if random.random() < 0.9 else [GROUPS[random.integers(len(GROUPS))]]
    name = " ".join([*heard, *words[:1], *traits[:2]])
    return f"{name}\n{' '.join([*words, *traits, *noise])}"
