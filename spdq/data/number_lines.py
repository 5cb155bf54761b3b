"""Matrices of numbers in text files too large to read at once: one row a line, blanks or tabs between numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from spdq.data.dataset_checks import MAX_MAGNITUDE
from spdq.data.text_lines import open_text
from spdq.errors import DataError

BLOCK_NUMBERS = 1 << 20
"""About so many numbers are held as text at once."""


def number_blocks(file: Path, columns: int, binary: bool = False) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the rows of a file in order, in blocks (k, columns) float32, k >= 1.

    Blanks at the end of a line and empty lines at the end of the file are ignored.

    Parameters
    ----------
    columns : how many numbers every line must hold.
    binary : whether all of them must be 0 or 1.

    Raises
    ------
    NotFoundError
        There is no such file, or it cannot be read.
    DataError
        A line that does not hold ``columns`` finite numbers of at most 1e6; the message names it.
    """
    with open_text(file) as stream:
        done = 0
        while lines := list(islice(stream, max(1, BLOCK_NUMBERS // columns))):
            filled = next((row for row, line in enumerate(lines) if line.isspace()), len(lines))
            if filled < len(lines):
                _check_end(file, stream, lines, filled, done)
            if not filled:
                return
            yield _parse(file, lines[:filled], columns, binary, done)
            done += filled


def _check_end(file: Path, stream: TextIO, lines: list[str], filled: int, done: int) -> None:
    """Nothing but empty lines may follow the first of them: else rows would be taken for others."""
    if not all(map(str.isspace, lines[filled:])) or not all(map(str.isspace, stream)):
        raise DataError(f"{file} line {done + filled + 1}: expected numbers, got an empty line")


def _parse(file: Path, lines: list[str], columns: int, binary: bool, done: int) -> npt.NDArray[np.float32]:
    block = _numbers(lines)
    if block is None or block.shape != (len(lines), columns):
        row = next(row for row, line in enumerate(lines) if _n_numbers(line) != columns)
        raise DataError(f"{file} line {done + row + 1}: expected {columns} numbers, got {_shown(lines[row])}")
    good = (block == 0) | (block == 1) if binary else np.abs(block) <= np.float32(MAX_MAGNITUDE)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        expected = "0 or 1" if binary else f"finite numbers up to {MAX_MAGNITUDE:g}"
        number = lines[row].split()[column]
        raise DataError(f"{file} line {done + row + 1}: expected {expected}, got {_shown(number)}")
    return block


def _numbers(lines: list[str]) -> npt.NDArray[np.float32] | None:
    try:
        return np.loadtxt(lines, dtype=np.float32, comments=None, ndmin=2)
    except ValueError:
        return None


def _n_numbers(line: str) -> int | None:
    """How many numbers a line holds; None where something else stands in it."""
    row = _numbers([line])
    return None if row is None else row.shape[1]


def _shown(text: str) -> str:
    return repr(text.strip()[:40])
