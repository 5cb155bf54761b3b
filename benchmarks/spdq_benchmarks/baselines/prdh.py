"""PRDH: pairwise relationship guided deep hashing (Yang, Deng, Liu, Liu, Tao, Gao, AAAI 2017), feature version."""

from __future__ import annotations

import torch
from torch import Tensor

from spdq_benchmarks.baselines.dcmh import DCMH
from spdq_benchmarks.baselines.towers import likelihood_terms


class PRDH(DCMH):
    """DCMH's likelihood across modalities and the same within each, of outputs whose bits are decorrelated.

    ::

        J = J1 + J2 + J3 + lambda J4 + gamma R

    J1 is the likelihood of an image and a text, J2 of two images (T_ij = F_i . F_j / 2), J3 of two texts; J4 is half
    the sum of the squared covariances of different bits, a modality each; R is DCMH's ||B - F||^2 + ||B - G||^2 and
    balance. lambda = gamma = 1. Trained as DCMH: batches against buffers, then B = sign(F + G).

    Deviations: those of DCMH. J4 is computed of the batch's covariance; a public version takes the mean of centred
    outputs, which is 0 whatever they are. Beside so many pairs J4 weighs little.
    """

    name = "prdh"
    decorrelation = 1.0

    def _fit(self) -> None:
        super()._fit()
        self.settings["decorrelation"] = self.decorrelation

    def _loss(
        self, outputs: Tensor, signs: Tensor, partners: Tensor, others: Tensor, similar: Tensor
    ) -> Tensor:
        across = super()._loss(outputs, signs, partners, others, similar)
        within = likelihood_terms(outputs @ partners.T / 2, similar, self.weight).mean()
        correlated = self.decorrelation * squared_covariances(outputs)
        return across + within + correlated / (len(outputs) * len(self.pairs))


def squared_covariances(outputs: Tensor) -> Tensor:
    """J4 of (b, d) outputs: half the sum of the squared covariances of different columns, a scalar."""
    centred = outputs - outputs.mean(dim=0)
    covariances = centred.T @ centred / len(outputs)
    return (covariances.square().sum() - torch.diagonal(covariances).square().sum()) / 2
