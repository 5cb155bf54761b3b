"""Distances taken in a block of queries at a time, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, UsageError

Array = npt.NDArray[Any]
Distances = Array | Callable[[slice], Array]
"""(queries, items) smaller = closer, or a function from a slice of queries to those rows."""
Progress = Callable[[int, int], None] | None
"""Called with (queries done, queries)."""


def distance_blocks(
    distances: Distances, n_queries: int, n_items: int | None, block: int, progress: Progress
) -> Iterator[tuple[slice, Array]]:
    """Slices of at most ``block`` queries, each with its (rows, items) distances.

    ``n_items`` None takes the number of items from the first block.

    Raises
    ------
    UsageError
        block < 1.
    DataError
        Distances of another shape, not numbers, or NaN.
    """
    if block < 1:
        raise UsageError(f"block: expected at least 1 query, got {block}")
    if isinstance(distances, np.ndarray) and len(distances) != n_queries:
        raise DataError(
            f"distances: expected a row for each of {n_queries} queries, got shape {distances.shape}"
        )
    for first in range(0, n_queries, block):
        rows = slice(first, min(first + block, n_queries))
        found = distances[rows] if isinstance(distances, np.ndarray) else distances(rows)
        check_matrix("distances", found)
        n_items = found.shape[1] if n_items is None else n_items
        if found.shape != (rows.stop - first, n_items):
            expected = (rows.stop - first, n_items)
            raise DataError(
                f"distances of queries {first} to {rows.stop - 1}: expected {expected}, got {found.shape}"
            )
        missing = np.isnan(found).any(axis=1)
        if missing.any():
            row = first + int(missing.argmax())
            raise DataError(f"distances of query {row}: found NaN; check the vectors they come from")
        yield rows, found
        if progress is not None:
            progress(rows.stop, n_queries)


def check_matrix(name: str, array: Array) -> None:
    """Raises DataError unless ``array`` is 2-d and of a bool, integer or floating dtype."""
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(f"{name}: expected a 2-d array of numbers, got shape {array.shape} of {array.dtype}")
