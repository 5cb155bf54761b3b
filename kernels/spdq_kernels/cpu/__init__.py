"""The Numba kernels: no checks, no threads, no policy. ``dispatch`` and ``search`` have those, ``reference`` the
definitions."""

from __future__ import annotations

from spdq_kernels.cpu import (
    block_scan,
    encode,
    gather,
    keys,
    list_ranges,
    list_search,
    nearest,
    pilot,
    ranges,
    scan,
    tables,
    texts,
)
from spdq_kernels.cpu.compiler import compiled, names

__all__ = [
    "block_scan",
    "compiled",
    "encode",
    "gather",
    "keys",
    "list_ranges",
    "list_search",
    "names",
    "nearest",
    "pilot",
    "ranges",
    "scan",
    "tables",
    "texts",
]
