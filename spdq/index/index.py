"""The index: short codes under ids, searched exactly; one class in memory and on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DamagedError, DataError, IncompatibleError, StorageError, UsageError
from spdq.index import compaction, faiss_file
from spdq.index.catalogue import State
from spdq.index.changing import Attributes, Changing, one_of, repeated_id
from spdq.index.ids import IdArray, Uint8Array, accept_ids, show_id, sort_keys
from spdq.index.inputs import codebooks_of, new_settings
from spdq.index.segments import MissingFileError
from spdq.index.snapshot import Snapshot
from spdq.index.statistics import statistics
from spdq.index.store import DirectoryStore, MemoryStore, Store, create_directory
from spdq.index.writer import Writer
from spdq.quantizers.codebooks import Codebooks

KIND = ("codebook_fingerprint", "metric", "ids", "attributes")
"""Settings that an index keeps for good, and that indexes to be merged share."""


class Index(Changing):
    """Items' codes under unique ids, and the exact search over them.

    ``Index(quantizer)`` lives in memory; ``Index.create(path, quantizer)`` and ``Index.open(path)`` live in a
    directory that survives crashes. A reader sees the generation it opened, whatever a writer changes meanwhile, until
    it asks for a newer one with ``refresh``. Several threads may search at once, also while one changes the index.

    Parameters
    ----------
    quantizer
        A fitted ``ProductQuantizer`` or ``AdditiveQuantizer``, or their ``Codebooks``.
    metric
        ``"l2"`` (squared Euclidean distance, smallest first) or ``"ip"`` (inner product, largest first).
    ids
        ``"int"`` (int64) or ``"str"`` (1 to 1,024 UTF-8 bytes).
    attributes
        What else is known of items, by name: ``"int"``, ``"float"``, ``"str"`` or ``"set"`` (of strings).

    Raises
    ------
    UsageError
        An unfitted quantizer, a metric its codebooks do not know, a bad attribute.
    """

    def __init__(
        self,
        quantizer: object,
        metric: str = "l2",
        ids: str = "int",
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        codebooks = codebooks_of(quantizer)
        settings = new_settings(codebooks, metric, ids, attributes, None, None)
        self._attach(MemoryStore(codebooks, settings), True)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        quantizer: object,
        metric: str = "l2",
        ids: str = "int",
        model_fingerprint: str | None = None,
        model_path: str | os.PathLike[str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Index:
        """Make an empty index directory and open it for writing.

        ``model_fingerprint`` and ``model_path`` say which model's vectors the index will hold.

        Raises UsageError where ``path`` exists, NotFoundError without its parent, StorageError.
        """
        codebooks = codebooks_of(quantizer)
        model_path = None if model_path is None else os.fspath(model_path)
        settings = new_settings(codebooks, metric, ids, attributes, model_fingerprint, model_path)
        create_directory(Path(path), codebooks, settings)
        return cls.open(path, writable=True)

    @classmethod
    def open(cls, path: str | os.PathLike[str], writable: bool = False, verify: bool = True) -> Index:
        """Open an index directory at its newest generation, every checksum verified, or on request none.

        Raises NotFoundError, DamagedError naming the file, IncompatibleError for a newer format; with
        ``writable`` also LockedError while another writer holds the index, StorageError on read-only storage.
        """
        index = cls.__new__(cls)
        store = DirectoryStore(Path(path), writable)
        try:
            index._attach(store, verify)
            if writable:
                store.remove_strays(index._snapshot.state)
        except BaseException:
            store.close()
            raise
        return index

    @staticmethod
    def repair(path: str | os.PathLike[str]) -> list[str]:
        """Bring a damaged index directory back to what its intact files hold; returns what was done, line by line.

        Damaged files are moved to ``damaged/``, never deleted. See ``spdq.index.repair``.

        Raises NotFoundError, LockedError, StorageError; DamagedError where the codebooks are beyond repair.
        """
        from spdq.index.repair import repair

        return repair(Path(path))

    def _attach(self, store: Store, verify: bool) -> None:
        self._store = store
        self._closed = False
        self._lock = threading.Lock()
        self._codebooks, self._snapshot = self._newest(verify, None)
        self._writer = Writer(store)

    def _newest(self, verify: bool, known: Snapshot | None) -> tuple[Codebooks, Snapshot]:
        """The codebooks and the newest generation; segments that are known already are not read again."""
        opened = {segment.row: segment for segment in known.segments} if known else {}
        tried: State | None = None
        while True:
            with self._store.catalogue() as catalogue:
                state = catalogue.read()
            codebooks = self._store.codebooks(state.meta)
            try:
                segments = [
                    opened.get(row) or self._store.segment(row, state, verify) for row in state.segments
                ]
                return codebooks, Snapshot(state, segments)
            except MissingFileError:
                # A writer may have replaced the file since the catalogue was read; then it names others now.
                if state == tried:
                    raise
                tried = state

    def remove(self, ids: npt.ArrayLike, missing: str = "raise") -> int:
        """Remove items by their ids (n,) in one step and return how many were there.

        Raises DataError for an id that is not there or given twice, and changes nothing; with ``missing="ignore"``
        such ids are passed over. StorageError as ``add``.
        """
        one_of(missing, ("raise", "ignore"))
        with self._lock:
            self._check_writable()
            ignore = missing == "ignore"
            wanted = accept_ids(ids, None, self._snapshot.state.meta["ids"])
            if not ignore and (repeated := repeated_id(wanted[np.argsort(sort_keys(wanted))])) is not None:
                raise DataError(f"duplicate id {show_id(repeated)}")
            find = self._snapshot.find if ignore else self._snapshot.find_all
            places, rows = find(wanted)
            removed = self._writer.grouped(places, rows)
            if removed:
                before = self._snapshot.n_items
                self._snapshot = self._writer.commit(self._snapshot, None, removed)
                # They are gone for good; that the others cannot be merged must not look like a failure.
                with suppress(StorageError, DamagedError):
                    self._snapshot = self._writer.tidy(self._snapshot)
                return before - self._snapshot.n_items
            return 0

    def compact(self) -> None:
        """Write all items into one segment and give the space of removed ones back. Raises as ``add``."""
        with self._lock:
            self._check_writable()
            segments = self._snapshot.segments
            if len(segments) > 1 or any(segment.row.removed for segment in segments):
                self._snapshot = self._writer.merge(self._snapshot, segments)

    def merge_from(self, other: Index) -> None:
        """Add all items of another index with the same codebooks, metric, kind of ids and attributes; all or none.

        Raises IncompatibleError where they differ, DataError for an id that both have, else as ``add``.
        """
        if not isinstance(other, Index):
            raise UsageError(f"expected an index to merge, got {type(other).__name__}")
        theirs = other._opened()
        with self._lock:
            self._check_writable()
            for name in KIND:
                ours = self._snapshot.state.meta[name]
                if theirs.state.meta[name] != ours:
                    raise IncompatibleError(
                        f"the indexes differ in {name.replace('_', ' ')}: {ours} here, {theirs.state.meta[name]} there"
                    )
            if theirs.n_items:
                items = compaction.merged(theirs.segments)
                self._refuse_known(items.ids)
                self._snapshot = self._writer.tidy(self._snapshot)
                self._snapshot = self._writer.commit(self._snapshot, items, {})

    def refresh(self) -> bool:
        """Go on to the newest generation; returns whether there was a newer one.

        Raises as ``open``, IncompatibleError where another index has taken the place.
        """
        with self._lock:
            snapshot = self._opened()
            with self._store.catalogue() as catalogue:
                state = catalogue.read()
            if any(state.meta[name] != snapshot.state.meta[name] for name in KIND):
                raise IncompatibleError(
                    f"{self._store.path}: another index has taken its place. Open it anew"
                )
            if state == snapshot.state:
                return False
            self._snapshot = self._newest(True, snapshot)[1]
            return True

    def reopen(self) -> None:
        """After a failed write: open the directory anew, every checksum verified, so that it can be written again.

        Searches go on meanwhile, and no other writer comes between. Does nothing where no write has failed. Raises as
        ``open``.
        """
        with self._lock:
            self._opened()
            if self._writer.failed and isinstance(self._store, DirectoryStore):
                self._store.reopen()
                self._snapshot = self._newest(True, None)[1]
                self._store.remove_strays(self._snapshot.state)
                self._writer = Writer(self._store)

    def stats(self) -> dict[str, Any]:
        """What the index is and holds, as plain values; see ``spdq.index.statistics``."""
        return statistics(self._opened(), self._codebooks, self._store.path, self._store.writable)

    def verify(self) -> None:
        """Check the newest generation: every checksum, code, id and attribute, and every page of the catalogue.

        Raises DamagedError naming the first fault.
        """
        with self._lock:
            self._opened()
            _, snapshot = self._newest(True, None)
            for segment in snapshot.segments:
                segment.verify()
            if (repeated := repeated_id(snapshot.ids())) is not None:
                raise DamagedError(f"two items have the id {show_id(repeated)}. Rebuild the index")
            with self._store.catalogue() as catalogue:
                catalogue.check_pages()

    def to_faiss(self, path: str | os.PathLike[str]) -> None:
        """Write a Faiss file (``IndexPQ`` in an ``IndexIDMap2``). See ``spdq.index.faiss_file``.

        Raises UsageError for additive codes, codebooks learned for queries or string ids, which such a file cannot
        hold; StorageError.
        """
        snapshot = self._opened()
        faiss_file.write_faiss(Path(path), self._codebooks, self.metric, snapshot.ids(), snapshot.codes())

    @classmethod
    def from_faiss(cls, path: str | os.PathLike[str]) -> Index:
        """An index in memory with the codes, ids and codebooks of a Faiss file.

        Raises NotFoundError, DataError, DamagedError or IncompatibleError where the file is not such a one.
        """
        content = faiss_file.read_faiss(Path(path))
        index = cls(content.codebooks, content.metric)
        index.add_codes(content.codes, content.ids)
        return index

    def close(self) -> None:
        """Release the files and the writer's lock; searching and changing raise from now on."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._snapshot = Snapshot(self._snapshot.state, ())
                self._store.close()

    def __enter__(self) -> Index:
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
        """Add items, replacing those that are there unless ``missing`` is None."""
        with self._lock:
            self._check_writable()
            items = self._writer.accept(self._snapshot.state, codes, ids, attributes, measured)
            if (repeated := repeated_id(items.ids)) is not None:
                raise DataError(f"duplicate id {show_id(repeated)}")
            if missing is None:
                self._refuse_known(items.ids)
            elif missing == "raise":
                self._snapshot.find_all(items.ids)
            if len(items.ids):
                self._snapshot = self._writer.tidy(self._snapshot)
                old = {} if missing is None else self._writer.grouped(*self._snapshot.find(items.ids))
                self._snapshot = self._writer.commit(self._snapshot, items, old)

    def _refuse_known(self, ids: IdArray) -> None:
        known = np.flatnonzero(self._snapshot.find(ids)[1] >= 0)
        if known.size:
            raise DataError(f"duplicate id {show_id(ids[known[0]])}")

    def _check_writable(self) -> None:
        self._opened()
        self._writer.check()
