"""Pictures are read and resized ahead, by threads, while the network computes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

MAX_THREADS = 4
AHEAD = 8
"""Rows that are prepared ahead where a list is shorter: some pictures take long to read."""


def prefetched(prepare: Callable[[int], T], n: int, batch: int) -> Iterator[list[T]]:
    """What ``prepare`` makes of rows 0 to n - 1, in lists of ``batch``, the last one perhaps shorter.

    While a list is worked on, the next one is prepared, or 8 rows, and no more than that. What ``prepare`` raises is
    raised in the place of its list. A row alone, a query, is prepared without a thread.
    """
    if n == 1:
        yield [prepare(0)]
        return
    workers = min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[T]] = deque()
    rows = iter(range(n))
    # Pillow lets go of Python's lock while it decodes and resizes.
    threads = ThreadPoolExecutor(workers, "spdq-pictures")
    try:
        for row in islice(rows, max(batch, AHEAD)):
            waiting.append(threads.submit(prepare, row))
        while waiting:
            ready = []
            for _ in range(min(batch, len(waiting))):
                ready.append(waiting.popleft().result())
                for row in islice(rows, 1):
                    waiting.append(threads.submit(prepare, row))
            yield ready
    finally:
        threads.shutdown(cancel_futures=True)
