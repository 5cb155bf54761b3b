"""How fast one thread reads memory, level by level: what a scan that does nothing but read would take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.speed.timing import Contender, seconds

LEVELS = {"L2": 1 << 20, "L3": 8 << 20, "DRAM": 256 << 20}
"""Bytes of an array that lies there on the machines we know."""

READ_BYTES = 32 << 20
"""Fewest bytes of one timing: a small array is read again and again, so that it is where it belongs."""

Words = NDArray[np.uint64]


def reader(size: str | int) -> Contender:
    """Reads an array of a size in bytes, or one that lies in a level; its unit is a byte.

    What was read before lies where there is room for it: for an array of a hundred megabytes that may be a cache.
    """
    read = _read_sum()
    n_bytes = LEVELS[size] if isinstance(size, str) else size
    words = np.ones(n_bytes // 8, np.uint64)
    times = max(1, READ_BYTES // words.nbytes)

    def run(words: Words) -> None:
        for _ in range(times):
            read(words)

    def prepare(turn: int) -> Words:
        read(words)
        return words

    name = f"reading {size}" if isinstance(size, str) else f"reading {n_bytes / 1e6:g} MB"
    return Contender(name, run, prepare, words.nbytes * times)


def read_bandwidth(repeats: int) -> dict[str, float]:
    """Bytes a second that one thread reads from each level, median over repeats."""
    found = {}
    for level in LEVELS:
        one = reader(level)
        found[level] = 1 / float(np.median([seconds(one, turn)[0] for turn in range(repeats)]))
    return found


@cache
def _read_sum() -> Callable[[Words], object]:
    """A compiled function that reads an array once and does next to nothing with it."""
    from numba import njit

    def every_word(words: Words) -> np.uint64:
        found = np.uint64(0)
        for i in range(words.size):
            found |= words[i]
        return found

    compiled: Callable[[Words], object] = njit("u8(u8[::1])", nogil=True)(every_word)
    return compiled
