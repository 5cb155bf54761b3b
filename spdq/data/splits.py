"""Which rows are queries, which are trained on, which are searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, UsageError

Rows = npt.NDArray[np.int64]
SplitKind = Literal["seen", "unseen", "paired", "matched", "clicks"]
MADE_KINDS: tuple[SplitKind, ...] = ("seen", "unseen", "paired")
"""What ``make_split`` makes of any items; the other kinds come with data that is made for them."""


@dataclass(frozen=True, eq=False)
class Split:
    """Query, train and database rows of one data set.

    - ``seen``: no query is trained on or searched; the training rows are in the database.
    - ``unseen``: query, train and database are disjoint.
    - ``paired``: the queries' own items are in the database; all of them are trained on, or none.
    - ``matched``: queries are to find other rows of their class; no query is trained on or searched, train and
      database may overlap in any way.
    - ``clicks``: no row is a query, the queries are those of ``Dataset.grades``; train and database may overlap.

    Parameters
    ----------
    query, train, database : (.,) int64, strictly ascending, none empty but the query of kind ``clicks``, which
        must be.
    kind : one of the five above.
    seed : int >= 0, what the random parts were drawn with.

    Raises
    ------
    DataError
        Rows that break these rules. That they exist is checked by the ``Dataset`` they are given to.
    UsageError
        Unknown kind.
    """

    query: Rows
    train: Rows
    database: Rows
    kind: SplitKind
    seed: int

    def __post_init__(self) -> None:
        _check_kind(self.kind)
        _check_seed(self.seed)
        for part in ("query", "train", "database"):
            _check_rows(part, getattr(self, part), may_be_empty=self.kind == "clicks" and part == "query")
        if self.kind == "clicks" and self.query.size:
            raise DataError(f"clicks split: expected no query rows, got {self.query.size}")
        if self.kind == "paired":
            n_trained = _n_common(self.query, self.train)
            if n_trained not in (0, len(self.query)):
                raise DataError(f"paired split: expected all queries trained on or none, got {n_trained}")
            n_missing = len(self.query) - _n_common(self.query, self.database)
            if n_missing:
                raise DataError(f"paired split: {n_missing} queries are not in the database")
            return
        for part in ("train", "database"):
            if n_common := _n_common(self.query, getattr(self, part)):
                raise DataError(f"{self.kind} split: {n_common} rows are both in query and {part}")
        n_common = _n_common(self.train, self.database)
        if self.kind == "seen" and n_common < len(self.train):
            raise DataError(f"seen split: {len(self.train) - n_common} train rows are not in the database")
        if self.kind == "unseen" and n_common:
            raise DataError(f"unseen split: {n_common} rows are both in train and database")

    @property
    def queries_trained(self) -> bool:
        """Whether the query rows are trained on (only a ``paired`` split can say yes)."""
        return _n_common(self.query, self.train) > 0


def make_split(
    n: int, query: npt.ArrayLike, kind: SplitKind, seed: int, train_on_queries: bool = False
) -> Split:
    """Make a split of ``n`` rows around the given query rows; the same arguments give the same split.

    seen: train and database are all non-query rows. unseen: a random half (rounded down) of those
    is train, the other half database. paired: the database is every row, train all non-query rows, or every
    row with ``train_on_queries``.

    Parameters
    ----------
    query : (n_query,) integers in any order, without duplicates.

    Raises
    ------
    DataError
        Query rows out of range or duplicate, or nothing left to train on or search.
    UsageError
        A kind that is not of ``MADE_KINDS``, negative seed, or ``train_on_queries`` with a kind other than paired.
    """
    _check_kind(kind, MADE_KINDS)
    _check_seed(seed)
    if train_on_queries and kind != "paired":
        raise UsageError(f'train_on_queries needs kind "paired", got "{kind}"')
    rows = np.asarray(query)
    if rows.ndim != 1 or rows.size == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise DataError(f"query: expected (n_query,) integer rows, got {rows.shape} {rows.dtype}")
    rows = np.sort(rows.astype(np.int64))
    check_row_range("split query", rows, n)
    everything = np.arange(n, dtype=np.int64)
    rest = np.setdiff1d(everything, rows)
    if rest.size < (2 if kind == "unseen" else 1) and not train_on_queries:
        raise DataError(
            f"{kind} split: {rows.size} queries of {n} rows leave too few rows to train on and search"
        )
    if kind == "seen":
        return Split(rows, rest, rest, kind, seed)
    if kind == "paired":
        return Split(rows, everything if train_on_queries else rest, everything, kind, seed)
    shuffled = np.random.default_rng(seed).permutation(rest)
    half = rest.size // 2
    return Split(rows, np.sort(shuffled[:half]), np.sort(shuffled[half:]), kind, seed)


def random_query_rows(n: int, n_query: int, seed: int) -> Rows:
    """Draw ``n_query`` of ``n`` rows without replacement -> (n_query,) int64, ascending.

    Raises
    ------
    UsageError
        Unless 1 <= n_query < n and seed >= 0.
    """
    _check_seed(seed)
    _check_count(n_query, n)
    drawn = np.random.default_rng(seed).choice(n, size=n_query, replace=False, shuffle=False)
    return cast(Rows, np.sort(drawn.astype(np.int64)))


def spread_query_rows(groups: Sequence[str], n_query: int, seed: int) -> Rows:
    """Draw ``n_query`` of n rows, from every group in proportion to its size -> (n_query,) int64, ascending.

    The rows are put in random order inside their group and the groups one after another; every n / n_query-th
    is drawn, from a random start. Figures then vary less from seed to seed than with plain random rows.

    Parameters
    ----------
    groups : the group of each of the n rows.

    Raises
    ------
    UsageError
        Unless 1 <= n_query < n and seed >= 0.
    """
    _check_seed(seed)
    n = len(groups)
    _check_count(n_query, n)
    random = np.random.default_rng(seed)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    order = np.lexsort((random.random(n), group))
    places = (np.arange(n_query) + random.random()) * n / n_query
    return cast(Rows, np.sort(order[places.astype(np.int64)]).astype(np.int64))


def _check_count(n_query: int, n: int) -> None:
    if not 1 <= n_query < n:
        raise UsageError(f"n_query: expected 1 to {n - 1} of {n} rows, got {n_query}")


def check_row_range(what: str, rows: Rows, n: int) -> None:
    """Raise DataError unless the ascending ``rows`` lie in 0 .. n - 1."""
    if rows.size and (rows[0] < 0 or rows[-1] >= n):
        bad = rows[0] if rows[0] < 0 else rows[-1]
        raise DataError(f"{what}: row {bad} is outside the data set's {n} rows")


def _check_kind(kind: str, known: tuple[str, ...] = get_args(SplitKind)) -> None:
    if kind not in known:
        raise UsageError(f"split kind: expected {', '.join(known)}, got {kind!r}")


def _check_seed(seed: int) -> None:
    if seed < 0:
        raise UsageError(f"split seed: expected 0 or more, got {seed}")


def _check_rows(part: str, rows: Rows, may_be_empty: bool) -> None:
    if not isinstance(rows, np.ndarray) or rows.ndim != 1 or rows.dtype != np.int64:
        what = f"{rows.shape} {rows.dtype}" if isinstance(rows, np.ndarray) else type(rows).__name__
        raise DataError(f"split {part}: expected (n,) int64 rows, got {what}")
    if rows.size == 0 and not may_be_empty:
        raise DataError(f"split {part} is empty")
    if np.any(rows[1:] <= rows[:-1]):
        position = int(np.argmax(rows[1:] <= rows[:-1])) + 1
        raise DataError(f"split {part}: rows must ascend without duplicates, position {position} does not")


def _n_common(a: Rows, b: Rows) -> int:
    return int(np.intersect1d(a, b, assume_unique=True).size)
