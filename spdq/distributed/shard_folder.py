"""Shards in a folder: which they are, how they are made, and how one index is cut into them."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spdq.errors import NotFoundError, UsageError
from spdq.index.catalogue import Catalogue, Change
from spdq.index.index import Index
from spdq.index.inputs import at_least_one
from spdq.index.store import CATALOGUE, storage_errors, sync_directory

AT_ONCE = 1 << 20
"""Items copied in one step."""

_NAME = re.compile(r"shard-(\d+)-of-(\d+)")

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def shard_paths(paths: Paths) -> list[Path]:
    """The index directories that are meant: those in a folder, by their names, or those of a list.

    Raises NotFoundError without any, or where one of those numbered ``shard-1-of-4`` is missing; UsageError for one
    that is given twice.
    """
    if not isinstance(paths, str | os.PathLike):
        chosen = [Path(path) for path in paths]
        if not chosen:
            raise UsageError("expected at least one shard, got none")
        if len({path.resolve() for path in chosen}) < len(chosen):
            raise UsageError("a shard is given twice")
        return chosen
    folder = Path(paths)
    if not folder.is_dir():
        raise NotFoundError(f"folder of shards not found: {folder}")
    if (folder / CATALOGUE).exists():
        raise UsageError(f"{folder} is an index, not a folder of shards: open it with Index.open")
    found = sorted(path for path in folder.iterdir() if (path / CATALOGUE).is_file() and path.name[0] != ".")
    if not found:
        raise NotFoundError(f"{folder} holds no index directories")
    for path in found:
        if numbered := _NAME.fullmatch(path.name):
            count = int(numbered[2])
            for number in range(1, count + 1):
                if not (folder / _name(number, count)).is_dir():
                    raise NotFoundError(f"{folder / _name(number, count)}: this shard is missing. Restore it")
    return found


def create_shards(folder: Path, n_shards: int, quantizer: object, **settings: Any) -> None:
    """Make a folder of so many empty shards; it appears complete or not at all. Raises as ``Index.create``."""
    with _appearing(folder) as draft:
        for number in range(1, at_least_one(n_shards, "n_shards") + 1):
            Index.create(draft / _name(number, n_shards), quantizer, **settings).close()


def shard_index(
    index: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    n_shards: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Copy an index into so many shards in a new folder, which appears complete or not at all.

    The items are cut by their ids, in order, into shards as even as possible. Searched together the shards give what
    the index gives. ``progress`` is called with the number of items done and their total. A killed process leaves the
    hidden folder ``.NAME.*.tmp`` beside it, which may be deleted.

    Raises
    ------
    UsageError
        ``folder`` exists, ``n_shards`` below 1.
    NotFoundError
        No such index, or no parent folder.
    StorageError
        No room.
    """
    at_least_one(n_shards, "n_shards")
    with Index.open(index) as whole, _appearing(Path(folder)) as draft:
        ids, stats = whole.ids, whole.stats()
        settings = {
            name: stats[name] for name in ("metric", "ids", "model_fingerprint", "model_path", "attributes")
        }
        for number in range(1, n_shards + 1):
            start, stop = (len(ids) * part // n_shards for part in (number - 1, number))
            path = draft / _name(number, n_shards)
            with Index.create(path, whole.codebooks, **settings) as shard:
                for first in range(start, stop, AT_ONCE):
                    some = ids[first : min(first + AT_ONCE, stop)]
                    shard.add_codes(whole.codes_of(some), some, _attributes(whole, some))
                    if progress is not None:
                        progress(first + len(some), len(ids))
                shard.compact()
        _continue_after(path, Path(index))


def _continue_after(shard: Path, index: Path) -> None:
    """Let new ids follow the largest that the index ever had, also where that item was removed."""
    largest = _catalogue(index, lambda catalogue: catalogue.read().meta["largest_id"])
    _catalogue(shard, lambda catalogue: catalogue.commit(Change(largest_id=largest)), writable=True)


def _catalogue(index: Path, use: Callable[[Catalogue], Any], writable: bool = False) -> Any:
    catalogue = Catalogue.open(index / CATALOGUE, writable)
    try:
        return use(catalogue)
    finally:
        catalogue.close()


def _attributes(index: Index, ids: Any) -> Mapping[str, Sequence[Any]] | None:
    if not index.attributes:
        return None
    items = index.attributes_of(ids)
    return {name: [item[name] for item in items] for name in index.attributes}


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A draft of a folder that takes its name when all is in it. Raises UsageError where there is something."""
    if os.path.lexists(folder):
        raise UsageError(f"{folder} already exists: choose another folder")
    if not folder.parent.is_dir():
        raise NotFoundError(f"folder not found: {folder.parent}")
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        with storage_errors("no shards were made"):
            draft.mkdir()
        yield draft
        with storage_errors("no shards were made"):
            sync_directory(draft)
            draft.rename(folder)
            sync_directory(folder.parent)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _name(number: int, count: int) -> str:
    width = len(str(count))
    return f"shard-{number:0{width}}-of-{count}"
