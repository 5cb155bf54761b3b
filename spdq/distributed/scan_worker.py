"""What scans shards, in a process of its own: segments mapped from the files it is told, and no catalogue.

It knows generations by a key made of all that they consist of and answers from exactly the one it is asked for. Where
it has not got that one, or not the bits of a filter, it says so and is told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spdq.index.catalogue import State
from spdq.index.segments import Segment, SegmentRow
from spdq.index.snapshot import Floats, Nearest, Snapshot, Within
from spdq.index.store import open_segment
from spdq_kernels import RowFilter, warmup
from spdq_kernels.dispatch import SCANNING

MAX_FILTERS = 64
"""Filters a worker keeps, those used last, for each generation."""
MAX_GENERATIONS = 2
"""Generations of an index that a worker keeps: a search may still ask for the one before the newest."""


@dataclass(frozen=True)
class ShardFiles:
    """One shard's part of a generation: where it lies and what its catalogue says of the segments."""

    path: str
    generation: int
    rows: tuple[SegmentRow, ...]
    """Names, sizes, checksums and bitmaps of removed rows; none of attributes."""


@dataclass(frozen=True)
class Part:
    """What one worker has of one generation of an index."""

    index: str
    """Which index, of all that were opened."""
    key: str
    """Differs for whatever else differs."""
    meta: Mapping[str, Any]
    shards: tuple[ShardFiles, ...]
    verify: bool


FilterBits = Mapping[int, NDArray[np.uint8]]
"""Allowed rows by the place of the segment in its part, a bit each, row r is bit r % 8 of byte r // 8."""


class Lacking(NamedTuple):
    """In place of an answer: what the worker has not got."""

    part: bool
    filters: tuple[str, ...] = ()
    """Those of the filters it was asked to use whose bits it needs."""


class _Bits:
    """A filter as it was sent, in the place of the one it was made from."""

    def __init__(self, snapshot: Snapshot, bits: FilterBits) -> None:
        self._of_segment = {}
        for place, segment in enumerate(snapshot.segments):
            allowed = np.unpackbits(bits[place], count=len(segment), bitorder="little").view(np.bool_)
            self._of_segment[segment] = RowFilter(allowed)

    def rows(self, segment: Segment) -> RowFilter:
        return self._of_segment[segment]


class _Held:
    """A generation that a worker has."""

    def __init__(self, part: Part, known: Mapping[tuple[str, str], Segment]) -> None:
        self.segments: dict[tuple[str, str], Segment] = {}
        state = State(part.meta, (), 0)
        for shard in part.shards:
            for row in shard.rows:
                place = shard.path, row.name
                old = known.get(place)
                if old is None:
                    self.segments[place] = open_segment(Path(shard.path), row, state, part.verify)
                else:
                    self.segments[place] = old if old.row == row else old.with_row(row)
        self.snapshot = Snapshot(state, list(self.segments.values()))
        self.filters: OrderedDict[str, _Bits] = OrderedDict()

    def filters_of(
        self, names: Sequence[str | None] | None, sent: Mapping[str, FilterBits]
    ) -> list[Any] | Lacking | None:
        """The filters of some names; ``sent`` has the bits of those that are new here."""
        if names is None:
            return None
        wanted = dict.fromkeys(name for name in names if name is not None)
        lacking = tuple(name for name in wanted if name not in sent and name not in self.filters)
        if lacking:
            return Lacking(False, lacking)
        found = {}
        for name in wanted:
            one = self.filters.pop(name, None)
            found[name] = self.filters[name] = one or _Bits(self.snapshot, sent[name])
        while len(self.filters) > MAX_FILTERS:
            self.filters.popitem(last=False)
        return [None if name is None else found[name] for name in names]


class ScanWorker:
    """Scans the shards it is told of, with so many threads."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._held: dict[str, OrderedDict[str, _Held]] = {}
        warmup(SCANNING)

    def ready(self) -> None:
        """Return once the worker can answer."""

    def take(self, part: Part) -> None:
        """Map what is new in a generation, its checksums verified if it says so. Raises DamagedError."""
        held = self._held.get(part.index, OrderedDict())
        if part.key not in held:
            known = {place: segment for one in held.values() for place, segment in one.segments.items()}
            held[part.key] = _Held(part, known)
            self._held[part.index] = held
        held.move_to_end(part.key)
        while len(held) > MAX_GENERATIONS:
            held.popitem(last=False)

    def forget(self, index: str) -> None:
        """Unmap all of an index."""
        self._held.pop(index, None)

    def search(
        self,
        index: str,
        key: str,
        tables: Floats,
        k: int,
        bounds: Floats | None,
        filters: Sequence[str | None] | None,
        sent: Mapping[str, FilterBits],
        threads: int | None,
    ) -> Nearest | Lacking:
        """``Snapshot.search`` of a part."""
        asked = self._asked(index, key, filters, sent)
        if isinstance(asked, Lacking):
            return asked
        snapshot, chosen = asked
        return snapshot.search(tables, k, chosen, threads or self._threads, bounds)

    def search_within(
        self,
        index: str,
        key: str,
        tables: Floats,
        radius: float,
        filters: Sequence[str | None] | None,
        sent: Mapping[str, FilterBits],
        threads: int | None,
    ) -> Within | Lacking:
        """``Snapshot.search_within`` of a part."""
        asked = self._asked(index, key, filters, sent)
        if isinstance(asked, Lacking):
            return asked
        snapshot, chosen = asked
        return snapshot.search_within(tables, radius, chosen, threads or self._threads)

    def _asked(
        self, index: str, key: str, filters: Sequence[str | None] | None, sent: Mapping[str, FilterBits]
    ) -> tuple[Snapshot, list[Any] | None] | Lacking:
        held = self._held.get(index)
        if held is None or key not in held:
            return Lacking(True)
        chosen = held[key].filters_of(filters, sent)
        return chosen if isinstance(chosen, Lacking) else (held[key].snapshot, chosen)
