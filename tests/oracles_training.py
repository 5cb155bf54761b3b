"""Slow plain twins of the closed-form alternation and of a batch's terms, and a small made data set."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from spdq.data import Dataset, make_split
from spdq.training.recipes import RECIPES
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask

GROUPS = ("anchor", "bottle", "castle", "drum", "eagle")
TOPICS = ("red", "old", "wet")
QUICK = {name: replace(RECIPES[name], max_steps=60, min_steps=60, hidden=64, batch=64) for name in RECIPES}
"""Both recipes, cut short."""


def made_dataset(n=100, text="features", kind="seen", noise=0.8, every=5, **split):
    """n items, each of one of five groups and of any of three topics; features follow the labels, with noise.

    ``text`` is what stands for it: "features", "wide" (sparse, 5,000 columns) or "raw" (up to three lines).
    """
    random = np.random.default_rng(0)
    labels = np.zeros((n, len(GROUPS) + len(TOPICS)), np.uint8)
    labels[np.arange(n), (np.arange(n) + np.arange(n) // len(GROUPS)) % len(GROUPS)] = 1
    labels[:, len(GROUPS) :] = random.random((n, len(TOPICS))) < 0.4
    image, dense = (
        labels @ random.normal(size=(labels.shape[1], width)) + noise * random.normal(size=(n, width))
        for width in (20, 10)
    )
    features, texts = None, None
    if text == "features":
        features = dense.astype(np.float32)
    elif text == "wide":
        words = labels @ (random.random((labels.shape[1], 5000)) < 0.02) + (random.random((n, 5000)) < 0.002)
        features = sparse.csr_matrix(words.astype(np.float32))
    elif text == "raw":
        texts = tuple(map(_raw_text, range(n), labels))
    return Dataset(
        "made",
        np.arange(n) * 3,
        image_features=image.astype(np.float32),
        text_features=features,
        texts=texts,
        labels=labels,
        label_names=(*(f"group:{name}" for name in GROUPS), *(f"topic:{name}" for name in TOPICS)),
        split=make_split(n, np.arange(0, n, every), kind, 0, **split),
    )


def _raw_text(row, labels):
    group = GROUPS[labels[: len(GROUPS)].argmax()]
    topics = " ".join(name for name, has in zip(TOPICS, labels[len(GROUPS) :], strict=True) if has)
    return "\n".join([f"{group} {row}", f"this is some {group}", *([f"it is {topics}"] if topics else [])])


def assert_same_model(a, b):
    """Every tensor is bitwise the same, and so is all else that is stored."""
    x, y = a.to_parts().tensors, b.to_parts().tensors
    assert sorted(x) == sorted(y)
    for name in x:
        assert x[name].dtype == y[name].dtype, name
        np.testing.assert_array_equal(x[name], y[name], err_msg=name)
    assert a.fingerprint == b.fingerprint


class Interrupt:
    """Stands for Ctrl-C after so many steps."""

    def __init__(self, step):
        self.step = step

    def __call__(self, done, steps):
        if done == self.step:
            raise KeyboardInterrupt


def interrupted(directory, dataset, recipe, step, **settings):
    with pytest.raises(KeyboardInterrupt):
        train_task(
            SPDQTask, dataset, recipe=recipe, directory=directory, progress=Interrupt(step), **settings
        )


def without_time(log):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in log]


def decoded(words, code):
    """D b of one item in float64."""
    return sum(words[m, byte].astype(np.float64) for m, byte in enumerate(code))


def alignment_cost(now, codes, image, text, labels, quantization):
    """Equations (6) to (8) summed item by item; ``codes`` (n, M) are those of the items."""
    total = 0.0
    for code, s_image, s_text, label in zip(codes, image, text, labels, strict=True):
        target = now.prototypes.astype(np.float64) @ label
        total += np.sum((now.image @ s_image - target) ** 2) + np.sum((now.text @ s_text - target) ** 2)
        total += quantization * np.sum((target - decoded(now.words, code)) ** 2)
    return total


def prototypes_ridge(labels, quantization, share):
    """What equation (20) gets on its diagonal: ``share`` of the mean diagonal, of 1 where that is less."""
    gram = sum((np.outer(row, row) for row in labels.astype(np.float64)), np.zeros((labels.shape[1],) * 2))
    return share * max((2 + quantization) * np.trace(gram) / len(gram), 1.0)


def prototypes(c_image, c_text, image, text, labels, decoded_items, quantization, ridge):
    """Z of equation (20), one item after the other."""
    dim, classes = len(c_image), labels.shape[1]
    left, gram = np.zeros((dim, classes)), np.zeros((classes, classes))
    for row, label in enumerate(labels.astype(np.float64)):
        aligned = c_image.astype(np.float64) @ image[row] + c_text.astype(np.float64) @ text[row]
        left += np.outer(aligned + quantization * decoded_items[row], label)
        gram += (2 + quantization) * np.outer(label, label)
    return left @ np.linalg.inv(gram + ridge * np.eye(classes))


def words_of(codes, targets, before, ridge):
    """D of equations (21) and (22) held to the words before, by the full system over all words."""
    m, k, dim = before.shape
    ones = np.zeros((len(codes), m * k))
    for row, code in enumerate(codes):
        for book, byte in enumerate(code):
            ones[row, book * k + byte] = 1
    right = ones.T @ targets + ridge * before.reshape(m * k, dim)
    return np.linalg.solve(ones.T @ ones + ridge * np.eye(m * k), right).reshape(m, k, dim)


def classification(logits, labels, sets, smoothing):
    """Mean over items of the sum of their label sets' terms."""
    total = 0.0
    for row, label in zip(logits.astype(np.float64), labels, strict=True):
        for start, stop, exclusive in sets:
            part, target = row[start:stop], label[start:stop]
            if exclusive:
                wanted = (1 - smoothing) * target + smoothing / len(target)
                total -= sum(w * (x - _log_sum(part)) for w, x in zip(wanted, part, strict=True))
            else:
                total += sum(
                    math.log1p(math.exp(x)) - x * float(y) for x, y in zip(part, target, strict=True)
                )
    return total / len(logits)


def contrastive(x, y, scale):
    """Mean of both directions' cross-entropies of finding one's own row."""
    scores = min(scale, 50.0) * x.astype(np.float64) @ y.astype(np.float64).T
    own = np.diag(scores)
    forth = [_log_sum(row) - right for row, right in zip(scores, own, strict=True)]
    back = [_log_sum(row) - right for row, right in zip(scores.T, own, strict=True)]
    return (sum(forth) + sum(back)) / (2 * len(own))


def mean_embedding(image, text, labels):
    """Mean over the classes that have two members of the estimate of equations (11) and (12)."""
    both = np.concatenate([image, text]).astype(np.float64)
    squares = [np.sum((both[a] - both[b]) ** 2) for a in range(len(both)) for b in range(a)]
    median = sorted(squares)[(len(squares) - 1) // 2]

    def kernel(a, b):
        square = np.sum((a.astype(np.float64) - b) ** 2)
        return sum(math.exp(-square / (median * 2.0**u)) for u in range(-2, 3)) / 5

    estimates = []
    for column in labels.T:
        members = np.flatnonzero(column)
        pairs = [members[at : at + 2] for at in range(0, len(members) - 1, 2)]
        each = [
            kernel(image[a], image[b])
            - kernel(image[a], text[b])
            + kernel(text[a], text[b])
            - kernel(text[a], image[b])
            for a, b in pairs
        ]
        if each:
            estimates.append(sum(each) / len(each))
    return sum(estimates) / len(estimates)


def _log_sum(row):
    top = row.max()
    return top + math.log(np.exp(row - top).sum())
