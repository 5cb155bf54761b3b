"""Building a large index: batch by batch, with bounded memory, and from where an interrupted build stopped."""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spdq.errors import NotFoundError, StorageError, UsageError
from spdq.index.index import Index
from spdq.index.store import storage_errors, sync_directory, write_durably

PLAN = "build.json"
"""In an unfinished build: what it is made from."""
BATCH_BYTES = 1 << 27
"""Bytes of vectors, or of codes, that one batch holds, about."""

_SAMPLED_AT_ONCE = 1024


@dataclass(frozen=True)
class Batch:
    """Some items: their ids (n,) or None for the numbers that follow, and vectors (n, D) or codes (n, M)."""

    ids: npt.ArrayLike | None
    vectors: npt.ArrayLike | None = None
    codes: npt.ArrayLike | None = None
    attributes: Mapping[str, Sequence[Any]] | None = None

    def add_to(self, index: Index) -> None:
        """Add the items. Raises as ``Index.add``."""
        if self.codes is not None:
            index.add_codes(self.codes, self.ids, self.attributes)
        elif self.vectors is not None:
            index.add(self.vectors, self.ids, self.attributes)

    def put_into(self, index: Index) -> None:
        """Add the items, replacing those that are there. Raises as ``Index.update``."""
        if self.ids is None:
            raise UsageError("items are replaced by id: give the ids of the items")
        if self.codes is not None:
            index.update_codes(self.codes, self.ids, self.attributes, missing="add")
        elif self.vectors is not None:
            index.update(self.vectors, self.ids, self.attributes, missing="add")


class Source(Protocol):
    """Items to build from, read as they are needed."""

    @property
    def n_items(self) -> int:
        """How many there are."""

    @property
    def batch_items(self) -> int:
        """How many to take at once."""

    @property
    def id_kind(self) -> str:
        """``"int"`` or ``"str"``."""

    def facts(self) -> dict[str, Any]:
        """What the items are, as JSON: a build goes on only with a source of the same facts."""

    def batch(self, start: int, stop: int) -> Batch:
        """Items start..stop-1."""


class ArraySource:
    """Items in arrays, which may be memory maps.

    Parameters
    ----------
    vectors, codes
        One of them: (n, D) float, or (n, M) uint8.
    ids
        (n,), or None for 0 to n - 1 or, if they are not ``numbered``, for what follows the largest id of an index.
    attributes
        Columns of n values.
    """

    def __init__(
        self,
        vectors: npt.NDArray[Any] | None = None,
        codes: npt.NDArray[Any] | None = None,
        ids: npt.NDArray[Any] | None = None,
        attributes: Mapping[str, Sequence[Any]] | None = None,
        numbered: bool = True,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        given = [array for array in (vectors, codes) if array is not None]
        if len(given) != 1:
            raise UsageError("expected vectors or codes, and not both")
        self._vectors = vectors
        self._codes = codes
        self._ids = ids
        self._attributes = attributes or {}
        self._numbered = numbered
        self._facts = dict(facts or {})
        self.is_codes = codes is not None
        self.id_kind = "int" if ids is None or ids.dtype.kind in "iu" else "str"
        self.n_items = len(given[0])
        self.batch_items = max(1, BATCH_BYTES // max(1, given[0].itemsize * given[0].shape[-1]))

    def facts(self) -> dict[str, Any]:
        return {"items": self.n_items, **self._facts}

    def batch(self, start: int, stop: int) -> Batch:
        ids: npt.NDArray[Any] | None
        if self._ids is not None:
            ids = self._ids[start:stop] if self.id_kind == "int" else self._ids[start:stop].astype(object)
        else:
            ids = np.arange(start, stop) if self._numbered else None
        vectors, codes = (
            None if array is None else _read(array, slice(start, stop))
            for array in (self._vectors, self._codes)
        )
        return Batch(
            ids,
            vectors,
            codes,
            {name: column[start:stop] for name, column in self._attributes.items()},
        )

    def sample(self, count: int, seed: int) -> npt.NDArray[Any]:
        """At most ``count`` vectors, chosen at random, in their order. Raises UsageError where there are codes only."""
        if self._vectors is None:
            raise UsageError("codes cannot be learned from: expected vectors")
        if self.n_items <= count:
            return np.asarray(self._vectors)
        chosen = np.random.default_rng(seed).choice(self.n_items, count, replace=False)
        # Of a mapped file each row brings its neighbours into memory, too.
        pieces = np.array_split(np.sort(chosen), -(-count // _SAMPLED_AT_ONCE))
        return np.concatenate([_read(self._vectors, piece) for piece in pieces])


def _read(array: npt.NDArray[Any], rows: Any) -> npt.NDArray[Any]:
    """A copy of some rows. What was read of a mapped file is given back: it would count as memory in use."""
    copy = np.array(array[rows])
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)
    return copy


def build(
    path: str | os.PathLike[str],
    quantizer: Callable[[], object],
    source: Source,
    *,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> None:
    """Build a new index directory from a source; it appears complete or not at all.

    Until then it is the hidden folder ``.<name>.partial`` beside it. That stays when the build is interrupted or the
    storage refuses; ``resume`` goes on with it.

    Parameters
    ----------
    quantizer
        Called for a fitted quantizer or codebooks when a build begins, and not when it goes on.
    progress
        Called with the number of items done and their total.
    settings
        What else ``Index.create`` takes.

    Raises
    ------
    UsageError
        ``path`` exists; or the unfinished build is of another source or other settings.
    NotFoundError
        No parent folder.
    SpdqError
        What reading the source and adding to the index raise.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise UsageError(f"{path} already exists: choose another directory")
    if not path.parent.is_dir():
        raise NotFoundError(f"folder not found: {path.parent}")
    partial = path.with_name(f".{path.name}.partial")
    plan = json.dumps({"source": source.facts(), "settings": settings}, sort_keys=True, default=str).encode()
    if not (resume and _matches(partial, plan, path)):
        with storage_errors(f"{partial} cannot be removed"):
            if partial.exists():
                shutil.rmtree(partial)
        _start(partial, plan, quantizer(), settings)
    try:
        with Index.open(partial, writable=True) as index:
            _fill(index, source, progress)
            index.compact()
        with storage_errors("the build is not finished: go on with it"):
            os.unlink(partial / PLAN)
            os.rename(partial, path)
            sync_directory(path.parent)
    except (KeyboardInterrupt, StorageError):
        if not _items_in(partial):
            shutil.rmtree(partial, ignore_errors=True)
        raise
    except Exception:
        # What is wrong with the source has to be changed, and then it is another source.
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _start(partial: Path, plan: bytes, quantizer: object, settings: Mapping[str, Any]) -> None:
    try:
        Index.create(partial, quantizer, **settings).close()
        with storage_errors("no index was created"):
            write_durably(partial / PLAN, [memoryview(plan)])
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _matches(partial: Path, plan: bytes, path: Path) -> bool:
    """Whether there is something to go on with. Raises UsageError where it is of something else."""
    if not (partial / PLAN).is_file():
        return False
    if (partial / PLAN).read_bytes() != plan:
        raise UsageError(
            f"the unfinished build of {path} is of another input or other settings: build anew without resuming"
        )
    return True


def _fill(index: Index, source: Source, progress: Callable[[int, int], None] | None) -> None:
    """Add what is not there yet: items are added in order, each batch in one step."""
    step = source.batch_items
    for start in range(len(index), source.n_items, step):
        stop = min(start + step, source.n_items)
        source.batch(start, stop).add_to(index)
        if progress is not None:
            progress(stop, source.n_items)


def _items_in(partial: Path) -> int:
    try:
        with Index.open(partial, verify=False) as index:
            return len(index)
    except Exception:
        return 0
