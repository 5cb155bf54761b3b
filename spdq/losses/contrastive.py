"""Contrastive term on the shared representation: each item's own text against the others of the batch (InfoNCE).

Not in the SPDQ paper. It is what lets the very item be found, which labels alone cannot (their points coincide).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MAX_SCALE = 50.0
"""Upper bound of the inverse temperature; without it a small training set drives it to infinity."""


def contrastive_terms(x: Tensor, y: Tensor, log_scale: Tensor) -> Tensor:
    """Cross-entropy of finding row n of y by row n of x and the reverse, (2, n) float32.

    ``x`` and ``y`` are (n, d) float32 rows of unit length, ``log_scale`` the learned logarithm of the inverse
    temperature.
    """
    scores = log_scale.exp().clamp(max=MAX_SCALE) * x @ y.T
    own = torch.arange(len(x))
    return torch.stack(
        [
            functional.cross_entropy(scores, own, reduction="none"),
            functional.cross_entropy(scores.T, own, reduction="none"),
        ]
    )
