"""A weight a class, learned sparsely: a step touches the classes of its batch and a sample of the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from spdq.errors import UsageError

Classes = NDArray[np.int64]


class ClassHead:
    """Weights (c, d) of all classes, outside the network that is kept.

    With the one number a class that ``RowAdagrad`` keeps, c classes cost 4 c (d + 1) bytes, and as much again while a
    checkpoint is written: a million classes of 64 dimensions 260 MB, of 128 dimensions 516 MB.

    Parameters
    ----------
    n_classes, dim
        c and d.
    sampled
        Classes that take part in a step, those of the batch among them; a batch with more classes has no others.
    """

    def __init__(self, n_classes: int, dim: int, sampled: int) -> None:
        self.n_classes = n_classes
        self.sampled = sampled
        self.weights = nn.Parameter(torch.empty(n_classes, dim).normal_().mul_(dim**-0.5))

    def sample(self, classes: Classes, random: np.random.Generator) -> Classes:
        """The classes of a batch and random others, ``sampled`` in all where there are so many; sorted, distinct."""
        if self.n_classes <= self.sampled:
            return np.arange(self.n_classes)
        of_batch = np.unique(classes)
        count = max(self.sampled - len(of_batch), 0)
        # Drawn among the classes that are not in the batch: each is moved on by as many of these as stand before it.
        drawn = random.choice(self.n_classes - len(of_batch), count, replace=False, shuffle=False)
        before = np.searchsorted(of_batch - np.arange(len(of_batch)), drawn, side="right")
        return np.sort(np.concatenate([of_batch, drawn + before]))

    def rows(self, classes: Classes) -> Tensor:
        """Weights (r, d) of some classes; their gradient is sparse."""
        return functional.embedding(torch.from_numpy(classes), self.weights, sparse=True)


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad with one sum of squares a row, for sparse gradients: only the rows that a step touched move.

    Parameters
    ----------
    weights
        (c, d) float32.
    lr
        Length of a row's first step, about.
    """

    def __init__(self, weights: nn.Parameter, lr: float) -> None:
        super().__init__([weights], {"lr": lr})
        self.state[weights]["sum"] = torch.zeros(len(weights))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step. Raises UsageError for a closure, which nothing here needs."""
        if closure is not None:
            raise UsageError("RowAdagrad takes no closure")
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._update(weights, weights.grad.coalesce(), group["lr"])

    def _update(self, weights: Tensor, gradient: Tensor, rate: float) -> None:
        rows, slope = gradient.indices()[0], gradient.values()
        sums = self.state[weights]["sum"]
        sums.index_add_(0, rows, slope.square().sum(dim=1))
        weights.index_add_(0, rows, slope * (-rate / sums[rows].sqrt().clamp(min=1e-12)).unsqueeze(1))
