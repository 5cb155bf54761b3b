"""Rows of a data set as a model takes them: features, its own or made of its raw texts, and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spdq.data.dataset import Dataset
from spdq.data.lines import line_starts, lines_of
from spdq.errors import DataError, IncompatibleError
from spdq.models.model import Features, Floats, Model


def embed_rows(model: Model, dataset: Dataset, modality: str, rows: NDArray[np.int64]) -> Floats:
    """Vectors (n, dim) of rows of a data set as "i" images, "t" texts or "u" units.

    Raises
    ------
    DataError
        The data set lacks the modality.
    """
    if modality == "i":
        return model.embed_image(image_part(dataset)[rows])
    if modality == "t":
        return model.embed_text(text_features(model, dataset, rows))
    return model.embed_unit(*unit_features(model, dataset, rows))


def unit_features(model: Model, dataset: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[Any], Features]:
    """Image and text features of rows. Raises DataError where the data set lacks either."""
    return image_part(dataset)[rows], text_features(model, dataset, rows)


def text_features(
    model: Model, dataset: Dataset, rows: NDArray[np.int64], first_line: bool = False
) -> Features:
    """Text features of rows: the data set's own, or the model's of the raw texts (or of their first line).

    Raises as ``text_part``.
    """
    part, lines = text_part(model, dataset), dataset.line_features
    if isinstance(part, tuple):
        texts = [part[row] for row in rows]
        return model.text_features([lines_of(text)[0] for text in texts] if first_line else texts)
    if first_line and lines is not None:
        return lines[line_starts(dataset.texts or ())[rows]]
    return sparse_or_dense(part[rows])


def image_part(dataset: Dataset) -> NDArray[Any]:
    """The image features (n, d) of a data set. Raises DataError where it has none."""
    if dataset.image_features is None:
        raise DataError(f"data set {dataset.name} has no /image/features")
    return dataset.image_features


def text_part(model: Model, dataset: Dataset) -> Features | tuple[str, ...]:
    """What a model reads of a data set's texts: its features (n, d), or the n raw texts.

    A model that was trained on raw texts, as those of click logs, reads raw texts where the data set has both, and so
    does one with another text extractor than the data set's.

    Raises
    ------
    DataError
        The data set has no text.
    IncompatibleError
        It has features of another text extractor and no raw texts.
    """
    features = dataset.text_features
    if features is not None and _fits(model, dataset, features.shape[1]):
        return features
    if dataset.texts is None:
        raise DataError(f"data set {dataset.name} has no text: neither /text/features nor /text/utf8")
    return dataset.texts


def sparse_or_dense(features: Any) -> Features:
    """Rows of a data set's features as the model takes them."""
    return sparse.csr_matrix(features) if sparse.issparse(features) else np.asarray(features, np.float32)


def _fits(model: Model, dataset: Dataset, width: int) -> bool:
    """Whether the text features of a data set are those that a model reads, as far as either says."""
    reads_texts = dataset.texts is not None and model.text_extractor is not None
    if dataset.text_extractor is None or model.text_extractor is None:
        return width == model.text_width or not reads_texts
    fits = dataset.text_extractor == model.text_extractor.name
    if not fits and not reads_texts:
        raise IncompatibleError(
            f"data set {dataset.name}: its text features were made by {dataset.text_extractor}, the model's by "
            f"{model.text_extractor.name}. Import the data again with --text-extractor {model.text_extractor.name}"
        )
    return fits
