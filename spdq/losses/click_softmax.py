"""Softmax over clicked pairs and sampled negatives.

That CSM (Yu et al., IEEE TMM 2015) learns the inner product of two towers from clicked pairs of a query and an image is
confirmed; its loss is not public. This one is a reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor


def click_softmax_terms(scores: Tensor, clicked: Tensor) -> Tensor:
    """-log of the softmax of row n's own column n among itself and the negatives, (b,) float32.

    Parameters
    ----------
    scores : (b, c) float32, c >= b, of b queries and c images, or the other way round, divided by the temperature.
    clicked : (b, c) bool, which pairs stand in the click log: they are no negatives. Without any negative a term is 0.
    """
    own = torch.eye(*scores.shape, dtype=torch.bool)
    among = scores.masked_fill(clicked & ~own, -torch.inf)
    return among.logsumexp(dim=1) - scores.diagonal()
