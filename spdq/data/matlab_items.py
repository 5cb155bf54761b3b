"""Data sets of the parts of a release in MATLAB files: one part a modality, or one a modality and block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.matlab import open_matlab
from spdq.data.matlab_parts import (
    NAME_ONE,
    Variable,
    count_items,
    find_pictures,
    image_rows,
    item_rows,
    label_rows,
    part_of,
    short_names,
    text_rows,
)
from spdq.data.splits import Rows, Split, SplitKind, make_split
from spdq.data.text_lines import text_lines
from spdq.errors import DataError, NotFoundError, UsageError

Labels = npt.NDArray[np.uint8]
QueryRule = Callable[[Labels, int, Path], Rows]
"""(labels, seed, what errors name) -> query rows."""
Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], Labels]


class Block(NamedTuple):
    """One block of a release that is split already: what ids call it, and its variables."""

    short: str
    image: str
    text: str
    labels: str


@dataclass(frozen=True)
class Request:
    """What the caller of a loader asked for."""

    extractor: ImageExtractor | None
    progress: Progress | None
    kind: SplitKind
    seed: int


def load_modalities(
    name: str,
    folder: Path,
    files: Mapping[str, Path],
    variables: Mapping[str, tuple[str, ...]],
    queries: QueryRule,
    request: Request,
) -> Dataset:
    """A release of one matrix or list a modality, whose row i is item i in each.

    ids are the listed picture names where there are any (of paths the last parts, if these are unique), else row
    numbers from 1. Where all listed pictures lie below ``folder``, the data set has their paths.

    Parameters
    ----------
    files : role (pixels, features, names, text, captions, labels) -> file, for the roles that are there.
    variables : role -> what the variable may be called.

    Raises
    ------
    NotFoundError, DataError, DamagedError, UsageError
    """
    with ExitStack() as stack:
        found = _open_parts(stack, files, variables)
        lists = {role: _texts(files[role], found.pop(role, None)) for role in _LISTS if role in files}
        n = count_items(list(found.values()), {files[role].name: len(texts) for role, texts in lists.items()})
        labels = label_rows(found["labels"], n)
        names = lists.get("names")
        pictures = [] if names is None else find_pictures(folder, names)
        image = _image_features(found, n, folder, names, pictures, request)
        text = text_rows(item_rows(found["text"], n, np.float32)) if "text" in found else None
    captions = lists.get("captions")
    return Dataset(
        name=name,
        ids=np.arange(1, n + 1, dtype=np.int64) if names is None else np.array(short_names(names)),
        image_features=image,
        text_features=text,
        labels=labels,
        label_names=label_names(labels),
        texts=None if captions is None else tuple(captions),
        image_paths=tuple(map(str, pictures)) if pictures and None not in pictures else None,
        image_extractor=None if request.extractor is None else request.extractor.name,
        image_regions=1 if request.extractor is None else request.extractor.regions,
        split=make_split(n, queries(labels, request.seed, folder), request.kind, request.seed),
        root=folder,
    )


_LISTS = ("names", "captions")


def _open_parts(
    stack: ExitStack, files: Mapping[str, Path], variables: Mapping[str, tuple[str, ...]]
) -> dict[str, Variable]:
    """Role -> the variable that has it. A text file has none."""
    opened = {
        file: stack.enter_context(open_matlab(file)) for file in files.values() if file.suffix == ".mat"
    }
    found = {}
    for role, file in files.items():
        if file not in opened:
            continue
        there = [name for name in variables[role] if name in opened[file].names]
        if not there:
            names = ", ".join(opened[file].names) or "nothing"
            raise DataError(f"{file}: expected the variable {' or '.join(variables[role])}, got {names}")
        found[role] = Variable(opened[file], there[0])
    return found


def _texts(file: Path, variable: Variable | None) -> list[str]:
    """A listed text an item; its lines are what one cell holds."""
    if variable is None:
        return [" ".join(line.split()) for line in text_lines(file)]
    return [
        "\n".join(" ".join(line.split()) for line in lines) for lines in variable.file.strings(variable.name)
    ]


def _image_features(
    found: Mapping[str, Variable],
    n: int,
    folder: Path,
    names: list[str] | None,
    pictures: list[str | None],
    request: Request,
) -> npt.NDArray[np.float32]:
    """Features where there is no extractor; what an extractor can read where there is one."""
    order = ("features", "pixels", "names") if request.extractor is None else ("pixels", "names", "features")
    role = next(role for role in order if role in found or (role == "names" and names is not None))
    if role != "names" or names is None:
        return image_rows(found[role], n, request.extractor, request.progress)
    if request.extractor is None:
        raise UsageError(f"{folder} lists pictures: {NAME_ONE}")
    if None in pictures:
        first = names[pictures.index(None)]
        missing = f"{pictures.count(None):,} of {n:,} listed pictures"
        raise NotFoundError(f"{missing} not found below {folder}, the first: {first}")
    return request.extractor.extract([folder / str(picture) for picture in pictures], request.progress)


def load_blocks(name: str, file: Path, blocks: Mapping[str, Block], request: Request) -> Dataset:
    """A release that is split already: blocks ``database`` and ``query``, perhaps ``train``, in one file.

    Items are the database, then the queries, then those training rows that are not in the database: a training
    row is taken for the database row that equals it in image, text and labels (each database row once). ids say
    the block and the row in it, from 1: ``db-1``.

    seen: the file's training rows (where it names none, its database) and its database with them. unseen: its
    training rows, and the rest of its database; where there is no rest, a random half each. paired: its training
    rows, and all items.

    Raises
    ------
    NotFoundError, DataError, DamagedError, UsageError
    """
    arrays = _read_blocks(file, blocks, request)
    n_database, n_query = (len(arrays[role][2]) for role in ("database", "query"))
    train = np.arange(n_database, dtype=np.int64)
    rows = {"database": train, "query": np.arange(n_query)}
    if "train" in blocks:
        train = _equal_rows(arrays["database"], arrays["train"])
        rows["train"] = np.flatnonzero(train < 0)
        train[rows["train"]] = n_database + n_query + np.arange(len(rows["train"]))
    image, text, labels = (
        np.concatenate([arrays[role][part][kept] for role, kept in rows.items()]) for part in range(3)
    )
    query = np.arange(n_database, n_database + n_query, dtype=np.int64)
    return Dataset(
        name=name,
        ids=np.array([f"{blocks[role].short}-{row + 1}" for role, kept in rows.items() for row in kept]),
        image_features=image,
        text_features=text_rows(text),
        labels=labels,
        label_names=label_names(labels),
        image_extractor=None if request.extractor is None else request.extractor.name,
        image_regions=1 if request.extractor is None else request.extractor.regions,
        split=_kept_split(len(labels), query, np.sort(train), n_database, request),
    )


def _read_blocks(file: Path, blocks: Mapping[str, Block], request: Request) -> dict[str, Arrays]:
    with open_matlab(file) as matlab:
        matlab.require(*(name for block in blocks.values() for name in block[1:]))
        parts = {role: [Variable(matlab, name) for name in block[1:]] for role, block in blocks.items()}
        counts = {role: count_items(block) for role, block in parts.items()}
        total, done = sum(counts.values()), 0
        arrays = {}
        for role, (image, text, labels) in parts.items():
            n = counts[role]
            arrays[role] = (
                image_rows(image, n, request.extractor, part_of(request.progress, done, total)),
                item_rows(text, n, np.float32),
                label_rows(labels, n),
            )
            done += n
    for part, name in enumerate(("image", "text", "labels")):
        widths = {role: made[part].shape[1] for role, made in arrays.items()}
        if len(set(widths.values())) > 1:
            found = ", ".join(f"{getattr(blocks[role], name)} {width}" for role, width in widths.items())
            raise DataError(f"{file}: expected as many columns in each block, got {found}")
    return arrays


def _equal_rows(database: Arrays, wanted: Arrays) -> Rows:
    """For each wanted row the database row that equals it, or -1 -> (n,) int64; no row twice."""
    places: dict[bytes, list[int]] = {}
    for row in reversed(range(len(database[2]))):
        places.setdefault(_digest(database, row), []).append(row)
    found = [places.get(_digest(wanted, row)) for row in range(len(wanted[2]))]
    return np.array([rows.pop() if rows else -1 for rows in found], dtype=np.int64)


def _digest(arrays: Arrays, row: int) -> bytes:
    digest = blake2b(digest_size=16)
    for part in arrays:
        digest.update(part[row].tobytes())
    return digest.digest()


def _kept_split(n: int, query: Rows, train: Rows, n_database: int, request: Request) -> Split:
    everything, database = np.arange(n, dtype=np.int64), np.arange(n_database, dtype=np.int64)
    if request.kind == "seen":
        return Split(query, train, np.union1d(train, database), "seen", request.seed)
    rest = np.setdiff1d(database, train)
    if request.kind == "unseen" and rest.size:
        return Split(query, train, rest, "unseen", request.seed)
    if request.kind == "paired":
        return Split(query, train, everything, "paired", request.seed)
    return make_split(n, query, request.kind, request.seed)


def label_names(labels: Labels) -> tuple[str, ...]:
    """Names for columns that a release does not name: ``label-1`` is MATLAB's first column."""
    return tuple(f"label-{column}" for column in range(1, labels.shape[1] + 1))
