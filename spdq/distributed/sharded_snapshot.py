"""One generation of a sharded index: what scans is asked of workers, all else of the segments mapped here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from spdq.distributed.scan_worker import FilterBits, Lacking, Part, ShardFiles
from spdq.distributed.scan_workers import ScanWorkers
from spdq.errors import UnavailableError
from spdq.index.catalogue import State
from spdq.index.filters import Filter
from spdq.index.ids import IdArray, Int64Array
from spdq.index.segments import MissingFileError, Segment, checksum
from spdq.index.snapshot import (
    Filters,
    Floats,
    Nearest,
    Snapshot,
    Within,
    all_within,
    nearest_of,
    sums_that_fit,
)
from spdq_kernels import BLOCK_ROWS, RowFilter, sample_bounds

SAMPLE_BLOCKS = 64
"""Blocks of codes that first bounds are guessed from, as the kernels guess those of one scan ..."""
SAMPLE_SHARE = 8
"""... at most one in this many of all."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Settings:
    """What a sharded index was opened with."""

    workers: ScanWorkers
    timeout: float
    verify: bool
    index: str
    """Its name among all that the workers know."""


class Share:
    """What one worker has of a generation."""

    def __init__(
        self, settings: Settings, number: int, paths: Sequence[Path], shards: Sequence[Snapshot]
    ) -> None:
        self.number = number
        self.paths = tuple(paths)
        self.segments = [segment for shard in shards for segment in shard.segments]
        self.n_items = sum(shard.n_items for shard in shards)
        files = tuple(
            ShardFiles(
                str(path.absolute()),
                shard.state.generation,
                tuple(
                    replace(row, attributes_size=0, attributes_checksum="") for row in shard.state.segments
                ),
            )
            for path, shard in zip(paths, shards, strict=True)
        )
        meta = {name: shards[0].state.meta[name] for name in ("ids", "n_codebooks", "n_words")}
        key = checksum(repr(files).encode())
        self.part = Part(settings.index, key, meta, files, settings.verify)

    @property
    def name(self) -> str:
        """How errors name it."""
        return f"scan worker {self.number} with {', '.join(map(str, self.paths))}"


class ShardedSnapshot(Snapshot):
    """The segments of all shards. ``search`` and ``search_within`` are answered by workers, each for its share.

    ``lost`` takes the paths of shards whose worker did not answer; without it that is an error.
    """

    def __init__(
        self,
        settings: Settings,
        paths: Sequence[Path],
        shards: Sequence[Snapshot],
        lost: set[Path] | None = None,
    ) -> None:
        first = shards[0].state.meta
        largest = [shard.state.meta["largest_id"] for shard in shards]
        meta = {
            **first,
            "generation": sum(shard.state.generation for shard in shards),
            "largest_id": max((one for one in largest if one is not None), default=None),
        }
        rows = tuple(row for shard in shards for row in shard.state.segments)
        size = sum(shard.state.catalogue_bytes for shard in shards)
        super().__init__(State(meta, rows, size), [segment for shard in shards for segment in shard.segments])
        self.paths = tuple(paths)
        self.shards = tuple(shards)
        self._settings = settings
        self._lost = lost
        self._filters: WeakKeyDictionary[Filter, tuple[str, set[int]]] = WeakKeyDictionary()

    @cached_property
    def shares(self) -> list[Share]:
        """The largest shards first, each to the worker that has the fewest items so far."""
        count = min(self._settings.workers.count, len(self.shards))
        chosen: list[list[int]] = [[] for _ in range(count)]
        items = [0] * count
        for place in sorted(range(len(self.shards)), key=lambda place: -self.shards[place].n_items):
            number = items.index(min(items))
            chosen[number].append(place)
            items[number] += self.shards[place].n_items + 1
        return [
            Share(self._settings, number, [self.paths[p] for p in places], [self.shards[p] for p in places])
            for number, places in enumerate(chosen)
        ]

    def tolerant(self) -> tuple[ShardedSnapshot, set[Path]]:
        """The same generation, and the set that takes the paths of shards that do not answer."""
        lost: set[Path] = set()
        same = ShardedSnapshot(self._settings, self.paths, self.shards, lost)
        same._filters = self._filters
        return same, lost

    def shards_of(self, ids: IdArray) -> Int64Array:
        """The place of the shard (m,) of each id (m,), -1 for one that is in none."""
        of_segment = np.repeat(np.arange(len(self.shards)), [len(shard.segments) for shard in self.shards])
        places, _ = self.find(ids)
        return np.where(places < 0, -1, np.append(of_segment, -1)[places])

    def load(self) -> None:
        """Have the workers map what is new to them. Raises DamagedError, UnavailableError."""
        self._settings.workers.ask(
            "take", {share.number: (share.part,) for share in self.shares}, self._settings.timeout, self._name
        )

    def search(
        self,
        tables: Floats,
        k: int,
        filters: Filters | None,
        threads: int | None,
        bounds: Floats | None = None,
    ) -> Nearest:
        """The k nearest items of each query, in one round of questions, rarely two.

        The first asks for items within bounds that a sample of all codes gives: what one scan of all would begin with.
        Queries with fewer than k items there are asked again without.
        """
        if not len(tables) or not self.n_items:
            return super().search(tables, k, filters, threads, bounds)
        if bounds is None and filters is None:
            bounds = self._bounds(tables, k)
        found = self._nearest(tables, k, filters, threads, bounds)
        if bounds is None:
            return found
        short = np.flatnonzero(found.counts < min(k, self.n_items))
        if not len(short):
            return found
        again = self._nearest(np.ascontiguousarray(tables[short]), k, filters, threads, None)
        return _replaced(found, short, again)

    def search_within(
        self, tables: Floats, radius: float, filters: Filters | None, threads: int | None
    ) -> Within:
        """All items nearer than a kernel distance."""
        if not len(tables) or not self.n_items:
            return super().search_within(tables, radius, filters, threads)
        shared = self._settings.workers.shared(tables)
        parts = self._answers("search_within", (shared, radius), filters, threads)
        nothing: Within = (np.zeros(len(tables) + 1, np.int64), np.empty(0, np.float32), self.no_ids)
        return all_within([nothing, *parts])

    def _nearest(
        self, tables: Floats, k: int, filters: Filters | None, threads: int | None, bounds: Floats | None
    ) -> Nearest:
        shared = self._settings.workers.shared(tables)
        parts = self._answers("search", (shared, k, bounds), filters, threads)
        return nearest_of([self.nothing(len(tables)), *parts], k)

    def _answers(
        self, method: str, question: tuple[Any, ...], filters: Filters | None, threads: int | None
    ) -> list[Any]:
        """What the workers answer, each told what it lacks until it lacks nothing, or the time is up."""
        workers, until = self._settings.workers, monotonic() + self._settings.timeout
        names = (
            None if filters is None else [None if one is None else self._filter(one)[0] for one in filters]
        )
        of_name = {self._filter(one)[0]: one for one in filters or () if one is not None}
        waiting = {share.number: share for share in self.shares if share.n_items}
        sent: dict[int, dict[str, FilterBits]] = {
            number: {
                name: _bits(share.segments, one)
                for name, one in of_name.items()
                if number not in self._filter(one)[1]
            }
            for number, share in waiting.items()
        }
        answers = []
        while waiting:
            requests = {
                number: (share.part.index, share.part.key, *question, names, sent[number], threads)
                for number, share in waiting.items()
            }
            lost: dict[int, UnavailableError] = {}
            left = until - monotonic()
            replies = workers.ask(method, requests, left, self._name, lost)
            for number, reply in replies.items():
                if not isinstance(reply, Lacking):
                    for one in of_name.values():
                        self._filter(one)[1].add(number)
                    answers.append(reply)
                    del waiting[number]
                elif reply.part:
                    self._tell(waiting[number], until, lost)
                else:
                    for name in reply.filters:
                        sent[number][name] = _bits(waiting[number].segments, of_name[name])
            for number, error in lost.items():
                if self._lost is None:
                    raise error
                self._lost.update(waiting.pop(number).paths)
        return answers

    def _bounds(self, tables: Floats, k: int) -> Floats | None:
        if len(self.segments) < 2 or self._sample is None:
            return None
        blocks, allowed = self._sample
        with sums_that_fit():
            return sample_bounds(tables, blocks, allowed.n_rows, k, self.n_items, allowed=allowed)

    @cached_property
    def _sample(self) -> tuple[Any, RowFilter] | None:
        """Some blocks of all segments, evenly apart, and which of their rows count."""
        borders = np.cumsum([0, *(len(segment.blocks) for segment in self.segments)])
        count = min(SAMPLE_BLOCKS, int(borders[-1]) // SAMPLE_SHARE)
        if not count:
            return None
        blocks, allowed = [], []
        for block in ((np.arange(count) + 0.5) * borders[-1] / count).astype(np.int64).tolist():
            place = int(np.searchsorted(borders, block, side="right")) - 1
            segment, here = self.segments[place], block - int(borders[place])
            rows = slice(here * BLOCK_ROWS, (here + 1) * BLOCK_ROWS)
            live = np.zeros(BLOCK_ROWS, np.bool_)
            kept = ~segment.removed[rows]
            live[: len(kept)] = kept
            blocks.append(segment.blocks[here])
            allowed.append(live)
        return np.stack(blocks), RowFilter(np.concatenate(allowed))

    def _filter(self, one: Filter) -> tuple[str, set[int]]:
        """The name of a filter of this generation, and the numbers of the workers that have had its bits."""
        if one not in self._filters:
            self._filters[one] = uuid.uuid4().hex, set()
        return self._filters[one]

    def _tell(self, share: Share, until: float, lost: dict[int, UnavailableError]) -> None:
        """Send a worker its part; ``lost`` takes what is in the way. Raises DamagedError."""
        try:
            request = {share.number: (share.part,)}
            self._settings.workers.ask("take", request, until - monotonic(), self._name, lost)
        except MissingFileError as error:
            lost[share.number] = UnavailableError(
                f"{share.name} was started anew, and a file of this generation is gone ({error}). "
                "If a writer has replaced it, refresh() and search again"
            )

    def _name(self, number: int) -> str:
        return self.shares[number].name


def _bits(segments: Sequence[Segment], one: Filter) -> Mapping[int, Any]:
    return {
        place: np.packbits(one.rows(segment).mask(), bitorder="little")
        for place, segment in enumerate(segments)
    }


def _replaced(found: Nearest, rows: Any, by: Nearest) -> Nearest:
    """An answer with that of some queries in the place of theirs."""
    width = max(found.ids.shape[1], by.ids.shape[1])
    distances = np.full((len(found.ids), width), np.inf, np.float32)
    ids = np.full((len(found.ids), width), None if found.ids.dtype == object else -1, found.ids.dtype)
    counts = found.counts.copy()
    kept = np.setdiff1d(np.arange(len(counts)), rows)
    distances[kept, : found.ids.shape[1]], distances[rows, : by.ids.shape[1]] = found[0][kept], by[0]
    ids[kept, : found.ids.shape[1]], ids[rows, : by.ids.shape[1]] = found[1][kept], by[1]
    counts[rows] = by.counts
    return Nearest(distances, ids, counts)
