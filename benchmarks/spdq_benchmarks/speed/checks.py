"""Whether an answer that is about to be timed is right: a fast wrong answer is worth nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.errors import SpdqError
from spdq_benchmarks.speed.data import Floats

TOLERANCE = 1e-4
"""Relative; other libraries add in another order and build their tables from a matrix product."""

Rows = NDArray[np.int64]


class WrongAnswerError(SpdqError):
    """A search gave something else than the nearest rows: a bug, ours or theirs, and no figure."""


def table_sums(tables: Floats, codes: NDArray[np.uint8], rows: Rows) -> Floats:
    """Return (nq, k) float32: distances of the rows (nq, k) anew from tables (nq, M, K) and codes (n, M) uint8."""
    of_rows = codes[rows]
    sums = np.zeros(rows.shape, np.float32)
    for m in range(tables.shape[1]):
        sums += np.take_along_axis(tables[:, m], of_rows[:, :, m].astype(np.int64), axis=1)
    return sums


def check_own(where: str, distances: NDArray[Any], rows: Rows, recomputed: NDArray[Any]) -> None:
    """Check that distances (nq, k) are those of the rows to the bit, in the order (distance, row), none twice.

    Raises
    ------
    WrongAnswerError
        They are not.
    """
    if not np.array_equal(distances, recomputed):
        query, place = np.argwhere(distances != recomputed)[0]
        _wrong(
            where,
            f"row {rows[query, place]} of query {query} is at {recomputed[query, place]}, "
            f"not at {distances[query, place]}",
        )
    nearer, later = distances[:, :-1], distances[:, 1:]
    in_order = (nearer < later) | ((nearer == later) & (rows[:, :-1] < rows[:, 1:]))
    if not in_order.all():
        query, place = np.argwhere(~in_order)[0]
        _wrong(where, f"places {place} and {place + 1} of query {query} are not in the order (distance, row)")


def check_same(
    where: str, distances: NDArray[Any], rows: Rows, other_distances: NDArray[Any], other_rows: Rows
) -> None:
    """Check an answer against another exact one: distances equal up to rounding, rows up to ties at the last place.

    Raises
    ------
    WrongAnswerError
        They are not.
    """
    if distances.shape != other_distances.shape:
        _wrong(where, f"{distances.shape} distances, expected {other_distances.shape}")
    close = np.isclose(distances, other_distances, rtol=TOLERANCE, atol=TOLERANCE)
    if not close.all():
        query, place = np.argwhere(~close)[0]
        _wrong(
            where,
            f"place {place} of query {query} is at {distances[query, place]}, "
            f"expected {other_distances[query, place]}",
        )
    last = distances[:, -1:] if distances.shape[1] else distances
    missing = ~_in_each(rows, other_rows) & ~np.isclose(distances, last, rtol=TOLERANCE, atol=TOLERANCE)
    if missing.any():
        query, place = np.argwhere(missing)[0]
        _wrong(where, f"row {rows[query, place]} is not among the nearest of query {query}")


def check_equal(
    where: str, distances: NDArray[Any], rows: Rows, other_distances: NDArray[Any], other_rows: Rows
) -> None:
    """Check that two answers are the same to the bit.

    Raises
    ------
    WrongAnswerError
        They are not.
    """
    if not (np.array_equal(distances, other_distances) and np.array_equal(rows, other_rows)):
        _wrong(where, "the answer is not that of the reference")


def agreement(exact: Rows, found: Rows) -> float:
    """Share of the exact rows (nq, k) that an approximate answer holds."""
    return float(_in_each(exact, found).mean()) if exact.size else 1.0


def _in_each(rows: Rows, other: Rows) -> NDArray[np.bool_]:
    """(nq, k) bool: which rows are, for the same query, in the other answer."""
    return np.array([np.isin(mine, theirs) for mine, theirs in zip(rows, other, strict=True)]).reshape(
        rows.shape
    )


def _wrong(where: str, what: str) -> None:
    raise WrongAnswerError(f"{where}: wrong answer, nothing is timed: {what}")
