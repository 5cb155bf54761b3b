"""Label alignment L3 (SPDQ, equation 6): the shared representation, rotated, meets its labels' prototypes."""

from __future__ import annotations

from torch import Tensor


def alignment_terms(shared: Tensor, rotation: Tensor, targets: Tensor) -> Tensor:
    """||C s_n - Z l_n||^2 of each item, (n,) float32.

    ``shared`` (n, S) is s, ``rotation`` (d, S) is C_i or C_t with orthonormal rows, ``targets`` (n, d) is Z l_n.
    """
    return (shared @ rotation.T - targets).square().sum(dim=1)
