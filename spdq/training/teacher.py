"""What the network is taught beside the labels: the posteriors of a kernel ridge regression, between the training rows.

A network trained on a thousand labelled rows is sure of itself everywhere; the kernel regression, whose width and
ridge are chosen by leaving each row out, knows where it knows nothing. It is too slow and too large to be searched
with, so it teaches: the network is shown mixes of training inputs, about which nobody has labels, and learns what the
regression says of them. Where it is shown the rows themselves, their own labels count too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spdq.models.spaces import LabelSet, Modality
from spdq.training.kernel_ridge import fit_kernel_ridge
from spdq.training.rows import TrainingRows

Floats = NDArray[np.float32]

MIXES = 20_000
"""Mixes a modality that are drawn once and taught from."""
PARENTS = 3
TAUGHT_AT_ONCE = 2048
SMALLEST = 1e-4
"""No label is impossible: the least posterior that is taught."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """Mixes of one modality's training inputs, and what the teacher says of them and of the rows themselves.

    ``rows`` (n, width) float32 are the inputs mixed, ``spread`` (width,) the deviation of their columns; ``parents``
    (m, 3) int64 and ``shares`` (m, 3) float32 make the mixes; ``posteriors`` (m, c) float32 are taught for them.
    """

    rows: Tensor
    spread: Tensor
    parents: Tensor
    shares: Tensor
    posteriors: Tensor

    def draw(self, size: int, noise: float, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """``size`` mixes as inputs (size, width), with Gaussian noise of that share of the spread, and posteriors."""
        chosen = torch.from_numpy(random.integers(len(self.parents), size=size))
        mixed = mix(self.rows, self.parents[chosen], self.shares[chosen])
        disturbance = random.standard_normal(mixed.shape, np.float32) * np.float32(noise)
        return mixed + torch.from_numpy(disturbance) * self.spread, self.posteriors[chosen]


def mix(rows: Tensor, parents: Tensor, shares: Tensor) -> Tensor:
    """Convex combinations (m, width) of ``rows`` (n, width): of ``parents`` (m, p) with ``shares`` (m, p)."""
    return torch.einsum("mp,mpw->mw", shares, rows[parents])


def make_lessons(data: TrainingRows, seed: int) -> dict[Modality, Lessons]:
    """Fit a kernel regression a modality on the training rows, and ask it about mixes of them."""
    lessons: dict[Modality, Lessons] = {}
    text = data.text[data.train]
    if data.has_lines:
        text = torch.cat([text, data.first_lines(data.train)])  # Queries are as short as names.
    inputs: dict[Modality, Tensor] = {"image": data.image[data.train], "text": text}
    for place, (modality, tensor) in enumerate(inputs.items()):
        rows = tensor.numpy()
        labels = np.tile(data.labels[data.train].numpy(), (len(rows) // len(data.train), 1))
        random = np.random.default_rng([seed, 6, place])
        teacher = fit_kernel_ridge(rows, labels.astype(np.float64), seed)
        parents = torch.from_numpy(random.integers(len(rows), size=(MIXES, PARENTS)))
        shares = torch.from_numpy(random.dirichlet(np.ones(PARENTS), size=MIXES).astype(np.float32))
        posteriors = [
            taught(teacher(mix(tensor, parents[at], shares[at]).numpy()), data.label_sets)
            for at in np.array_split(np.arange(MIXES), -(-MIXES // TAUGHT_AT_ONCE))
        ]
        lessons[modality] = Lessons(
            tensor,
            torch.from_numpy(rows.std(axis=0)),
            parents,
            shares,
            torch.from_numpy(np.concatenate(posteriors)),
        )
    return lessons


def taught(predicted: Floats, label_sets: Sequence[LabelSet]) -> Floats:
    """Predictions (n, c) in 0..1 as posteriors: within the bounds of a probability, labels that exclude each other
    summing to 1."""
    posteriors = np.clip(predicted, SMALLEST, 1 - SMALLEST)
    for start, stop, exclusive in label_sets:
        if exclusive:
            part = posteriors[:, start:stop]
            posteriors[:, start:stop] = part / part.sum(axis=1, keepdims=True)
    return np.asarray(posteriors, np.float32)
