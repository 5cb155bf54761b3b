"""Structured hinge loss with the hardest negative of the batch (Balaneshin-kordan and Kotov, WSDM 2018).

The abstract confirms a structured hinge loss over queries and multi-modal units; its form, the negatives of the batch
and both directions are a reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor


def structured_hinge_terms(queries: Tensor, targets: Tensor, cost: Tensor) -> Tensor:
    """max(0, max over u' of [cost(u, u') + s(q, u')] - s(q, u)), and the same from the target's side, (2, n) float32.

    Parameters
    ----------
    queries, targets : (n, d) float32, row n of one belongs to row n of the other; s is their inner product.
    cost : (n, n) float32, symmetric: what it costs to take target j for target i, the margin. Where it is 0 the two
        mean the same, and neither is a negative of the other.
    """
    scores = queries @ targets.T
    own = scores.diagonal()
    negative = cost > 0
    violations = (scores + cost).masked_fill(~negative, -torch.inf)
    # A batch of one class has no negative at all: nothing is violated.
    return torch.stack(
        [(violations.amax(dim=dim) - own).clamp(min=0).nan_to_num(neginf=0.0) for dim in (1, 0)]
    )
