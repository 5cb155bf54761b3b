"""Work split over threads of our own: kernels release the interpreter, results do not depend on the split."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

from spdq_kernels import contract

Result = TypeVar("Result")


def workers(threads: int | None, work: int, least: int) -> int:
    """Threads to use: those asked for, else as many as the cores and the work allow."""
    if threads is None and work < 2 * least:
        return 1
    count = contract.thread_count(threads)
    return count if threads is not None else max(1, min(count, work // least))


def pieces(length: int, count: int) -> list[slice]:
    """Cut range(length) into at most ``count`` runs of nearly equal length, none of them empty."""
    bounds = [length * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(bounds) if b > a]


def run(function: Callable[[slice], Result], parts: list[slice]) -> list[Result]:
    """Call the function on every part, in threads if there are several; results in their order."""
    if len(parts) <= 1:
        return [function(part) for part in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(function, parts))
