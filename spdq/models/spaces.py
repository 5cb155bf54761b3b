"""What becomes of a tower's branches: the vector that is quantized, and how a query is weighted against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spdq.errors import DataError

Floats = NDArray[np.float32]
Modality = Literal["image", "text"]
LabelSet = tuple[int, int, bool]
"""A run of label columns (start, stop) and whether its labels exclude each other."""

UNIT_IMAGE_WEIGHT = 0.3
"""Share of the picture in the instance part of a unit; the text is what queries are compared with."""


class Space(Protocol):
    """A joint space: vectors (n, dim) float32, compared by inner product."""

    @property
    def kind(self) -> str: ...

    @property
    def dim(self) -> int: ...

    def vectors(self, modality: Modality, shared: Floats, logits: Floats) -> Floats:
        """Vectors of items from the shared (n, S) and logit (n, c) branches of their tower."""
        ...

    def units(self, image: Floats, text: Floats) -> Floats:
        """Vectors of units from the vectors of their image and text, both (n, dim)."""
        ...

    def query_weights(self, instance_weight: float) -> Floats:
        """(dim,) factors a query's vector is multiplied by; the code of the database does not change."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """What was learned of the space itself."""
        ...


@dataclass(frozen=True, eq=False)
class PredictiveSpace:
    """[posteriors of the predictive branch ; shared representation of length 1] (recipe "default").

    The inner product of two items' probabilities is the number of labels they are expected to share. Free labels
    (sigmoid) stay probabilities; those that exclude each other (softmax) are divided by the root of their length,
    half way to the cosine: an item the network is unsure of is then neither lost among the confident ones nor their
    equal. In a unit picture and words vouch for each other, so there it is the cosine (docs/training.md).
    """

    label_sets: Sequence[LabelSet]
    shared: int
    instance_scale: float = 1.0
    """Length of the shared part. Codebooks spend themselves by length: below 1 more goes to the posteriors."""
    kind: str = "predictive"

    @property
    def dim(self) -> int:
        return self._labels + self.shared

    @property
    def _labels(self) -> int:
        return max((stop for _, stop, _ in self.label_sets), default=0)

    def vectors(self, modality: Modality, shared: Floats, logits: Floats) -> Floats:
        posteriors = np.empty_like(logits)
        for start, stop, exclusive in self.label_sets:
            part = logits[:, start:stop]
            posteriors[:, start:stop] = _softmax(part) if exclusive else _sigmoid(part)
        return np.concatenate([self._scaled(posteriors), self.instance_scale * _unit(shared)], axis=1)

    def units(self, image: Floats, text: Floats) -> Floats:
        labels = self._labels
        posteriors = np.asarray((image[:, :labels] + text[:, :labels]) / 2, np.float32)
        posteriors[:, self._exclusive] = _unit(posteriors[:, self._exclusive])
        instance = _unit(UNIT_IMAGE_WEIGHT * image[:, labels:] + text[:, labels:])
        return np.concatenate([posteriors, self.instance_scale * instance], axis=1)

    def query_weights(self, instance_weight: float) -> Floats:
        weights = np.ones(self.dim, np.float32)
        # A query's and an item's shared part both have this length; the weight is meant for parts of length 1.
        weights[self._labels :] = instance_weight / self.instance_scale**2
        return weights

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {}

    def _scaled(self, posteriors: Floats) -> Floats:
        scaled = posteriors.copy()
        part = posteriors[:, self._exclusive]
        length = np.linalg.norm(part, axis=1, keepdims=True)
        scaled[:, self._exclusive] = part / np.sqrt(np.maximum(length, 1e-12))
        return scaled

    @property
    def _exclusive(self) -> NDArray[np.bool_]:
        """Which label columns exclude each other."""
        exclusive = np.zeros(self._labels, bool)
        for start, stop, is_exclusive in self.label_sets:
            exclusive[start:stop] = is_exclusive
        return exclusive


@dataclass(frozen=True, eq=False)
class AlignedSpace:
    """The label space of the paper: C_i s for images, C_t s for texts (SPDQ, equations 6 and 10).

    ``image`` and ``text`` are C_i and C_t, (d, S) float32 with orthonormal rows, ``prototypes`` is Z, (d, c) float32.
    The paper has no units; theirs is the mean of both vectors.
    """

    image: Floats
    text: Floats
    prototypes: Floats
    kind: str = "aligned"

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.shape != self.text.shape:
            raise DataError(f"rotations of {self.image.shape} and {self.text.shape}: expected two of (d, S)")
        if self.prototypes.ndim != 2 or len(self.prototypes) != len(self.image):
            raise DataError(f"prototypes of {self.prototypes.shape}: expected ({len(self.image)}, labels)")

    @property
    def dim(self) -> int:
        return len(self.image)

    def vectors(self, modality: Modality, shared: Floats, logits: Floats) -> Floats:
        return shared @ (self.image if modality == "image" else self.text).T

    def units(self, image: Floats, text: Floats) -> Floats:
        return np.asarray((image + text) / 2, np.float32)

    def query_weights(self, instance_weight: float) -> Floats:
        return np.ones(self.dim, np.float32)

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {"image": self.image, "text": self.text, "prototypes": self.prototypes}

    def label_vectors(self, labels: NDArray[Any]) -> Floats:
        """Z l (n, d) of label rows (n, c) of 0 and 1 (equation 6); DataError for rows of another width."""
        if labels.ndim != 2 or labels.shape[1] != self.prototypes.shape[1]:
            raise DataError(f"expected labels of (n, {self.prototypes.shape[1]}), got {labels.shape}")
        return np.ascontiguousarray(labels @ self.prototypes.T, np.float32)


def make_space(
    kind: str,
    label_sets: Sequence[LabelSet],
    shared: int,
    instance_scale: float,
    tensors: Mapping[str, NDArray[Any]],
) -> Space:
    """Rebuild a space from its kind and tensors.

    Raises
    ------
    DataError
        Unknown kind, or tensors that are not those of this kind.
    """
    if kind == "predictive" and not tensors:
        return PredictiveSpace(label_sets, shared, instance_scale)
    if kind == "aligned" and set(tensors) == {"image", "text", "prototypes"}:
        return AlignedSpace(tensors["image"], tensors["text"], tensors["prototypes"])
    raise DataError(f"joint space {kind!r} with tensors {sorted(tensors)}: expected predictive or aligned")


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), np.float32)


def _sigmoid(logits: Floats) -> Floats:
    # Below -88 the exponential is infinite in float32 and the quotient 0, as it should be.
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
