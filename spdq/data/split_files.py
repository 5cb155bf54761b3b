"""Splits as JSON files of ids, so that everyone who has the items can use the same queries and training items.

``{"format": "spdq-split", "version": 1, "dataset": name, "kind": ..., "seed": ..., "query": [ids], "train": [ids],
"database": [ids], "sha256": hex}``; ids are integers or strings as in the data set. The digest covers the other
entries as JSON with sorted keys, no blanks and ASCII alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from spdq.data import container
from spdq.data.dataset import Dataset
from spdq.data.records import parse_json
from spdq.data.splits import Split, SplitKind
from spdq.data.text_lines import open_text
from spdq.errors import DamagedError, DataError, IncompatibleError, SpdqError, UsageError

FORMAT, VERSION = "spdq-split", 1
PARTS = ("query", "train", "database")
_ENTRIES = ("dataset", "kind", "seed", *PARTS)


def write_split(path: Path, dataset: Dataset) -> None:
    """Write the split of a data set, whole or not at all; the same split gives the same bytes.

    Raises
    ------
    DataError
        It has no split.
    NotFoundError, StorageError
        As ``container.replace_file``.
    """
    split = dataset.split
    if split is None:
        raise DataError(f"{dataset.name} has no split to write")
    content: dict[str, Any] = {"format": FORMAT, "version": VERSION, "dataset": dataset.name}
    content |= {"kind": split.kind, "seed": int(split.seed)}
    content |= {part: dataset.ids[getattr(split, part)].tolist() for part in PARTS}
    content["sha256"] = _digest(content)
    container.replace_file(path, (json.dumps(content, ensure_ascii=False) + "\n").encode())


def read_split(path: Path, dataset: Dataset) -> Split:
    """The split of a file as rows of ``dataset``.

    Raises
    ------
    NotFoundError
        No such file.
    DataError
        Not a split file, or one whose rows make no split.
    DamagedError
        It was changed after it was written.
    IncompatibleError
        It is of another data set, names an item that this one lacks, or is of a newer version.
    """
    return _rows(path, _read(path), dataset)


def settle_split(
    make: Callable[[SplitKind, int], Dataset],
    out: Path,
    split_file: Path | None = None,
    kind: SplitKind | None = None,
    seed: int | None = None,
    resplit: bool = False,
    fixed_by: Sequence[str] = (),
) -> Dataset:
    """Make a data set with the split it is to have: that of the file where there is one, else its own.

    Parameters
    ----------
    make : (kind, seed) -> the data set with its own split.
    out : where the data set will be written. If a data set of the same items lies there, its split must be the
        same, too: figures made with both could otherwise be taken for one another.
    kind, seed : what was asked for, None where nothing was: as in the file, else seen and 0.
    resplit : whether another split may replace the one in ``out``.
    fixed_by : what else was asked for that decides the rows of ``make``: a file must then hold the same rows.

    Raises
    ------
    UsageError
        The file says otherwise than ``kind``, ``seed`` or ``fixed_by``; ``out`` has another split of the items.
    NotFoundError, DataError, DamagedError, IncompatibleError
        As ``read_split`` and ``make``.
    """
    stored = None if split_file is None or not split_file.exists() else _read(split_file)
    if stored is not None:
        for name, asked in (("kind", kind), ("seed", seed)):
            if asked is not None and asked != stored[name]:
                raise UsageError(
                    f"{split_file} holds a split of {name} {stored[name]}, but {asked} is asked for: "
                    "leave that out, or name another split file"
                )
        kind, seed = stored["kind"], stored["seed"]
    before = _stored_split(out)
    made = make(kind or "seen", seed or 0)
    if stored is not None and split_file is not None:
        split = _rows(split_file, stored, made)
        if fixed_by and (made.split is None or not _same(split, made.split)):
            options = " and ".join(fixed_by)
            raise UsageError(
                f"{split_file} has other rows than {options} gives: leave that out, or name another"
            )
        made = made.with_split(split)
    if before is not None and not resplit:
        _check_unchanged(out, before, made)
    return made


def _digest(content: dict[str, Any]) -> str:
    covered = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(covered, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """The entries of a file, of the types they must have."""
    with open_text(path) as stream:
        content = parse_json(stream.read(), str(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f'{path} is not a split file: its entry "format" is not "{FORMAT}"')
    version = content.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise DataError(f"{path}: version must be {VERSION}, got {version!r}")
    if version > VERSION:
        raise IncompatibleError(
            f"{path}: split format {version} is from a newer version, this one reads {VERSION}: upgrade spdq"
        )
    if missing := [name for name in (*_ENTRIES, "sha256") if name not in content]:
        raise DataError(f"{path}: {', '.join(missing)} missing")
    if content["sha256"] != _digest(content):
        raise DamagedError(f"{path}: checksum mismatch: it was changed by hand or damaged; make it again")
    if content["kind"] not in get_args(SplitKind) or not _is_integer(content["seed"]) or content["seed"] < 0:
        raise DataError(f"{path}: expected a kind of split and a seed of 0 or more")
    for part in PARTS:
        ids = content[part]
        if not isinstance(ids, list) or not (
            all(map(_is_integer, ids)) or all(isinstance(one, str) for one in ids)
        ):
            raise DataError(f"{path}: {part}: expected a list of ids, all integers or all strings")
    return content


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rows(path: Path, content: dict[str, Any], dataset: Dataset) -> Split:
    if content["dataset"] != dataset.name:
        raise IncompatibleError(f"{path} splits data set {content['dataset']}, not {dataset.name}")
    row_of = {key: row for row, key in enumerate(dataset.ids.tolist())}
    rows = {}
    for part in PARTS:
        if unknown := [key for key in content[part] if key not in row_of]:
            raise IncompatibleError(
                f'{path}: {part}: this data set {dataset.name} has no item "{unknown[0]}"'
            )
        rows[part] = np.sort(np.array([row_of[key] for key in content[part]], dtype=np.int64))
    try:
        return Split(**rows, kind=content["kind"], seed=content["seed"])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _same(a: Split, b: Split) -> bool:
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in PARTS)


def _stored_split(out: Path) -> Dataset | None:
    """What lies in ``out``, without its features and clicks; None where that is no data set with a split."""
    if not out.is_file():
        return None
    try:
        stored = Dataset.load(out)
    except SpdqError:
        return None
    if stored.split is None:
        return None
    return Dataset(stored.name, stored.ids, grades=stored.grades, split=stored.split)


def _check_unchanged(out: Path, before: Dataset, made: Dataset) -> None:
    """Raise UsageError where both have the same items and split them in other ways."""
    if sorted(map(str, before.ids)) != sorted(map(str, made.ids)):
        return
    old, new = before.split, made.split
    if old is None or (
        new is not None
        and all(_ids(before, part) == _ids(made, part) for part in PARTS)
        and _held_out(before) == _held_out(made)
    ):
        return
    raise UsageError(
        f"{out} holds the same items with another split (kind {old.kind}, seed {old.seed}): ask for that one, "
        "give its file (--split-file), or allow another (--resplit)"
    )


def _held_out(dataset: Dataset) -> set[str]:
    return set() if dataset.grades is None else set(dataset.grades.queries)


def _ids(dataset: Dataset, part: str) -> set[Any]:
    return set(dataset.ids[getattr(dataset.split, part)].tolist())
