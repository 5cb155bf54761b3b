"""The predictive term L2 (SPDQ, equation 4): sigmoid cross-entropy; softmax where labels exclude each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def sigmoid_terms(logits: Tensor, labels: Tensor) -> Tensor:
    """Equation (4): sigmoid cross-entropy of each item and label, (n, c) float32."""
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")


def label_set_terms(
    logits: Tensor, labels: Tensor, sets: Sequence[tuple[int, int, bool]], smoothing: float
) -> Tensor:
    """One term a label set and item, (sets, n) float32.

    A label set is a run of columns (start, stop, exclusive). Exclusive sets, of which every item carries exactly one
    label, take softmax cross-entropy with label smoothing; the others the sum of equation (4) over their labels.
    """
    terms = []
    for start, stop, exclusive in sets:
        part, target = logits[:, start:stop], labels[:, start:stop]
        if exclusive:
            terms.append(functional.cross_entropy(part, target, reduction="none", label_smoothing=smoothing))
        else:
            terms.append(sigmoid_terms(part, target).sum(dim=1))
    return torch.stack(terms) if terms else logits.new_zeros((0, len(logits)))
