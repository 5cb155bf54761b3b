"""Cosine margin softmax over sampled classes (CosFace, Wang et al., CVPR 2018, equation 4; partial FC).

The papers of the Mixer confirm large-scale classification; that its loss is a margin softmax is a reconstruction.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def margin_softmax_terms(
    vectors: Tensor, weights: Tensor, own: Tensor, *, margin: float, scale: float
) -> Tensor:
    """-log of the softmax of ``scale * (cosine - margin where the class is the own one)``, (n,) float32.

    Parameters
    ----------
    vectors : (n, d) float32 of any length above 0.
    weights : (c, d) float32, one a class that takes part; of any length above 0.
    own : (n,) int64, the row of each vector's class in ``weights``. With one class in all every term is 0.
    margin, scale : by how much the own cosine has to be larger, and what cosines are multiplied by.
    """
    cosines = functional.normalize(vectors, dim=1) @ functional.normalize(weights, dim=1).T
    lead = functional.one_hot(own, len(weights)).to(cosines.dtype) * margin
    return functional.cross_entropy(torch.mul(cosines - lead, scale), own, reduction="none")
