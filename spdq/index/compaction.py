"""Fewer, fuller segments: which are worth merging, and how they are merged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spdq.index.attributes import Values
from spdq.index.ids import IdArray, Int64Array, Uint8Array, sort_keys
from spdq.index.segments import Segment

MAX_SEGMENTS = 32
MAX_REMOVED = 0.3
"""Largest share of a segment's rows that may be removed before it is written anew."""


@dataclass(frozen=True)
class Items:
    """Items on their way into a segment: ids ascending, and what goes with them."""

    ids: IdArray
    codes: Uint8Array
    """(n, M) uint8."""
    attributes: Iterator[tuple[int, Values]] | None
    """Row and values, in any order; None in an index without attributes."""
    squared_error: float
    n_measured: int


def worth_merging(segments: Sequence[Segment]) -> list[Segment]:
    """The segments to merge beside a change, none most of the time.

    Those of which much has been removed; and with too many segments the smaller half, so that an item is rewritten only
    as often as its segment has doubled.
    """
    chosen = [segment for segment in segments if segment.n_live < (1 - MAX_REMOVED) * len(segment)]
    others = sorted((segment for segment in segments if segment not in chosen), key=lambda one: one.n_live)
    if len(others) + bool(chosen) > MAX_SEGMENTS:
        chosen += others[: MAX_SEGMENTS // 2]
    return chosen


def merged(segments: Sequence[Segment]) -> Items:
    """What is left in some segments, together. Raises DamagedError."""
    ids = np.concatenate([segment.ids for segment in segments])
    order = np.argsort(sort_keys(ids), kind="stable")
    codes = np.concatenate([segment.codes for segment in segments])
    errors, counts = zip(*map(_measured, segments), strict=True)
    return Items(
        ids[order],
        codes[order],
        None if segments[0].attributes is None else _attributes(segments, order),
        sum(errors),
        sum(counts),
    )


def _measured(segment: Segment) -> tuple[float, int]:
    """The sum of the squared errors of the measured items that are left, and their number.

    Which are gone is not known: as many as of the others, rounded so that the mean stays known.
    """
    row = segment.row
    count = -(-row.n_measured * segment.n_live // len(segment))
    return row.squared_error * count / max(row.n_measured, 1), count


def _attributes(segments: Sequence[Segment], order: Int64Array) -> Iterator[tuple[int, Values]]:
    """The values of the rows that are left, by their new rows."""
    new_row = np.empty(len(order), np.int64)
    new_row[order] = np.arange(len(order))
    at = 0
    for segment in segments:
        if segment.attributes is None:
            continue
        kept = ~segment.removed
        place = np.cumsum(kept) - 1 + at
        for row, values in segment.attributes.all():
            if kept[row]:
                yield int(new_row[place[row]]), values
        at += segment.n_live
