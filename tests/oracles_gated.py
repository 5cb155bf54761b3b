"""Slow plain twins of the structured hinge loss and of the gate, and a small made data set of two kinds of items."""

from __future__ import annotations

import math

import numpy as np

from spdq.data import Dataset
from spdq.data.splits import Split

THINGS = 40


def hinge(queries, targets, cost):
    """Both directions' terms, one query and one negative after the other."""
    n = len(queries)
    scores = queries.astype(np.float64) @ targets.astype(np.float64).T
    terms = np.zeros((2, n))
    for i in range(n):
        for j in range(n):
            if cost[i, j] > 0:
                terms[0, i] = max(terms[0, i], cost[i, j] + scores[i, j] - scores[i, i])
                terms[1, i] = max(terms[1, i], cost[j, i] + scores[j, i] - scores[i, i])
    return terms


def halves(vector, text, image):
    """One vector's halves at these lengths."""
    middle = len(vector) // 2
    parts = vector[:middle], vector[middle:]
    return np.concatenate(
        [length * part / np.linalg.norm(part) for part, length in zip(parts, (text, image), strict=True)]
    )


def gated_unit(image, text, weight, bias):
    """One unit at a time, float64: u = g e_T + (1 - g) e_I, both halves of length sqrt(1/2)."""
    units = []
    for e_image, e_text in zip(image.astype(np.float64), text.astype(np.float64), strict=True):
        e_image, e_text = halves(e_image, 1, 1), halves(e_text, 1, 1)
        logits = weight.astype(np.float64) @ np.concatenate([e_text, e_image]) + bias
        gate = np.array([1 / (1 + math.exp(-x)) for x in logits])
        units.append(halves(gate * e_text + (1 - gate) * e_image, 0.5**0.5, 0.5**0.5))
    return np.array(units)


def made_drawings(things=THINGS, tested=8, noise=0.3):
    """Each thing as a document and as a query: image features and lines of text that follow the thing."""
    random = np.random.default_rng(0)
    shape = random.normal(size=(things, 12))
    images = np.concatenate([shape + noise * random.normal(size=shape.shape) for _ in range(2)])
    words = [f"{'abcdefghij'[t % 10] * 3}{'klmnopqrst'[t // 10] * 3}" for t in range(things)]
    texts = [f"the {word}\nein {word}en" for word in words] + [f"some {word}" for word in words]
    documents, queries = np.arange(things), things + np.arange(things)
    concepts = np.arange(0, things, things // tested)[:tested]
    others = np.setdiff1d(documents, concepts)
    split = Split(queries[concepts], np.concatenate([others, things + others]), documents, "matched", 0)
    return Dataset(
        "drawings",
        np.array([f"{word}{kind}" for kind in ("", "/q") for word in words]),
        image_features=images.astype(np.float32),
        texts=tuple(texts),
        classes=np.concatenate([documents, documents]).astype(np.int64),
        split=split,
    )
