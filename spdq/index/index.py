"""The index: short codes under ids, searched exactly; one class in memory and on disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, IncompatibleError, StorageError, UsageError
from spdq.index.catalogue import Catalogue
from spdq.index.ids import IdArray, Int64Array, Uint8Array, accept_ids, show_id, sort_keys
from spdq.index.inputs import (
    accept_codes,
    accept_queries,
    at_least_one,
    codebooks_of,
    following_ids,
    new_settings,
)
from spdq.index.segments import Segment, checksum, serialise
from spdq.index.store import DirectoryStore, MemoryStore, Store, create_directory, storage_errors
from spdq.quantizers.codebooks import Codebooks
from spdq_kernels import pack_codes, scan, unpack_codes

Floats = npt.NDArray[np.float32]

_QUERIES_AT_ONCE = 256


class Index:
    """Items' codes under unique ids, and the exact search over them.

    ``Index(quantizer)`` lives in memory; ``Index.create(path, quantizer)`` and ``Index.open(path)`` live in a
    directory that survives crashes. A reader sees the generation it opened, whatever a writer adds meanwhile.
    Several threads may search at once, also while one adds.

    Parameters
    ----------
    quantizer
        A fitted ``ProductQuantizer`` or ``AdditiveQuantizer``, or their ``Codebooks``.
    metric
        ``"l2"`` (squared Euclidean distance, smallest first) or ``"ip"`` (inner product, largest first).
    ids
        ``"int"`` (int64) or ``"str"`` (1 to 1,024 UTF-8 bytes).

    Raises UsageError for an unfitted quantizer, or a metric its codebooks do not know.
    """

    def __init__(self, quantizer: object, metric: str = "l2", ids: str = "int") -> None:
        codebooks = codebooks_of(quantizer)
        self._attach(MemoryStore(codebooks, new_settings(codebooks, metric, ids, None, None)))

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        quantizer: object,
        metric: str = "l2",
        ids: str = "int",
        model_fingerprint: str | None = None,
        model_path: str | os.PathLike[str] | None = None,
    ) -> Index:
        """Make an empty index directory and open it for writing.

        ``model_fingerprint`` and ``model_path`` say which model's vectors the index will hold.

        Raises UsageError where ``path`` exists, NotFoundError without its parent, StorageError.
        """
        codebooks = codebooks_of(quantizer)
        model_path = None if model_path is None else os.fspath(model_path)
        create_directory(
            Path(path), codebooks, new_settings(codebooks, metric, ids, model_fingerprint, model_path)
        )
        return cls.open(path, writable=True)

    @classmethod
    def open(cls, path: str | os.PathLike[str], writable: bool = False) -> Index:
        """Open an index directory at its newest generation, every checksum verified.

        Raises NotFoundError, DamagedError naming the file, IncompatibleError for a newer format; with
        ``writable`` also LockedError while another writer holds the index, StorageError on read-only storage.
        """
        index = cls.__new__(cls)
        store = DirectoryStore(Path(path), writable)
        try:
            index._attach(store)
            if writable:
                store.remove_strays(index._state)
        except BaseException:
            store.close()
            raise
        return index

    def _attach(self, store: Store) -> None:
        with store.catalogue() as catalogue:
            self._state = catalogue.read()
        self._store = store
        self._codebooks = store.codebooks(self._state.meta)
        self._segments = tuple(store.segment(row, self._state.meta) for row in self._state.segments)
        self._lock = threading.Lock()
        self._closed = False
        self._failed = False

    def add(self, vectors: npt.ArrayLike, ids: npt.ArrayLike | None = None) -> None:
        """Encode vectors (n, D) float32 and add them under ``ids`` (n,): all of them or, on any error, none.

        Without ``ids`` an index of int ids continues after its largest. On disk the items are safe against a
        crash once this returns. A call that adds anything makes one segment.

        Raises DataError for bad vectors or ids (a repeated one is named), UsageError on a read-only index,
        StorageError when the storage refuses: the index is then unchanged and must be opened anew to go on.
        """
        self._check_writable()
        self._append(self._codebooks.encode(vectors), ids)

    def add_codes(self, codes: npt.ArrayLike, ids: npt.ArrayLike | None = None) -> None:
        """Add codes (n, M), integers below ``n_words``, that these codebooks encoded; else as ``add``."""
        self._check_writable()
        self._append(accept_codes(codes, self._codebooks), ids)

    def search(
        self, queries: npt.ArrayLike, k: int = 10, threads: int | None = None
    ) -> tuple[Floats, IdArray]:
        """Find the k nearest items of each query by asymmetric distance, exactly.

        ``queries`` is (nq, D), or (D,) for one. Returns distances (nq, k') float32 and ids (nq, k') int64 or
        object (str), k' = min(k, number of items): ``"l2"`` ascending, ``"ip"`` descending, equal ones by id.
        Neither threads (default: all cores) nor the batch, the order of adding or a larger k change a result.

        Raises UsageError for k or threads below 1, DataError for NaN, inf or a wrong width.
        """
        segments = self._opened()
        k = at_least_one(k, "k")
        threads = None if threads is None else at_least_one(threads, "threads")
        vectors = accept_queries(queries)
        batches = [vectors[at : at + _QUERIES_AT_ONCE] for at in range(0, len(vectors), _QUERIES_AT_ONCE)]
        found = [self._nearest(segments, batch, k, threads) for batch in batches or [vectors]]
        distances = np.concatenate([part[0] for part in found])
        ids = np.concatenate([part[1] for part in found])
        # Going through 0 turns -0.0 into 0.0, so that equal distances also look equal.
        return (np.float32(0) - distances if self.metric == "ip" else np.float32(0) + distances), ids

    def _nearest(
        self, segments: tuple[Segment, ...], queries: npt.NDArray[Any], k: int, threads: int | None
    ) -> tuple[Floats, IdArray]:
        tables = self._codebooks.lookup_tables(queries, self.metric)
        try:
            found = [scan(tables, segment.blocks, len(segment), k, threads) for segment in segments]
        except ValueError as error:
            raise DataError(f"queries and codebooks are too large to multiply: {error}") from None
        if not found:
            return np.empty((len(tables), 0), np.float32), self._no_ids().reshape(len(tables), 0)
        distances = np.concatenate([part[0] for part in found], axis=1)
        ids = np.concatenate(
            [segment.take_ids(rows) for segment, (_, rows) in zip(segments, found, strict=True)], axis=1
        )
        if len(found) > 1:
            order = np.lexsort((sort_keys(ids), distances))[:, :k]
            distances, ids = np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
        return distances, ids

    def __len__(self) -> int:
        return sum(len(segment) for segment in self._opened())

    @property
    def ids(self) -> IdArray:
        """All ids (n,) int64 or object (str), ascending."""
        return self._in_order()[0]

    @property
    def codes(self) -> Uint8Array:
        """A copy of all codes (n, M) uint8, in the order of ``ids``."""
        segments = self._opened()
        codes = [unpack_codes(segment.blocks, len(segment)) for segment in segments]
        empty = np.empty((0, self._codebooks.n_codebooks), np.uint8)
        return np.concatenate([empty, *codes])[self._in_order()[1]]

    @property
    def code_blocks(self) -> list[Uint8Array]:
        """Each segment's codes in scan layout (blocks, M, 256) uint8, read-only, without a copy."""
        return [segment.blocks for segment in self._opened()]

    @property
    def codebooks(self) -> Codebooks:
        """What turns vectors into codes and queries into lookup tables."""
        return self._codebooks

    @property
    def metric(self) -> str:
        """``"l2"`` or ``"ip"``."""
        return str(self._state.meta["metric"])

    @property
    def dim(self) -> int:
        """Width D of vectors and queries."""
        return self._codebooks.dim

    @property
    def model_fingerprint(self) -> str | None:
        """Fingerprint of the model whose vectors are in the index, None where it was made without one."""
        fingerprint: str | None = self._state.meta["model_fingerprint"]
        return fingerprint

    @property
    def model_path(self) -> str | None:
        """Where that model was when the index was made."""
        path: str | None = self._state.meta["model_path"]
        return path

    def check_model(self, fingerprint: str) -> None:
        """Raise IncompatibleError unless the index holds vectors of the model with this fingerprint."""
        if self.model_fingerprint is None:
            raise IncompatibleError("index was built without a model. Rebuild it with one")
        if fingerprint != self.model_fingerprint:
            raise IncompatibleError(
                f"index was built with model {self.model_fingerprint[:12]}, this is {fingerprint[:12]}. "
                "Rebuild or pass the right model"
            )

    def stats(self) -> dict[str, Any]:
        """What the index is and holds, as plain values.

        ``bytes`` counts segments, catalogue and codebooks.
        """
        segments = self._opened()
        meta = self._state.meta
        segment_bytes = sum(row.size for row in self._state.segments)
        codebook_bytes = sum(tensor.nbytes for tensor in self._codebooks.tensors().values())
        return {
            "path": None if self._store.path is None else str(self._store.path),
            "items": len(self),
            "segments": len(segments),
            "bits": self._codebooks.bits,
            "code_bytes": self._codebooks.code_bytes,
            "bytes": segment_bytes + self._state.catalogue_bytes + codebook_bytes,
            "kind": self._codebooks.kind,
            "writable": self._store.writable,
            **{name: meta[name] for name in _SHOWN},
        }

    def verify(self) -> None:
        """Check all there is: every checksum again, every code and id, the catalogue and its id map.

        Raises DamagedError naming the first fault. A writer's commit waits while the id map is compared.
        """
        with self._lock:
            self._opened()
            self._store.codebooks(self._state.meta)
            for row in self._state.segments:
                self._store.segment(row, self._state.meta).verify()
            ids, order = self._in_order()
            rows = [np.arange(len(segment)) for segment in self._segments]
            numbers = [np.full(len(segment), segment.row.number) for segment in self._segments]
            none = np.empty(0, np.int64)
            with self._store.catalogue() as catalogue:
                catalogue.read()
                catalogue.check_pages()
                catalogue.check_ids(
                    ids, np.concatenate([none, *numbers])[order], np.concatenate([none, *rows])[order]
                )

    def close(self) -> None:
        """Release the files and the writer's lock; searching and adding raise from now on."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._segments = ()
                self._store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, codes: Uint8Array, ids: npt.ArrayLike | None) -> None:
        with self._lock:
            self._check_writable()
            with self._store.catalogue() as catalogue:
                if ids is None:
                    accepted = following_ids(catalogue.largest_id(), len(codes), self._state.meta["ids"])
                else:
                    accepted = accept_ids(ids, len(codes), self._state.meta["ids"])
                if len(codes) == 0:
                    return
                order = np.argsort(sort_keys(accepted), kind="stable")
                accepted = accepted[order]
                repeated = accepted[1:][accepted[1:] == accepted[:-1]]
                known = repeated[0] if len(repeated) else catalogue.first_known(accepted)
                if known is not None:
                    raise DataError(f"duplicate id {show_id(known)}")
                self._commit(catalogue, serialise(pack_codes(codes[order]), accepted), accepted)

    def _commit(self, catalogue: Catalogue, data: bytes, ids: IdArray) -> None:
        """Make a segment durable, then name it in the catalogue; a failure on the way ends this writer."""
        generation = self._state.meta["generation"]
        try:
            with storage_errors(f"nothing was changed, index is at generation {generation}"):
                name = self._store.write(data)
                state = catalogue.append(name, len(data), checksum(data), ids)
            segment = self._store.segment(state.segments[-1], state.meta)
        except BaseException:
            # The catalogue alone knows whether the commit happened: only opening it anew tells.
            self._failed = True
            raise
        self._state, self._segments = state, (*self._segments, segment)

    def _opened(self) -> tuple[Segment, ...]:
        segments = self._segments
        if self._closed:
            raise UsageError("the index is closed")
        return segments

    def _check_writable(self) -> None:
        self._opened()
        if not self._store.writable:
            raise UsageError("the index is open for reading: use Index.open(path, writable=True)")
        self._store.check_process()
        if self._failed:
            raise StorageError("an earlier write to this index failed: open it anew")

    def _in_order(self) -> tuple[IdArray, Int64Array]:
        """All ids ascending (n,), and each one's place among the segments' rows end to end (n,) int64."""
        segments = self._opened()
        ids = np.concatenate([self._no_ids(), *(segment.ids for segment in segments)])
        if len(segments) <= 1:
            return ids, np.arange(len(ids))
        order = np.argsort(sort_keys(ids), kind="stable")
        return ids[order], order

    def _no_ids(self) -> IdArray:
        return np.empty(0, object if self._state.meta["ids"] == "str" else np.int64)


_SHOWN = (
    "metric",
    "ids",
    "n_codebooks",
    "n_words",
    "dim",
    "codebook_fingerprint",
    "model_fingerprint",
    "model_path",
    "generation",
    "format",
)
