"""Answers that may miss shards: only where they are asked for, and with one part more than whole ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy.typing as npt

from spdq.distributed.sharded_snapshot import ShardedSnapshot
from spdq.index.ids import IdArray, Int64Array
from spdq.index.searching import Asked, Searching
from spdq.index.snapshot import Floats


class PartialHits(NamedTuple):
    """What ``search`` found where some shards may be missing."""

    distances: Floats
    ids: IdArray
    missing: tuple[Path, ...]
    """The shards without an answer to some of the queries; none where the answer is whole."""


class PartialRange(NamedTuple):
    """What ``range_search`` found where some shards may be missing."""

    limits: Int64Array
    distances: Floats
    ids: IdArray
    missing: tuple[Path, ...]


class SearchingShards(Searching):
    """The searches of an index whose shards may be lost."""

    _snapshot: ShardedSnapshot

    @overload
    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
        allow_partial: Literal[False] = False,
    ) -> tuple[Floats, IdArray]: ...

    @overload
    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
        *,
        allow_partial: bool,
    ) -> Any: ...

    def search(
        self,
        queries: npt.ArrayLike,
        k: int = 10,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
        allow_partial: bool = False,
    ) -> Any:
        """Find the k nearest items of each query as ``Index.search`` does; ``threads`` are those of each worker.

        With ``allow_partial`` three things come back instead of two, ``PartialHits``: a worker that is lost, or has
        not answered in time, is then no error, and its shards are named in ``missing``.

        Raises as ``Index.search``, UnavailableError naming the shards whose worker is lost.
        """
        snapshot = self._opened()
        if not allow_partial:
            return self._search(snapshot, queries, k, filter, threads, mix)
        tolerant, lost = snapshot.tolerant()
        found = self._search(tolerant, queries, k, filter, threads, mix)
        return PartialHits(*found, tuple(sorted(lost)))

    @overload
    def range_search(
        self,
        queries: npt.ArrayLike,
        radius: float,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
        allow_partial: Literal[False] = False,
    ) -> tuple[Int64Array, Floats, IdArray]: ...

    @overload
    def range_search(
        self,
        queries: npt.ArrayLike,
        radius: float,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
        *,
        allow_partial: bool,
    ) -> Any: ...

    def range_search(
        self,
        queries: npt.ArrayLike,
        radius: float,
        filter: Asked = None,
        threads: int | None = None,
        mix: npt.ArrayLike | None = None,
        allow_partial: bool = False,
    ) -> Any:
        """Find all items nearer than ``radius`` as ``Index.range_search`` does; with ``allow_partial`` as ``search``.

        Then ``PartialRange`` comes back. Raises as ``search``.
        """
        snapshot = self._opened()
        if not allow_partial:
            return self._range_search(snapshot, queries, radius, filter, threads, mix)
        tolerant, lost = snapshot.tolerant()
        found = self._range_search(tolerant, queries, radius, filter, threads, mix)
        return PartialRange(*found, tuple(sorted(lost)))

    def _opened(self) -> ShardedSnapshot:
        """The generation to answer from."""
        super()._opened()
        return self._snapshot
