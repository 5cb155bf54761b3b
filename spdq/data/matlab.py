"""Variables of MATLAB files, version 5 and version 7.3, in the shape MATLAB shows them.

Files of version 7.3 are HDF5 with the axes of every array reversed (see ``matlab_hdf5``); callers cannot tell.
A variable is given out as

- numbers and logicals: ndarray of their stored type, of two axes or more; sparse ones a SciPy CSC matrix;
- char: tuple of str, one a row;
- a vector of cells: list of such values;
- a 1 x 1 struct: dict of field -> such a value.

Anything else (complex numbers, objects, tables, function handles) is refused. Nothing in a file is run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import MAX_BYTES
from spdq.errors import DataError, NotFoundError

Shape = tuple[int, ...]
MAX_DEPTH = 4
"""Cells and structs in each other, at most."""


class Variables(Protocol):
    """What the readers of both versions give; ``name`` is always one of ``names``."""

    names: tuple[str, ...]

    def shape(self, name: str) -> Shape: ...

    def read(self, name: str, dtype: npt.DTypeLike | None = None) -> Any: ...

    def blocks(self, name: str, axis: int, step: int) -> Iterator[npt.NDArray[Any]]: ...


class MatlabFile:
    """One open file; ``open_matlab`` makes it. All errors name the file and the variable."""

    def __init__(self, path: Path, variables: Variables) -> None:
        self.path = path
        self.names = variables.names
        self._variables = variables

    def require(self, *names: str) -> None:
        """Raise DataError unless all these variables are there."""
        if missing := [name for name in names if name not in self.names]:
            raise DataError(
                f"{self.path}: expected the matrices {', '.join(names)}; {', '.join(missing)} missing"
            )

    def shape(self, name: str) -> Shape:
        """Sizes of numbers, sparse or not, along MATLAB's axes."""
        self.require(name)
        return self._variables.shape(name)

    def read(self, name: str) -> Any:
        """A variable in one of the forms above.

        Raises
        ------
        DataError
            It is missing, of another kind, or larger than the file was opened for.
        DamagedError
            It cannot be read.
        """
        self.require(name)
        return self._variables.read(name)

    def matrix(self, name: str, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
        """Numbers of two axes, dense: (rows, columns) of ``dtype``, or of the stored type.

        Raises
        ------
        DataError, DamagedError
            As ``read``, or the variable is no numeric matrix.
        """
        self.require(name)
        return dense(f"{self.path}: {name}", self._variables.read(name, dtype), dtype)

    def strings(self, name: str) -> list[tuple[str, ...]]:
        """The rows of a char array or the texts of a vector of cells, see ``strings``.

        Raises
        ------
        DataError, DamagedError
            As ``read``, or the variable is no text.
        """
        return strings(f"{self.path}: {name}", self.read(name))

    def blocks(self, name: str, axis: int, step: int) -> Iterator[npt.NDArray[Any]]:
        """Yield the parts of an array of numbers, ``step`` long along ``axis``, in order.

        From a file of version 7.3 one part at a time is read.

        Raises
        ------
        DataError, DamagedError
            As ``read``, or the variable is no array of numbers.
        """
        self.require(name)
        return self._variables.blocks(name, axis, step)


@contextmanager
def open_matlab(path: Path, max_bytes: int = MAX_BYTES) -> Iterator[MatlabFile]:
    """Open a MATLAB file of either version; ``max_bytes`` is the most one variable may declare.

    Raises
    ------
    NotFoundError
        No such file.
    DataError
        Not a MATLAB file.
    DamagedError
        A file of version 7.3 that is truncated or damaged.
    """
    if not path.is_file():
        raise NotFoundError(f"file not found: {path}")
    import h5py

    if not h5py.is_hdf5(path):
        yield MatlabFile(path, _Version5(path, max_bytes))
        return
    from spdq.data.matlab_hdf5 import HDF5Variables

    with HDF5Variables(path, max_bytes) as variables:
        yield MatlabFile(path, variables)


def dense(where: str, value: Any, dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Numbers of two axes as an ndarray; a value beyond ``dtype`` becomes infinite.

    Raises
    ------
    DataError
        The value is no numeric matrix; ``where`` names it.
    """
    if hasattr(value, "toarray"):
        check_size(where, value.shape, np.dtype(dtype or value.dtype).itemsize, MAX_BYTES)
        value = value.toarray()
    if not isinstance(value, np.ndarray) or value.ndim != 2:
        raise DataError(f"{where} is not a numeric matrix, but {described(value)}")
    with np.errstate(over="ignore"):
        return value if dtype is None else value.astype(dtype, copy=False)


def strings(where: str, value: Any) -> list[tuple[str, ...]]:
    """Texts, each a tuple of its lines: a row of a char array is one line, a cell may hold several.

    Raises
    ------
    DataError
        The value is not made of text; ``where`` names it.
    """
    if isinstance(value, tuple):
        return [(row,) for row in value]
    if isinstance(value, list):
        return [_lines(f"{where} cell {number}", cell) for number, cell in enumerate(value, start=1)]
    raise DataError(f"{where}: expected text or cells of text, got {described(value)}")


def _lines(where: str, cell: Any) -> tuple[str, ...]:
    if isinstance(cell, tuple):
        return cell
    if isinstance(cell, np.ndarray) and cell.size == 0:
        return ()
    if isinstance(cell, list):
        return tuple(line for inner in cell for line in _lines(where, inner))
    raise DataError(f"{where}: expected text, got {described(cell)}")


def fields(where: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    """The named fields of a struct.

    Raises
    ------
    DataError
        The value is no struct, or lacks one; ``where`` names it.
    """
    there = value if isinstance(value, dict) else {}
    if missing := [name for name in names if name not in there]:
        raise DataError(f"{where}: expected a struct with {', '.join(names)}; {', '.join(missing)} missing")
    return {name: there[name] for name in names}


def described(value: Any) -> str:
    """What a message calls a value: ``cells``, ``3 x 4 float64``."""
    if isinstance(value, tuple):
        return "text"
    if isinstance(value, list | dict):
        return "cells" if isinstance(value, list) else "a struct"
    return f"{shape_text(value.shape)} {value.dtype}"


def shape_text(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def check_size(where: str, shape: Sequence[int], item_bytes: int, max_bytes: int) -> int:
    """Bytes an array takes. Raises DataError above ``max_bytes``."""
    size = math.prod(shape) * item_bytes
    if size > max_bytes:
        raise DataError(f"{where}: {shape_text(shape)} takes {size} bytes, the limit is {max_bytes}")
    return size


_ITEM_BYTES = {"double": 8, "single": 4, "logical": 1}
_ITEM_BYTES |= {f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)}


class _Version5:
    """Version 5 (and 4) through SciPy, which reads a variable whole."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        from scipy.io import whosmat

        self._path, self._max_bytes = path, max_bytes
        try:
            found = whosmat(path)
        except Exception as error:  # a broken file makes the reader raise nearly anything
            raise self._broken(error) from None
        self._shapes = {name: tuple(map(int, shape)) for name, shape, _ in found}
        self._classes = {name: kind for name, _, kind in found}
        self.names = tuple(self._shapes)

    def shape(self, name: str) -> Shape:
        return self._shapes[name]

    def read(self, name: str, dtype: npt.DTypeLike | None = None) -> Any:
        from scipy.io import loadmat

        where = f"{self._path}: {name}"
        check_size(where, self._shapes[name], _ITEM_BYTES.get(self._classes[name], 0), self._max_bytes)
        try:
            value = loadmat(self._path, variable_names=[name])[name]
        except Exception as error:  # as above
            raise self._broken(error) from None
        return _plain(where, value, MAX_DEPTH)

    def blocks(self, name: str, axis: int, step: int) -> Iterator[npt.NDArray[Any]]:
        array = self.read(name)
        if not isinstance(array, np.ndarray):
            raise DataError(f"{self._path}: {name} is not an array of numbers, but {described(array)}")
        for start in range(0, array.shape[axis], step):
            yield array[(slice(None),) * axis + (slice(start, start + step),)]

    def _broken(self, error: Exception) -> DataError:
        return DataError(
            f"{self._path}: not a MATLAB v5 file, nor one of v7.3 ({type(error).__name__}: {error})"
        )


def _plain(where: str, value: Any, depth: int) -> Any:
    """What SciPy makes of a variable -> the forms of this module."""
    if hasattr(value, "tocsc"):
        value = value.tocsc()
        if value.dtype.kind in "buif":
            return value
    elif type(value) is np.ndarray and depth:
        if value.dtype.names is not None and value.size == 1:
            record = value.reshape(-1)[0]
            return {
                field: _plain(f"{where}.{field}", record[field], depth - 1) for field in value.dtype.names
            }
        if value.dtype.kind == "O" and value.dtype.names is None and is_vector(value.shape):
            cells = enumerate(value.ravel(), start=1)
            return [_plain(f"{where} cell {number}", cell, depth - 1) for number, cell in cells]
        if value.dtype.kind == "U":
            rows = value.ravel().tolist()
            return tuple(rows if len(rows) == 1 else [row.rstrip() for row in rows])
        if value.dtype.kind in "buif":
            return value.astype(value.dtype.newbyteorder("="), copy=False)
    raise unreadable(where)


def is_vector(shape: Sequence[int]) -> bool:
    return sum(size != 1 for size in shape) <= 1 or 0 in shape


def unreadable(where: str) -> DataError:
    """The error for what has none of the forms of this module."""
    allowed = "real numbers, char, a vector of cells or a 1 x 1 struct"
    return DataError(f"{where}: expected {allowed}, at most {MAX_DEPTH} deep; save it as one of them")
