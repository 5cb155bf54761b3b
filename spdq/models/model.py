"""What every trained system offers: raw input -> features -> vector -> code, saved to and loaded from a directory."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.features.images import ImageSource as ImageSource
from spdq.features.named_texts import ModelTexts
from spdq.features.registry import ImageExtractor, image_extractor
from spdq.models.config import ModelConfig
from spdq.models.directory import ModelParts, complete_config, fingerprint, write_model
from spdq.models.spaces import Modality
from spdq.quantizers.codebooks import Codebooks

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
Features: TypeAlias = "NDArray[Any] | sparse.csr_matrix"
Progress = Callable[[int, int], None]

MAX_MAGNITUDE = 1e6


class Model(ABC):
    """A trained thing: extractors, network and codebooks.

    Vectors are (n, dim) float32 and compared by inner product; codes are (n, M) uint8. Database items are embedded
    and encoded as they are; a query's vector is weighted (``weigh_query``) before it meets the codes.

    Parameters
    ----------
    codebooks
        The quantizer's words.
    text_extractor
        Extractor of raw texts, None where the model was trained on text features it cannot compute.
    image_settings
        Settings of the image extractor, None likewise.
    """

    config: ModelConfig
    """Sizes and settings."""

    def __init__(
        self,
        codebooks: Codebooks,
        text_extractor: ModelTexts | None,
        image_settings: dict[str, Any] | None,
    ) -> None:
        self.codebooks = codebooks
        self.text_extractor = text_extractor
        self.image_settings = image_settings

    @property
    @abstractmethod
    def image_width(self) -> int:
        """Width of the image features."""

    @property
    @abstractmethod
    def text_width(self) -> int:
        """Width of the text features."""

    @property
    def training(self) -> dict[str, Any]:
        """What the model was trained on: data set, split, digest of the training ids, seed, steps."""
        return self.config.training

    @abstractmethod
    def _embed_image(self, features: Features) -> Floats: ...

    @abstractmethod
    def _embed_text(self, features: Features) -> Floats: ...

    @abstractmethod
    def _embed_unit(self, image: Features, text: Features) -> Floats:
        """Vectors of n units whose image and text are both there."""

    def weigh_query(
        self, vectors: Floats, modality: Modality, instance_weight: float | None = None
    ) -> Floats:
        """Vectors (n, dim) of "image" or "text" queries as they meet the codes.

        ``instance_weight`` is that of the part of a query that a model with two leans on less: SPDQ's shared part, what
        a gated embedding guesses. None means the model's own.

        Raises
        ------
        UsageError
            A weight for a model that ranks by one similarity alone.
        """
        if instance_weight is not None:
            raise UsageError("this model ranks by one similarity: it has no instance weight to set")
        return vectors

    @abstractmethod
    def with_codebooks(self, codebooks: Codebooks, learned_from: str | None = None) -> Self:
        """The same network with other codebooks, whose bits become the model's.

        ``learned_from`` says in the model's ``training`` what they were learned from, None = the training rows.
        """

    @abstractmethod
    def to_parts(self) -> ModelParts:
        """Everything that is stored."""

    def embed_image(self, features: Features) -> Floats:
        """Vectors (n, dim) of images from their features (n, image_width).

        Raises
        ------
        DataError
            Wrong width, NaN or infinite features.
        """
        return self._embed_image(_checked(features, self.image_width, "image"))

    def embed_text(self, features: Features) -> Floats:
        """Vectors (n, dim) of texts from their features (n, text_width), dense or CSR. Raises as ``embed_image``."""
        return self._embed_text(_checked(features, self.text_width, "text"))

    def embed_unit(self, image_features: Features, text_features: Features) -> Floats:
        """Vectors (n, dim) of units from the features of their images and texts. Raises as ``embed_image``.

        A row of zeros is a missing image or text (``present``): the unit is what the other part says. A unit of
        neither is a DataError.
        """
        image = _checked(image_features, self.image_width, "image")
        text = _checked(text_features, self.text_width, "text")
        if image.shape[0] != text.shape[0]:
            raise DataError(f"units need as many images as texts, got {image.shape[0]} and {text.shape[0]}")
        has_image, has_text = present(image), present(text)
        if not (has_image | has_text).all():
            row = int(np.argmin(has_image | has_text))
            raise DataError(f"unit {row} has neither an image nor a known word in its text: leave it out")
        both = has_image & has_text
        if both.all():
            return self._embed_unit(image, text)
        vectors = np.empty((len(both), self.codebooks.dim), np.float32)
        vectors[both] = self._embed_unit(image[both], text[both])
        vectors[~has_text] = self._embed_image_alone(image[~has_text])
        vectors[~has_image] = self._embed_text(text[~has_image])
        return vectors

    def _embed_image_alone(self, features: Features) -> Floats:
        """Vectors of units that have no text."""
        return self._embed_image(features)

    def encode_image(self, features: Features) -> Codes:
        """Codes (n, M) of images. Raises as ``embed_image``."""
        return self.codebooks.encode(self.embed_image(features))

    def encode_text(self, features: Features) -> Codes:
        """Codes (n, M) of texts. Raises as ``embed_image``."""
        return self.codebooks.encode(self.embed_text(features))

    def encode_unit(self, image_features: Features, text_features: Features) -> Codes:
        """Codes (n, M) of units. Raises as ``embed_image``."""
        return self.codebooks.encode(self.embed_unit(image_features, text_features))

    def image_features(self, images: Sequence[ImageSource], progress: Progress | None = None) -> Floats:
        """Features (n, image_width) of pictures: paths, bytes or PIL images.

        Raises
        ------
        DataError
            A broken picture, or a model trained on image features that it cannot compute.
        """
        return self._image_extractor.extract(images, progress=progress)

    def text_features(self, texts: Sequence[str]) -> Features:
        """Features (n, text_width) of raw texts: CSR of words, dense of a network.

        Raises
        ------
        DataError
            A model trained on text features that it cannot compute.
        IncompatibleError
            The extractor is no longer the one the model was trained with.
        """
        extractor = self._text_extractor
        features = extractor.transform(texts)
        if features.shape[1] != self.text_width:
            raise IncompatibleError(
                f"text extractor {extractor.name} makes {features.shape[1]} features of a text, the model was trained "
                f"with {self.text_width}: bring back the extractor it was trained with, or train anew"
            )
        return features

    def check_query(self, text: str) -> list[str]:
        """The words of a query text that the model does not know; none where its extractor knows no words.

        Raises
        ------
        DataError
            An empty text, one that is too long or without a known word; a model that cannot read texts.
        """
        return self._text_extractor.check_query(text)

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text that the model does not know and leaves out. Raises DataError where it reads no texts."""
        return self._text_extractor.unknown_words(text)

    @property
    def _text_extractor(self) -> ModelTexts:
        if self.text_extractor is None:
            raise DataError(
                "this model was trained on ready-made text features, so it cannot read a text. "
                "Query it by image, or by features from a data set (--queries)"
            )
        return self.text_extractor

    @cached_property
    def _image_extractor(self) -> ImageExtractor:
        if self.image_settings is None:
            raise DataError(
                "this model was trained on ready-made image features, so it cannot read a picture. "
                "Query it by text, or by features from a data set (--queries)"
            )
        return image_extractor(**self.image_settings)

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of everything that decides what the model returns."""
        return fingerprint(complete_config(self.to_parts())[0])

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write the model directory. Raises StorageError where the storage refuses."""
        write_model(directory, self.to_parts())


def present(features: Features) -> NDArray[np.bool_]:
    """Which rows (n,) of features are there: a row of zeros stands for a missing image or text."""
    if sparse.issparse(features):
        return np.asarray(abs(features).sum(axis=1)).ravel() > 0
    return np.asarray(np.any(features != 0, axis=1))


def _checked(features: Features, width: int, modality: str) -> Features:
    """Features as float32 of the right width, or a DataError that says what came."""
    rows: Features
    values: NDArray[Any]
    if getattr(getattr(features, "dtype", None), "kind", "") == "c":
        raise DataError(f"{modality} features must be real numbers, (n, {width})")
    # float64 beyond float32 becomes infinite and is refused below.
    with np.errstate(over="ignore"):
        if sparse.issparse(features):
            rows = sparse.csr_matrix(features, dtype=np.float32)
            values = rows.data
        else:
            try:
                rows = values = np.atleast_2d(np.asarray(features, np.float32))
            except (TypeError, ValueError) as error:
                raise DataError(f"{modality} features must be numbers, (n, {width}): {error}") from error
    if rows.ndim != 2 or rows.shape[1] != width:
        raise DataError(f"expected {modality} features of (n, {width}), got {rows.shape}")
    if not np.isfinite(values).all() or (values.size and np.abs(values).max() > MAX_MAGNITUDE):
        raise DataError(f"{modality} features have NaN, infinite or values beyond 1e6: leave such rows out")
    return rows
