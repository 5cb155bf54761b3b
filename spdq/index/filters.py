"""Which items a search may return: given by their ids, by a mask, or by what their attributes say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, UsageError
from spdq.index.attribute_table import check_expression
from spdq.index.ids import IdArray
from spdq.index.segments import Segment
from spdq.index.snapshot import Snapshot
from spdq_kernels import RowFilter

Mask = npt.NDArray[np.bool_]


class Filter:
    """What ``Index.filter`` makes. Keep it to use it again: each segment's answer is worked out once.

    It stays true as the index changes: items added later are judged by the same condition and ids. One made from a mask
    belongs to the generation it was made for.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        where: str | None,
        allow: IdArray | None,
        deny: IdArray | None,
        mask: Mask | None,
    ) -> None:
        self._meta = snapshot.state.meta
        self._where = where
        self._allow = allow
        self._deny = deny
        self._generation = None if mask is None else snapshot.state.generation
        self._of_segment: WeakKeyDictionary[Segment, RowFilter] = WeakKeyDictionary()
        if where is not None:
            check_expression(where, snapshot.state.attributes)
        if mask is not None:
            self._split(snapshot, mask)

    def check(self, snapshot: Snapshot) -> None:
        """Raise UsageError where it cannot be used on a snapshot."""
        theirs: Mapping[str, Any] = snapshot.state.meta
        if any(theirs[name] != self._meta[name] for name in ("ids", "attributes", "codebook_fingerprint")):
            raise UsageError("the filter was made for another index")
        if self._generation not in (None, snapshot.state.generation):
            raise UsageError(
                f"the mask of the filter is for generation {self._generation} of the index, "
                f"which is now at {snapshot.state.generation}: make a new filter"
            )
        if self._generation is not None and not all(one in self._of_segment for one in snapshot.segments):
            raise UsageError("the mask of the filter was made for another index, or for one opened before")

    def rows(self, segment: Segment) -> RowFilter:
        """The rows of a segment that it lets through, none of them removed."""
        if segment not in self._of_segment:
            self._of_segment[segment] = RowFilter(self._chosen(segment) & ~segment.removed)
        return self._of_segment[segment]

    def _split(self, snapshot: Snapshot, mask: Mask) -> None:
        """Share a mask over the ascending ids out to the segments."""
        if mask.shape != (snapshot.n_items,):
            raise DataError(
                f"expected a mask of {snapshot.n_items} items in the order of their ids, got shape {mask.shape}"
            )
        of_place = np.empty(len(mask), np.bool_)
        of_place[snapshot.in_order()[1]] = mask
        at = 0
        for segment in snapshot.segments:
            chosen = np.zeros(len(segment), np.bool_)
            chosen[segment.rows] = of_place[at : at + segment.n_live]
            at += segment.n_live
            self._of_segment[segment] = RowFilter(chosen & self._chosen(segment))

    def _chosen(self, segment: Segment) -> Mask:
        chosen = np.ones(len(segment), np.bool_)
        if self._where is not None and segment.attributes is not None:
            chosen &= segment.attributes.select(self._where)
        if self._allow is not None:
            chosen &= _marked(segment, self._allow)
        if self._deny is not None:
            chosen &= ~_marked(segment, self._deny)
        return chosen


def _marked(segment: Segment, ids: IdArray) -> Mask:
    rows = segment.find(ids)
    marked = np.zeros(len(segment), np.bool_)
    marked[rows[rows >= 0]] = True
    return marked


def accept_mask(mask: npt.ArrayLike) -> Mask:
    """A mask (n,) bool. Raises DataError."""
    try:
        array = np.asarray(mask)
    except ValueError as error:
        raise DataError(f"expected a mask of bools: {error}") from None
    if array.dtype != np.bool_:
        raise DataError(f"expected a mask of bools, got {array.dtype}")
    return array
