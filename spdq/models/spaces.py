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
ONE_SET_POWER, SEVERAL_SETS_POWER = 0.75, 0.5
"""Of the length of a label set's posteriors in an item: with 1 they are probabilities, with 0 compared by cosine.
Beside others a set of many labels an item would outweigh them, so there it is nearer to the cosine."""
UNIT_POWER = 0.25
"""The same for a set of free labels in a unit; the excluding ones' length is 1."""


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

    The inner product of two items' probabilities is the number of labels they are expected to share. It favours items
    of many labels and those the network is sure of, the cosine those it knows nothing of: the length of each label
    set's posteriors is raised to a power in between. In a unit picture and words vouch for each other, so there labels
    that exclude each other (softmax) are compared by cosine, and free ones (sigmoid) nearly (docs/training.md).
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
    def _power(self) -> float:
        return ONE_SET_POWER if len(self.label_sets) == 1 else SEVERAL_SETS_POWER

    @property
    def _share(self) -> np.float32:
        """What each label set is multiplied by, so that several weigh no more beside the instance part than one."""
        return np.float32(1 / np.sqrt(max(len(self.label_sets), 1)))

    @property
    def _labels(self) -> int:
        return max((stop for _, stop, _ in self.label_sets), default=0)

    def vectors(self, modality: Modality, shared: Floats, logits: Floats) -> Floats:
        labels = np.empty_like(logits)
        for start, stop, exclusive in self.label_sets:
            part = logits[:, start:stop]
            posteriors = _softmax(part) if exclusive else _sigmoid(part)
            labels[:, start:stop] = self._share * _lengthened(posteriors, self._power)
        return np.concatenate([labels, self.instance_scale * _lengthened(shared, 0)], axis=1)

    def units(self, image: Floats, text: Floats) -> Floats:
        n = self._labels
        labels = (image[:, :n] + text[:, :n]) / np.float32(2 * self._share)
        for start, stop, exclusive in self.label_sets:
            power = 0 if exclusive else UNIT_POWER / self._power
            labels[:, start:stop] = self._share * _lengthened(labels[:, start:stop], power)
        instance = _lengthened(UNIT_IMAGE_WEIGHT * image[:, n:] + text[:, n:], 0)
        return np.concatenate([labels, self.instance_scale * instance], axis=1)

    def query_weights(self, instance_weight: float) -> Floats:
        weights = np.ones(self.dim, np.float32)
        # A query's and an item's shared part both have this length; the weight is meant for parts of length 1.
        weights[self._labels :] = instance_weight / self.instance_scale**2
        return weights

    def tensors(self) -> dict[str, NDArray[Any]]:
        return {}


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


def _lengthened(rows: Floats, power: float) -> Floats:
    """The rows with their lengths raised to a power; 0 gives them length 1."""
    length = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows * length ** np.float32(power - 1), np.float32)
