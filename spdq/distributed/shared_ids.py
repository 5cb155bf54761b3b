"""Whether an id is in two shards: they are read in the order of the ids, all together, some at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from spdq.index.ids import IdArray, Int64Array
from spdq.index.segments import Segment

AT_ONCE = 1 << 18
"""Ids of each segment in memory."""


def shared_id(segments: Sequence[Segment]) -> Any:
    """The first id that two items of segments have, None where all differ. Raises DamagedError.

    Where no segment's range of ids meets another's this reads their ends alone; else all ids, in time n log(segments).
    """
    ends = sorted(_ends(segment) for segment in segments)
    if all(last < first for (_, last), (first, _) in pairwise(ends)):
        return None
    readers = [_Reader(segment) for segment in segments]
    while readers:
        # All ids up to the border have been read, of every segment.
        border = min(reader.ids[-1] for reader in readers)
        ids = np.sort(np.concatenate([reader.take(border) for reader in readers]), kind="stable")
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            return repeated[0]
        readers = [reader for reader in readers if len(reader.ids)]
    return None


def _ends(segment: Segment) -> tuple[Any, Any]:
    first, last = segment.take_ids(np.array([0, len(segment) - 1])).tolist()
    return first, last


class _Reader:
    """The ids of a segment's items, ascending, a run in memory."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._next = 0
        self.ids = self._run()

    def take(self, border: Any) -> IdArray:
        """Those up to a border, which are then done with."""
        count = int(np.searchsorted(self.ids, border, side="right"))
        taken, self.ids = self.ids[:count], self.ids[count:]
        if not len(self.ids):
            self.ids = self._run()
        return taken

    def _run(self) -> IdArray:
        """The next ids; none at the end alone."""
        while True:
            rows: Int64Array = np.arange(self._next, min(self._next + AT_ONCE, len(self._segment)))
            self._next += len(rows)
            ids = self._segment.take_ids(rows[~self._segment.removed[rows]])
            if len(ids) or not len(rows):
                return ids
