"""Click logs: which picture was clicked how often for which query."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from dataclasses import dataclass
from itertools import compress, repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spdq.data.click_rows import ClickRows, click_rows
from spdq.data.dataset_checks import MAX_CLICKS, is_storable
from spdq.data.extractor import Progress
from spdq.data.query_items import QueryItems, normalised_query, pairs_of
from spdq.data.splits import Rows
from spdq.errors import DataError, UsageError

Ids = npt.NDArray[np.int64] | npt.NDArray[np.str_]

MERGE_ROWS = 1 << 23
"""Rows that wait at least before equal pairs among them are joined."""


@dataclass(frozen=True)
class ClickFindings:
    """What became of the rows of a log.

    Parameters
    ----------
    rows : read.
    unclicked : rows with 0 clicks, dropped.
    unknown : rows of images that the data set lacks, dropped.
    repeated : rows added to an earlier one of the same query and image.
    rare : pairs of query and image with too few clicks, dropped after their rows were added up.
    """

    rows: int
    unclicked: int
    unknown: int
    repeated: int
    rare: int

    def describe(self) -> dict[str, int]:
        """The same, JSON-ready."""
        return dataclasses.asdict(self)


def read_clicks(
    path: str | os.PathLike[str],
    ids: Ids,
    *,
    min_clicks: int = 1,
    skip_unknown: bool = False,
    progress: Progress | None = None,
) -> tuple[QueryItems, ClickFindings]:
    """Read a log with the columns query, image and clicks (others are ignored), whatever the order of its rows.

    ``.tsv`` has a header line, fields parted by tabs and no quotes; ``.jsonl`` an object a line; both may end in
    ``.gz``, too; ``.parquet`` needs the extra ``parquet``. Queries that differ only in case, compatibility forms
    (NFKC) or blanks are one. Clicks of the same query and image are added up. The queries are sorted.

    Never holds more than one block of rows as text; beside it stand the distinct queries and pairs.

    Parameters
    ----------
    ids : (n,) ids of the items, what the column image names.
    min_clicks : pairs with fewer clicks in all are dropped.
    skip_unknown : whether rows of images that are not among the ids are dropped and counted, not refused.
    progress : called with bytes (of Parquet: rows) done and in all.

    Raises
    ------
    NotFoundError, MissingExtraError, UsageError
        As ``click_rows``; UsageError also for ``min_clicks`` below 1.
    DataError
        As ``click_rows``; an empty query, a NUL character or a lone surrogate in one, an unknown image, more than
        10**9 clicks in sum, or no pair is left.
    """
    if min_clicks < 1:
        raise UsageError(f"min_clicks: expected 1 or more, got {min_clicks}")
    log = _Log(Path(path), ids)
    for rows in click_rows(log.path, progress):
        log.add(rows)
    log.check_images(skip_unknown)
    return log.pairs(min_clicks)


class _Log:
    """What was read of a log so far."""

    def __init__(self, path: Path, ids: Ids) -> None:
        self.path = path
        self._ids = ids
        self._row_of = {str(key): row for row, key in enumerate(ids.tolist())}
        self._number_of: defaultdict[str, int] = defaultdict()
        self._number_of.default_factory = self._number_of.__len__  # a new query gets the next number
        self._totals = _Totals()
        self._rows = self._unclicked = self._unknown = 0
        self._first_unknown = ""

    def add(self, rows: ClickRows) -> None:
        queries = _normalised(rows)
        item = np.fromiter(map(self._row_of.get, rows.images, repeat(-1)), np.int64, len(queries))
        known, clicked = item >= 0, rows.clicks > 0
        if not self._unknown and not known.all():
            place = int(np.argmin(known))
            self._first_unknown = f"{rows.where(place)}: unknown image {rows.images[place][:80]!r}"
        self._rows += len(queries)
        self._unknown += int((~known).sum())
        self._unclicked += int((known & ~clicked).sum())
        kept = known & clicked
        number = np.fromiter(map(self._number_of.__getitem__, compress(queries, kept)), np.int64, kept.sum())
        self._totals.add(number * len(self._ids) + item[kept], rows.clicks[kept])

    def check_images(self, skip_unknown: bool) -> None:
        """Raise DataError for unknown images, with the number of all of them."""
        if self._unknown and not skip_unknown:
            raise DataError(
                f"{self._first_unknown}; {self._unknown:,} of {self._rows:,} rows name images that are no ids of "
                f"the items, such as {self._ids[0]}: correct them, or leave these rows out (--skip-unknown)"
            )

    def pairs(self, min_clicks: int) -> tuple[QueryItems, ClickFindings]:
        keys, clicks = self._totals.merged()
        texts = list(self._number_of)
        number, item = np.divmod(keys, len(self._ids))
        if clicks.size and clicks.max() > MAX_CLICKS:
            most = int(clicks.argmax())
            raise DataError(
                f'{self.path}: query "{texts[number[most]]}", image {self._ids[item[most]]}: expected at most '
                f"{MAX_CLICKS:,} clicks in sum, got {clicks[most]:,}"
            )
        enough = clicks >= min_clicks
        found = ClickFindings(
            rows=self._rows,
            unclicked=self._unclicked,
            unknown=self._unknown,
            repeated=self._rows - self._unknown - self._unclicked - len(keys),
            rare=int((~enough).sum()),
        )
        if not enough.any():
            raise DataError(
                f"{self.path}: no click is left of {found.rows:,} rows: {found.unclicked:,} have 0 clicks, "
                f"{found.unknown:,} name unknown images, {found.rare:,} pairs of query and image have fewer than "
                f"{min_clicks} clicks"
            )
        return _sorted_pairs(texts, number[enough], item[enough], clicks[enough]), found


class _Totals:
    """Sums by key. Needs memory for the distinct keys and about as many rows more, or MERGE_ROWS."""

    def __init__(self) -> None:
        self._keys, self._sums = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        self._waiting = 0

    def add(self, keys: Rows, values: Rows) -> None:
        self._keys.append(keys)
        self._sums.append(values)
        self._waiting += len(keys)
        if self._waiting > max(MERGE_ROWS, len(self._keys[0])):
            self.merged()

    def merged(self) -> tuple[Rows, Rows]:
        """Distinct keys, ascending, and the sum of each."""
        keys, sums = np.concatenate(self._keys), np.concatenate(self._sums)
        if keys.size:
            order = np.argsort(keys)
            keys, sums = keys[order], sums[order]
            starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
            keys, sums = keys[starts], np.add.reduceat(sums, starts)
        self._keys, self._sums, self._waiting = [keys], [sums], 0
        return keys, sums


def _normalised(rows: ClickRows) -> list[str]:
    """The queries, normalised; DataError for one that is empty or cannot be stored."""
    if not is_storable("".join(rows.queries)):
        place = next(place for place, query in enumerate(rows.queries) if not is_storable(query))
        got = repr(rows.queries[place][:80])
        raise DataError(f"{rows.where(place)}: query: a NUL character or a lone surrogate in {got}")
    queries = [normalised_query(query) for query in rows.queries]
    if not all(queries):
        raise DataError(f"{rows.where(queries.index(''))}: query: expected text, got an empty one")
    return queries


def _sorted_pairs(texts: list[str], number: Rows, item: Rows, clicks: Rows) -> QueryItems:
    """The pairs, which ascend by (number, item), with the texts that still have some sorted."""
    is_first = np.r_[True, number[1:] != number[:-1]]
    texts = list(map(texts.__getitem__, number[is_first].tolist()))
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__))
    pairs, query = pairs_of(np.cumsum(is_first) - 1, order)
    return QueryItems(tuple(map(texts.__getitem__, order.tolist())), query, item[pairs], clicks[pairs])
