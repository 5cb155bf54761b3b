"""What searching costs in nanoseconds, to choose between ways to filter. Measured (docs/kernels.md), not exact."""

from __future__ import annotations

from spdq_kernels.contract import BYTES
from spdq_kernels.cpu.simd import LEVEL

_SCAN = {"avx512vbmi": 0.024, "avx512bw": 0.12, "avx2": 0.18, "ssse3": 0.35, "neon": 0.2, "generic": 1.0}
_SCAN_SIMPLE = {
    "avx512vbmi": 0.018,
    "avx512bw": 0.018,
    "avx2": 0.025,
    "ssse3": 0.04,
    "neon": 0.04,
    "generic": 1.0,
}
_READ = 0.04
"""Reading one byte of code, which a query that is alone in its call does for itself."""
GATHER = 0.035
"""Gathering: a byte of code of each row, and four times that of each allowed one."""
GATHERED_QUERY = 10_000.0
"""A query on gathered rows, beside scanning them."""
EVALUATE = 2.5
"""Evaluating one byte of code of one row."""


def scan_cost(kind: int, alone: bool) -> float:
    """Scanning one byte of code of one row, for a query that is alone in its call or for each of many."""
    scanning = _SCAN[LEVEL] if kind == BYTES else _SCAN_SIMPLE[LEVEL]
    return max(scanning, _READ) if alone else scanning
