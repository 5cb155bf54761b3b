"""The items of a data set as tower inputs: maps fitted on training rows, texts by line, views drawn from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.data.lines import line_starts, lines_of
from spdq.features.named_texts import ModelTexts, NamedTexts
from spdq.features.registry import image_extractor, text_extractor
from spdq.features.words import WordExtractor
from spdq.models.inputs import InputMap, by_region, fit_image_input, fit_text_input
from spdq.models.spaces import Modality
from spdq.training.needs import lacking

Rows = NDArray[np.int64]

MAX_BASIS_ROWS = 4000
"""Texts that span the text tower's input; more cost memory and time by their square."""
VALIDATION_SHARE = 0.05
MIN_ROWS_TO_VALIDATE = 2500
"""Fewer training rows are too few to give some away: 5 % of them judge by chance and are missed in training."""


class ViewShares(Protocol):
    """How often a view of a text is its first line, and how often any one line."""

    @property
    def first_line(self) -> float: ...

    @property
    def single_line(self) -> float: ...


@dataclass(frozen=True, eq=False)
class ItemInputs:
    """Tower inputs of all items of a data set.

    ``image`` and ``text`` are (n, width) float32, those of an image's regions one after the other; ``lines`` are
    those of each line of each text and ``line_starts`` (n + 1,) where an item's lines start (one line an item where
    texts are features).
    """

    image: Tensor
    text: Tensor
    lines: Tensor
    line_starts: Rows
    inputs: dict[Modality, InputMap]
    text_extractor: ModelTexts | None

    @property
    def has_lines(self) -> bool:
        """Whether some text has several lines."""
        return len(self.lines) > len(self.text)

    def first_lines(self, rows: Rows) -> Tensor:
        """Inputs of the first line of the texts of some rows, (r, width)."""
        return self.lines[self.line_starts[rows]]

    def text_views(self, rows: Rows, shares: ViewShares, random: np.random.Generator) -> Tensor:
        """A random view (r, width) of each text: its first line, any one line, or the sum of a random subset."""
        views = []
        for row in rows:
            start, stop = self.line_starts[row], self.line_starts[row + 1]
            draw = random.random()
            if draw < shares.first_line:
                chosen = np.array([0])
            elif draw < shares.first_line + shares.single_line:
                chosen = np.array([random.integers(stop - start)])
            else:
                chosen = np.flatnonzero(random.random(stop - start) < random.uniform(0.2, 1.0))
                chosen = chosen if len(chosen) else np.array([0])
            views.append(self.lines[start + chosen].sum(dim=0))
        together = torch.stack(views)
        length = torch.linalg.vector_norm(self.text[rows], dim=1, keepdim=True)
        own = torch.linalg.vector_norm(together, dim=1, keepdim=True).clamp(min=1e-12)
        return torch.mul(together, length / own)


def item_inputs(
    dataset: Dataset, train: Rows, image_width: int, text_width: int, seed: int, regions: int = 1
) -> ItemInputs:
    """Fit the extractor and the input maps on training rows and put all items through them.

    With ``regions`` a row of image features is that many parts, and the map is fitted on parts and applied to each.

    Raises
    ------
    DataError
        The data set has no image features or no text.
    """
    images = dataset.image_features
    if images is None:
        raise lacking(dataset, "/image/features")
    image_input = fit_image_input(images[train].astype(np.float32), image_width, regions)
    stored = _stored_extractor(dataset)
    words = _fitted_words(dataset, train)
    texts = _texts(dataset, words)
    basis_rows = train
    if len(basis_rows) > MAX_BASIS_ROWS // 2:
        basis_rows = np.sort(
            np.random.default_rng([seed, 1]).choice(basis_rows, MAX_BASIS_ROWS // 2, replace=False)
        )
    # Whole texts and names span the input together: queries are as short as names.
    basis = texts.whole[basis_rows]
    if words is not None:
        basis = sparse.vstack([basis, texts.lines[texts.starts[basis_rows]]]).tocsr()
    elif dataset.line_features is not None:
        basis = np.concatenate([basis, texts.lines[texts.starts[basis_rows]]])
    text_input = fit_text_input(basis, text_width, weighted=words is not None)
    extractor = words if words is not None else stored
    return _mapped(images, texts, {"image": image_input, "text": text_input}, extractor, regions)


def mapped_items(
    dataset: Dataset, inputs: dict[Modality, InputMap], text_extractor: ModelTexts | None, regions: int = 1
) -> ItemInputs:
    """Put all items through the extractor and the input maps of a trained model. Raises as ``item_inputs``."""
    if dataset.image_features is None:
        raise lacking(dataset, "/image/features")
    return _mapped(dataset.image_features, _texts(dataset, text_extractor), inputs, text_extractor, regions)


def _mapped(
    images: NDArray[Any],
    texts: _Texts,
    inputs: dict[Modality, InputMap],
    text_extractor: ModelTexts | None,
    regions: int,
) -> ItemInputs:
    return ItemInputs(
        image=torch.from_numpy(by_region(inputs["image"], images.astype(np.float32), regions)),
        text=torch.from_numpy(inputs["text"](texts.whole)),
        lines=torch.from_numpy(inputs["text"](texts.lines)),
        line_starts=texts.starts,
        inputs=inputs,
        text_extractor=text_extractor,
    )


def image_settings(dataset: Dataset) -> dict[str, Any] | None:
    """Settings of the extractor that made a data set's image features, None where it is not known."""
    return image_extractor(dataset.image_extractor).settings() if dataset.image_extractor else None


def validation_rows(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """Training rows parted into those to train on and those to validate with, none where they are few.

    Nothing may be fitted on validation rows: they would look better known than a query ever is.
    """
    if len(rows) < MIN_ROWS_TO_VALIDATE:
        return rows, rows[:0]
    count = int(len(rows) * VALIDATION_SHARE)
    validation = np.sort(np.random.default_rng([seed, 2]).choice(rows, count, replace=False))
    return np.setdiff1d(rows, validation), validation


class _Texts(NamedTuple):
    """Features of whole texts and of their lines, and where each item's lines start."""

    whole: Any
    lines: Any
    starts: Rows


def _texts(dataset: Dataset, text_extractor: ModelTexts | None) -> _Texts:
    """The features that the data set has; where it has none, those that the extractor makes of its texts."""
    features, lines = dataset.text_features, dataset.line_features
    if features is not None and lines is not None:
        return _Texts(features, lines, line_starts(dataset.texts or ()))
    if features is not None:
        return _Texts(features, features, np.arange(len(dataset) + 1))
    if dataset.texts is None or text_extractor is None:
        raise lacking(dataset, "text")
    return _Texts(
        text_extractor.transform(dataset.texts),
        text_extractor.transform([line for text in dataset.texts for line in lines_of(text)]),
        line_starts(dataset.texts),
    )


def _fitted_words(dataset: Dataset, train: Rows) -> WordExtractor | None:
    """An extractor fitted on the texts of training rows, None where the data set has features or no text."""
    if dataset.text_features is not None or dataset.texts is None:
        return None
    return WordExtractor.fit([dataset.texts[row] for row in train], weighting="tfidf", letters=(2, 4))


def _stored_extractor(dataset: Dataset) -> ModelTexts | None:
    """The extractor that made a data set's text features, or that of the bag of words that it brings."""
    if dataset.text_extractor is not None:
        return NamedTexts(text_extractor(dataset.text_extractor).settings())
    return WordExtractor.from_vocabulary(dataset.vocabulary) if dataset.vocabulary is not None else None
