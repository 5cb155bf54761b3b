"""Class-wise distance of RKHS mean embeddings, MK-MMD (SPDQ, equations 1-3 and 11-12)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

KERNELS = 5
"""Gaussians of the mixture; their bandwidths are the median squared distance times 2^-2 ... 2^2, uniform weights.

The paper leaves number, bandwidths and weights open; DAN, which it builds on, centres them on the median.
"""


class ClassPairs(NamedTuple):
    """For every class present at least twice in a batch: its members, two by two.

    ``first`` and ``second`` (p,) int64 are rows of the batch, ``label`` (p,) int64 the class of the pair,
    ``classes`` the number of classes that have pairs.
    """

    first: Tensor
    second: Tensor
    label: Tensor
    classes: int


def class_pairs(labels: Tensor) -> ClassPairs:
    """Pair the rows of each class in batch order: u_n of equation (11), an odd last member left out.

    ``labels`` is (n, c) of 0 and 1; an item of several classes takes part in each of them. Classes with fewer than
    two members have no pair and do not count.
    """
    label, row = labels.T.nonzero(as_tuple=True)
    counts = torch.bincount(label, minlength=labels.shape[1])
    starts = torch.cumsum(counts, 0) - counts
    place = torch.arange(len(row)) - starts[label]
    first = (place % 2 == 0) & (place + 1 < counts[label])
    at = first.nonzero().squeeze(1)
    present, index = torch.unique(label[at], return_inverse=True)
    return ClassPairs(row[at], row[at + 1], index, len(present))


def median_bandwidth(x: Tensor, y: Tensor) -> Tensor:
    """Median squared Euclidean distance between all rows of x and y, (n, d) each; never 0."""
    both = torch.cat([x, y]).detach()
    return torch.pdist(both).square().median().clamp(min=1e-12)


def _kernel(x: Tensor, y: Tensor, bandwidth: Tensor) -> Tensor:
    """Equation (2) with uniform weights, row by row: (p, d), (p, d) -> (p,)."""
    distance = (x - y).square().sum(dim=1)
    exponents = [-distance / (bandwidth * 2.0 ** (u - KERNELS // 2)) for u in range(KERNELS)]
    return torch.stack([exponent.exp() for exponent in exponents]).mean(dim=0)


def class_mean_distances(image: Tensor, text: Tensor, pairs: ClassPairs) -> Tensor:
    """Unbiased linear-time estimate of ||E[phi(image^k)] - E[phi(text^k)]||^2 for each class present (11)-(12).

    ``image`` and ``text`` are (n, d) float32 outputs of the same n pairs. Returns (classes,) float32, which may be
    negative as any unbiased estimate of a small square. Equation (11) prints s_t(2n-1) twice; the second is s_t(2n).
    """
    if not pairs.classes:
        return image.new_zeros(0)
    bandwidth = median_bandwidth(image, text)
    i1, i2, t1, t2 = image[pairs.first], image[pairs.second], text[pairs.first], text[pairs.second]
    eta = (
        _kernel(i1, i2, bandwidth)
        - _kernel(i1, t2, bandwidth)
        + _kernel(t1, t2, bandwidth)
        - _kernel(t1, i2, bandwidth)
    )
    sums = eta.new_zeros(pairs.classes).index_add(0, pairs.label, eta)
    return sums / torch.bincount(pairs.label, minlength=pairs.classes)
