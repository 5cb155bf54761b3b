"""The files of NUS-WIDE's text release, and which picture each of their lines is about.

A part of the release (one concept's labels, the tags, one kind of features) is one file whose lines are in the
order of ``ImageList/Imagelist.txt``, or a pair of files in the orders of ``TrainImagelist.txt`` and
``TestImagelist.txt``; most parts are published both ways.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spdq.data.number_lines import number_blocks
from spdq.data.pictures import relative_path
from spdq.data.splits import Rows
from spdq.data.text_lines import listed_names
from spdq.errors import DataError, NotFoundError


@dataclass(frozen=True)
class Part:
    """A matrix of the release: its files, and the pictures (rows of ``Release.pictures``) of their lines."""

    files: tuple[tuple[Path, Rows], ...]
    columns: int

    def blocks(self, binary: bool = False) -> Iterator[tuple[Rows, npt.NDArray[np.float32]]]:
        """Yield (k,) picture rows with their (k, columns) float32 numbers.

        Raises
        ------
        DataError
            A line is not ``columns`` numbers, or a file has more or fewer lines than pictures.
        """
        for file, rows in self.files:
            done = 0
            for block in number_blocks(file, self.columns, binary):
                if done + len(block) <= len(rows):
                    yield rows[done : done + len(block)], block
                done += len(block)
            if done != len(rows):
                raise DataError(f"{file}: {done:,} rows, but its image list names {len(rows):,} pictures")


class Release:
    """The release in one folder; ``pictures`` are (n,) paths such as ``actor/0001_2124494179.jpg``.

    They are in the order of Imagelist.txt, else (where it is missing) those of the training list and then those
    of the test list.

    Raises
    ------
    NotFoundError
        There is neither Imagelist.txt nor both others.
    DataError
        A list is not one of paths, each once.
    """

    def __init__(self, folder: Path) -> None:
        lists = folder / "ImageList"
        self.whole_list = lists / "Imagelist.txt"
        self._half_lists = (lists / "TrainImagelist.txt", lists / "TestImagelist.txt")
        files = _first_complete((self.whole_list,), self._half_lists)
        self.pictures = [picture for file in files for picture in _pictures(file)]
        _check_unique(files, self.pictures)

    def part(self, columns: int, whole: Path, train: Path, test: Path) -> Part:
        """Find a part's files: ``whole``, or ``train`` and ``test``.

        Raises
        ------
        NotFoundError
            Files are missing: the part's, or the image lists that say what their lines are about.
        DataError
            The training and the test list do not part the whole list.
        """
        if whole in _first_complete((self.whole_list, whole), (*self._half_lists, train, test)):
            return Part(((whole, np.arange(len(self.pictures), dtype=np.int64)),), columns)
        return Part(tuple(zip((train, test), self._half_rows, strict=True)), columns)

    @cached_property
    def _half_rows(self) -> tuple[Rows, Rows]:
        """Rows of the pictures in the training and the test list."""
        row_of = {picture: row for row, picture in enumerate(self.pictures)}
        halves = []
        for file in self._half_lists:
            names = _pictures(file)
            if unknown := next((name for name in names if name not in row_of), None):
                raise DataError(f"{file}: {unknown} is not in {self.whole_list.name}")
            halves.append(np.array([row_of[name] for name in names], dtype=np.int64))
        train, test = halves
        n = len(self.pictures)
        if len(train) + len(test) != n or np.intersect1d(train, test).size:
            found = ", ".join(
                f"{file.name} {len(half):,}" for file, half in zip(self._half_lists, halves, strict=True)
            )
            raise DataError(
                f"{self.whole_list}: {n:,} pictures, but each must be in one of the lists {found}"
            )
        return train, test


def _first_complete(one: tuple[Path, ...], other: tuple[Path, ...]) -> tuple[Path, ...]:
    """The first of two ways to publish the same of which all files are there."""
    for way in (one, other):
        if all(file.is_file() for file in way):
            return way
    missing = ", ".join(str(file) for file in (*one, *other) if not file.is_file())
    needed = " or ".join(" with ".join(file.name for file in way) for way in (one, other))
    raise NotFoundError(f"file not found: {missing}; needed: {needed}")


def _pictures(file: Path) -> list[str]:
    names = [name.replace("\\", "/") for name in listed_names(file)]
    return [relative_path(name, f"{file} line {number}") for number, name in enumerate(names, start=1)]


def _check_unique(files: tuple[Path, ...], pictures: list[str]) -> None:
    if len(set(pictures)) < len(pictures):
        twice, _ = Counter(pictures).most_common(1)[0]
        raise DataError(f"{' and '.join(map(str, files))}: {twice} appears more than once")
