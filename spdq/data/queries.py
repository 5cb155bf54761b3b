"""Query rows for sets that publish none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spdq.data.splits import Rows, random_query_rows
from spdq.errors import DataError, UsageError

N_QUERY = 2000


def default_query_rows(n: int, seed: int, where: object) -> Rows:
    """2,000 random rows of n, or a tenth where that is fewer -> (n_query,) int64, ascending.

    ``where`` is what the error names: the folder or file of the items.

    Raises
    ------
    DataError
        There is only one item.
    UsageError
        Negative seed.
    """
    if n < 2:
        raise DataError(f"{where}: one item cannot be split into queries and database")
    return random_query_rows(n, max(1, min(N_QUERY, n // 10)), seed)


def class_query_rows(labels: npt.NDArray[np.uint8], n_query: int, seed: int) -> Rows:
    """Random rows of every class, each for one class -> (.,) int64, ascending.

    Parameters
    ----------
    labels : (n, c) uint8 of 0 and 1; classes draw in the order of the columns.
    n_query : rows a class; a tenth of its members (but one) where that is fewer.

    Raises
    ------
    UsageError
        Negative seed.
    """
    if seed < 0:
        raise UsageError(f"split seed: expected 0 or more, got {seed}")
    random = np.random.default_rng(seed)
    drawn = np.zeros(len(labels), dtype=bool)
    for column in labels.T:
        wanted = min(n_query, -(-int(column.sum()) // 10))
        free = np.flatnonzero((column == 1) & ~drawn)
        drawn[random.choice(free, size=min(wanted, free.size), replace=False, shuffle=False)] = True
    return np.flatnonzero(drawn).astype(np.int64)
