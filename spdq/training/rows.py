"""The training rows of a data set as tensors, and the batches and text views drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.features.words import WordExtractor
from spdq.models.inputs import InputMap, fit_image_input, fit_text_input
from spdq.models.spaces import LabelSet, Modality
from spdq.training.recipes import TrainingRecipe

Rows = NDArray[np.int64]

MAX_BASIS_ROWS = 4000
"""Texts that span the text tower's input; more cost memory and time by their square."""
VALIDATION_SHARE = 0.05
MIN_ROWS_TO_VALIDATE = 2500
"""Fewer training rows are too few to give some away: 5 % of them judge by chance and are missed in training."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Inputs of all items of a data set, and which of them are trained on.

    ``image`` and ``text`` are (n, width) float32 tower inputs; ``lines`` those of each line of each text and
    ``line_starts`` (n + 1,) where an item's lines start (one line an item where texts are features). ``labels`` is
    (n, c) float32. ``train`` and ``validation`` are rows; the latter may be empty.
    """

    image: Tensor
    text: Tensor
    lines: Tensor
    line_starts: Rows
    labels: Tensor
    label_sets: tuple[LabelSet, ...]
    train: Rows
    validation: Rows
    inputs: dict[Modality, InputMap]
    words: WordExtractor | None

    @property
    def has_lines(self) -> bool:
        """Whether some text has several lines."""
        return len(self.lines) > len(self.text)

    def first_lines(self, rows: Rows) -> Tensor:
        """Inputs of the first line of the texts of some rows, (r, width)."""
        return self.lines[self.line_starts[rows]]

    def text_views(self, rows: Rows, recipe: TrainingRecipe, random: np.random.Generator) -> Tensor:
        """A random view of each text: its first line, any one line, or the sum of a random subset."""
        views = []
        for row in rows:
            start, stop = self.line_starts[row], self.line_starts[row + 1]
            draw = random.random()
            if draw < recipe.first_line:
                chosen = np.array([0])
            elif draw < recipe.first_line + recipe.single_line:
                chosen = np.array([random.integers(stop - start)])
            else:
                chosen = np.flatnonzero(random.random(stop - start) < random.uniform(0.2, 1.0))
                chosen = chosen if len(chosen) else np.array([0])
            views.append(self.lines[start + chosen].sum(dim=0))
        together = torch.stack(views)
        length = torch.linalg.vector_norm(self.text[rows], dim=1, keepdim=True)
        own = torch.linalg.vector_norm(together, dim=1, keepdim=True).clamp(min=1e-12)
        return torch.mul(together, length / own)


def training_rows(dataset: Dataset, recipe: TrainingRecipe, seed: int) -> TrainingRows:
    """Fit the extractor and the input maps on the training rows and put everything through them.

    Raises
    ------
    DataError
        The data set has no split, no image features, no text or no labels, or a training label row is all zero in
        every column.
    """
    split, images, labels = dataset.split, dataset.image_features, dataset.labels
    if split is None or images is None or labels is None:
        missing = [
            name
            for name, part in (("/split", split), ("/image/features", images), ("/labels", labels))
            if part is None
        ]
        raise DataError(f"training SPDQ needs {', '.join(missing)}, which data set {dataset.name} has not")
    if not labels[split.train].any():
        raise DataError(f"no training row of data set {dataset.name} has a label: choose other labels")
    validation = _validation_rows(split.train, seed)
    # Nothing may be fitted on validation rows: they would look better known than a query ever is.
    train = np.setdiff1d(split.train, validation)
    image_input = fit_image_input(images[train].astype(np.float32), recipe.image_width)
    text_rows, line_rows, starts, words = _text_rows(dataset, train)
    basis_rows = train
    if len(basis_rows) > MAX_BASIS_ROWS // 2:
        basis_rows = np.sort(
            np.random.default_rng([seed, 1]).choice(basis_rows, MAX_BASIS_ROWS // 2, replace=False)
        )
    # Whole texts and names span the input together: queries are as short as names.
    basis = text_rows[basis_rows]
    if words is not None:
        basis = sparse.vstack([basis, line_rows[starts[basis_rows]]]).tocsr()
    text_input = fit_text_input(basis, recipe.text_width, weighted=words is not None)
    return TrainingRows(
        image=torch.from_numpy(image_input(images.astype(np.float32))),
        text=torch.from_numpy(text_input(text_rows)),
        lines=torch.from_numpy(text_input(line_rows)),
        line_starts=starts,
        labels=torch.from_numpy(labels.astype(np.float32)),
        label_sets=label_sets(dataset.label_names, labels[train], exclusive=recipe.name == "default"),
        train=train,
        validation=validation,
        inputs={"image": image_input, "text": text_input},
        words=words if words is not None else _stored_words(dataset),
    )


def label_sets(names: tuple[str, ...], labels: NDArray[np.uint8], exclusive: bool) -> tuple[LabelSet, ...]:
    """Runs of columns with one prefix ("group:cat" has "group"), (start, stop, exclusive) each.

    Exclusive are those of which every row of ``labels`` carries exactly one label, if that is asked for at all.
    """
    prefixes = [name.partition(":")[0] if ":" in name else "" for name in names]
    starts = [c for c in range(len(names)) if c == 0 or prefixes[c] != prefixes[c - 1]]
    sets = []
    for start, stop in zip(starts, [*starts[1:], len(names)], strict=True):
        one_each = bool((labels[:, start:stop].sum(axis=1) == 1).all())
        sets.append((start, stop, exclusive and one_each and stop - start > 1))
    return tuple(sets)


def batch_rows(data: TrainingRows, size: int, whole_classes: bool, random: np.random.Generator) -> Rows:
    """Rows of one batch: drawn from all, or whole classes of the finest exclusive label set (hard negatives)."""
    finest = max((s for s in data.label_sets if s[2]), key=lambda s: s[1] - s[0], default=None)
    if not whole_classes or finest is None:
        return random.choice(data.train, min(size, len(data.train)), replace=False)
    labels = data.labels[data.train, finest[0] : finest[1]].argmax(dim=1).numpy()
    order = random.permutation(finest[1] - finest[0])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_class = np.lexsort((random.random(len(labels)), place[labels]))
    return data.train[by_class[:size]]


def _text_rows(dataset: Dataset, train: Rows) -> tuple[Any, Any, Rows, WordExtractor | None]:
    """Features of whole texts and of single lines, where each item's lines start, and the extractor fitted."""
    n = len(dataset.ids)
    if dataset.text_features is not None:
        return dataset.text_features, dataset.text_features, np.arange(n + 1), None
    if dataset.texts is None:
        raise DataError(
            f"training SPDQ needs text, which data set {dataset.name} has not: neither /text/features nor /text/utf8"
        )
    words = WordExtractor.fit([dataset.texts[row] for row in train], weighting="tfidf", letters=(2, 4))
    lines = [text.splitlines() or [""] for text in dataset.texts]
    starts = np.cumsum([0, *map(len, lines)])
    return (
        words.transform(dataset.texts),
        words.transform([line for item in lines for line in item]),
        starts,
        words,
    )


def _stored_words(dataset: Dataset) -> WordExtractor | None:
    """The extractor of a data set that brings its own bag of words."""
    return WordExtractor.from_vocabulary(dataset.vocabulary) if dataset.vocabulary is not None else None


def _validation_rows(train: Rows, seed: int) -> Rows:
    if len(train) < MIN_ROWS_TO_VALIDATE:
        return train[:0]
    count = int(len(train) * VALIDATION_SHARE)
    return np.sort(np.random.default_rng([seed, 2]).choice(train, count, replace=False))
