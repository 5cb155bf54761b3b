"""How fast one thread reads memory, level by level: what a scan that does nothing but read would take."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spdq_benchmarks.speed.timing import Contender, seconds

LEVELS = {"L2": 1 << 20, "L3": 8 << 20, "DRAM": 256 << 20}
"""Bytes of an array that lies there on the machines we know; a larger one lies in the next level."""

READ_BYTES = 32 << 20
"""Fewest bytes of one timing: a small array is read again and again, so that it is where it belongs."""

Words = NDArray[np.uint64]


def level_of(n_bytes: int) -> str:
    """The level an array of that size is read from."""
    return next((name for name, size in LEVELS.items() if n_bytes < 2 * size), "DRAM")


def reader(level: str) -> Contender:
    """Reads an array in that level; its unit is a byte."""
    read = _read_sum()
    words = np.ones(LEVELS[level] // 8, np.uint64)
    times = max(1, READ_BYTES // words.nbytes)

    def run(words: Words) -> None:
        for _ in range(times):
            read(words)

    def prepare(turn: int) -> Words:
        read(words)
        return words

    return Contender(f"reading {level}", run, prepare, words.nbytes * times)


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
