"""Baselines whose codes are signs: Hamming distances, a query is a code too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.baselines.contract import Baseline, Codes, Floats
from spdq_kernels import hamming_scan, pack_codes


class HashingBaseline(Baseline):
    """Vectors (n, bits) whose signs are the bits; 0 counts as positive."""

    def encode(self, vectors: Floats) -> Codes:
        # The order in memory of what came may be any; the scan wants rows.
        return np.ascontiguousarray(np.packbits(vectors >= 0, axis=1))

    def distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        found, rows = hamming_scan(self.encode(queries), pack_codes(codes), len(codes), len(codes))
        distances = np.empty_like(found)
        np.put_along_axis(distances, rows, found, axis=1)
        return distances


def cycled(directions: NDArray[Any], bits: int) -> NDArray[Any]:
    """The columns of (d, r) directions, over and over until there are ``bits``: a method whose eigenproblem has fewer
    directions than bits (ten text dimensions, 64 bits) repeats them, which changes no distance's order by much and
    invents nothing."""
    return directions[:, np.arange(bits) % directions.shape[1]]
