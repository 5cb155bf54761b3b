"""An index in shards, searched by workers of Ray: the same questions, the same answers as of one index."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.distributed.partial_hits import SearchingShards
from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.shard_folder import Paths, create_shards, shard_paths
from spdq.distributed.sharded_snapshot import Settings, ShardedSnapshot
from spdq.distributed.shared_ids import shared_id
from spdq.errors import DamagedError, DataError, IncompatibleError, UsageError
from spdq.index.attributes import accept_values
from spdq.index.changing import Attributes, Changing, one_of, repeated_id
from spdq.index.ids import IdArray, Uint8Array, accept_ids, show_id, sort_keys
from spdq.index.index import KIND, Index
from spdq.index.inputs import following_ids
from spdq.index.segments import MissingFileError
from spdq.index.statistics import statistics
from spdq.index.store import open_attributes

_SHARED = (*KIND, "model_fingerprint")
"""Settings in which all shards agree."""


class ShardedIndex(SearchingShards, Changing):
    """Several index directories with one set of codebooks, searched together: results are those of one ``Index``.

    ``open`` or ``create`` it. Actors of Ray map the shards' codes and scan them; this process opens the catalogues and
    answers all else. Paths are the same on all machines. A shard is an ``Index`` in every way and may be opened as one.

    Each change is safe against a crash within a shard, and all or none there. What touches several shards (``remove``
    and ``update`` of their items, ``compact``) is checked whole before the first is changed and then done shard by
    shard: after a crash or a full disk in between some shards have it and others do not; do it again.
    """

    def __init__(self, paths: list[Path], shards: list[Index], settings: Settings, stack: ExitStack) -> None:
        self._paths = paths
        self._shards = shards
        self._settings = settings
        self._stack = stack
        self._lock = threading.Lock()
        self._closed = False
        self._codebooks = shards[0].codebooks
        self._snapshot = self._loaded(self._combined())

    @classmethod
    def open(
        cls,
        paths: Paths,
        address: str | None = None,
        writable: bool = False,
        verify: bool = True,
        timeout: float = 60.0,
        workers: ScanWorkers | None = None,
    ) -> ShardedIndex:
        """Open shards at their newest generations.

        Parameters
        ----------
        paths
            A folder of index directories, or a list of them.
        address
            Of a Ray cluster; None takes the Ray of this process, or starts a private one for as long as this is open.
        writable
            Become the one writer of every shard.
        verify
            Check every checksum (in the workers), and that no id is in two shards: where the shards' ranges of ids
            overlap that reads all ids, a second for ten million numbers.
        timeout
            Seconds that workers have for an answer. One that has not is ended and started anew.
        workers
            Those to use, shared with other indexes; None starts one a shard, or as many as Ray has CPUs free.

        Raises
        ------
        NotFoundError
            No shards, or one is missing.
        IncompatibleError
            They differ in codebooks, metric, kind of ids, attributes or model.
        DataError
            An id is in two shards.
        DamagedError, LockedError, StorageError
            As ``Index.open``.
        UnavailableError
            Workers do not start or answer in time.
        """
        if not timeout > 0:
            raise UsageError(f"timeout must be more than 0 seconds, got {timeout!r}")
        found = shard_paths(paths)
        with ExitStack() as stack:
            shards = [stack.enter_context(Index.open(path, writable, verify=False)) for path in found]
            _check_alike(found, shards)
            if verify:
                _check_attributes(found, shards)
            name = uuid.uuid4().hex
            if workers is None:
                workers = stack.enter_context(ScanWorkers(address=address, most=len(found)))
            else:
                stack.callback(workers.forget, name)
            index = cls(found, shards, Settings(workers, timeout, verify, name), stack)
            if verify:
                index._refuse_shared_ids(index._snapshot)
            index._stack = stack.pop_all()
            return index

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        quantizer: object,
        n_shards: int,
        *,
        address: str | None = None,
        timeout: float = 60.0,
        workers: ScanWorkers | None = None,
        **settings: Any,
    ) -> ShardedIndex:
        """Make a folder of empty shards, complete or not at all, and open it for writing.

        ``settings`` are those of ``Index.create``, the others those of ``open``. Raises as the two.
        """
        create_shards(Path(folder), n_shards, quantizer, **settings)
        return cls.open(folder, address, writable=True, timeout=timeout, workers=workers)

    def remove(self, ids: npt.ArrayLike, missing: str = "raise") -> int:
        """Remove items by their ids (n,), whatever shards they are in, and return how many were there.

        Raises as ``Index.remove``.
        """
        one_of(missing, ("raise", "ignore"))
        with self._lock:
            self._check_writable()
            snapshot = self._snapshot
            wanted = accept_ids(ids, None, self.id_kind)
            if missing == "raise":
                _refuse_repeated(wanted)
                snapshot.find_all(wanted)
            places = snapshot.shards_of(wanted)
            with self._changed():
                return sum(
                    self._shards[place].remove(wanted[places == place], missing)
                    for place in np.unique(places[places >= 0]).tolist()
                )

    def compact(self) -> None:
        """``Index.compact`` of every shard."""
        with self._lock:
            self._check_writable()
            with self._changed():
                for shard in self._shards:
                    shard.compact()

    def merge_from(self, other: Index) -> None:
        """Add all items of an index to the shard with the fewest. Raises as ``Index.merge_from``."""
        with self._lock:
            self._check_writable()
            if isinstance(other, Index):
                self._refuse_known(accept_ids(other.ids, None, other.id_kind))
            with self._changed():
                self._shards[self._smallest()].merge_from(other)

    def refresh(self) -> bool:
        """Go on to the newest generation of every shard; returns whether there was a newer one.

        Raises as ``Index.refresh``, DataError where an id has come to be in two shards.
        """
        with self._lock:
            self._opened()
            for shard in self._shards:
                shard.refresh()
            newest = self._combined()
            if newest.state == self._snapshot.state:
                return False
            newest = self._loaded(newest)
            if self._settings.verify:
                self._refuse_shared_ids(newest)
            self._snapshot = newest
            return True

    def reopen(self) -> None:
        """``Index.reopen`` of every shard."""
        with self._lock:
            self._opened()
            with self._changed():
                for shard in self._shards:
                    shard.reopen()

    def stats(self) -> dict[str, Any]:
        """As ``Index.stats``, of all shards, and under ``shards`` the path, items and generation of each."""
        snapshot = self._opened()
        writable = all(shard.stats()["writable"] for shard in self._shards)
        facts = statistics(snapshot, self._codebooks, None, writable)
        shards = [
            {"path": str(path), "items": shard.n_items, "generation": shard.state.generation}
            for path, shard in zip(self._paths, snapshot.shards, strict=True)
        ]
        return {**facts, "path": str(self._paths[0].parent), "shards": shards}

    def verify(self) -> None:
        """``Index.verify`` of every shard, and that no id is in two. Raises DamagedError."""
        self._opened()
        for shard in self._shards:
            shard.verify()
        if (shared := shared_id(self._opened().segments)) is not None:
            raise DamagedError(f"two items have the id {show_id(shared)}. Remove it from all shards but one")

    def close(self) -> None:
        """Release shards, locks and workers; searching and changing raise from now on."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._stack.close()

    def __enter__(self) -> ShardedIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(
        self,
        codes: Uint8Array,
        ids: npt.ArrayLike | None,
        attributes: Attributes | None,
        measured: tuple[float, int],
        missing: str | None,
    ) -> None:
        """New items go to the shard with the fewest, all of a call to one; others stay where they are."""
        with self._lock:
            self._check_writable()
            state = self._snapshot.state
            if ids is None:
                wanted = following_ids(state.meta["largest_id"], len(codes), self.id_kind)
            else:
                wanted = accept_ids(ids, len(codes), self.id_kind)
            accept_values(attributes, state.attributes, len(codes))
            _refuse_repeated(wanted)
            if missing is None:
                self._refuse_known(wanted)
            elif missing == "raise":
                self._snapshot.find_all(wanted)
            places = self._snapshot.shards_of(wanted)
            places[places < 0] = self._smallest()
            with self._changed():
                for place in np.unique(places).tolist():
                    rows = np.flatnonzero(places == place).tolist()
                    some = attributes
                    if attributes and len(rows) < len(wanted):
                        some = {name: [column[row] for row in rows] for name, column in attributes.items()}
                    self._shards[place]._change(codes[rows], wanted[rows], some, measured, missing)
                    measured = 0.0, 0

    def _smallest(self) -> int:
        """The place of the shard with the fewest items, the first among equals."""
        return int(np.argmin([len(shard) for shard in self._shards]))

    def _refuse_known(self, ids: IdArray) -> None:
        known = np.flatnonzero(self._snapshot.find(ids)[1] >= 0)
        if known.size:
            raise DataError(f"duplicate id {show_id(ids[known[0]])}")

    def _check_writable(self) -> None:
        self._opened()
        for shard in self._shards:
            shard._check_writable()

    @contextmanager
    def _changed(self) -> Iterator[None]:
        """Show what shards hold after a change, also where it failed on the way; workers are told when next asked."""
        try:
            yield
        finally:
            self._snapshot = self._combined()

    def _combined(self) -> ShardedSnapshot:
        return ShardedSnapshot(self._settings, self._paths, [shard._opened() for shard in self._shards])

    def _loaded(self, snapshot: ShardedSnapshot) -> ShardedSnapshot:
        """A snapshot that the workers have mapped: a newer one where a writer has replaced files meanwhile."""
        while True:
            try:
                snapshot.load()
                return snapshot
            except MissingFileError:
                if not any(shard.refresh() for shard in self._shards):
                    raise
                snapshot = self._combined()

    def _refuse_shared_ids(self, snapshot: ShardedSnapshot) -> None:
        if (shared := shared_id(snapshot.segments)) is not None:
            places = [path for path, shard in zip(self._paths, self._shards, strict=True) if shared in shard]
            raise DataError(
                f"the id {show_id(shared)} is in several shards: {', '.join(map(str, places))}. "
                "Remove it from all but one"
            )


def _check_alike(paths: list[Path], shards: list[Index]) -> None:
    """Raise IncompatibleError where shards do not belong together."""
    first = shards[0]._opened().state.meta
    for path, shard in zip(paths, shards, strict=True):
        meta = shard._opened().state.meta
        for name in _SHARED:
            if meta[name] != first[name]:
                raise IncompatibleError(
                    f"the shards differ in {name.replace('_', ' ')}: {first[name]} in {paths[0]}, "
                    f"{meta[name]} in {path}"
                )


def _check_attributes(paths: list[Path], shards: list[Index]) -> None:
    """Verify the checksums of what workers never see. Raises DamagedError."""
    for path, shard in zip(paths, shards, strict=True):
        state = shard._opened().state
        for row in state.segments:
            if row.attributes_size:
                open_attributes(path, row, state, verify=True)


def _refuse_repeated(ids: IdArray) -> None:
    if (repeated := repeated_id(ids[np.argsort(sort_keys(ids), kind="stable")])) is not None:
        raise DataError(f"duplicate id {show_id(repeated)}")
