"""MATLAB files of version 7.3: HDF5, each array with its axes reversed and its class in an attribute.

Such a file may come from anyone. Only what has one of the forms of ``spdq.data.matlab`` is read, through hard
links and cells' object references alone (so from this file alone), under the rules for storage that data sets
have, and no more bytes than the limit for one variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
import numpy.typing as npt

from spdq import errors
from spdq.data import checker
from spdq.data.matlab import MAX_DEPTH, Shape, check_size, described, is_vector, unreadable
from spdq.errors import DamagedError, DataError, SpdqError

CELL_BYTES = 256
"""A cell or field counts so much beside its content: Python's objects are large."""
SLAB_BYTES = 64 << 20
_NUMERIC = {
    "double",
    "single",
    "logical",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


class HDF5Variables:
    """The variables of one file, to be used as a context. A file without MATLAB's attributes has numbers alone."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._bytes_left = max_bytes
        try:
            self._file = h5py.File(path, "r", locking=False)
        except OSError as error:
            raise DamagedError(f"{path} is truncated or damaged: {error}") from None
        with self._reading("its list of variables"):
            # Names that start with # are MATLAB's own: the contents of cells.
            self.names = tuple(name for name in self._file if not name.startswith("#"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def shape(self, name: str) -> Shape:
        with self._reading(name) as where:
            node = self._child(self._file, name, where)
            if isinstance(node, h5py.Group):
                return self._sparse_shape(node, where) if "MATLAB_sparse" in node.attrs else (1, 1)
            if _attribute(node, "MATLAB_empty", where):
                return self._empty_shape(node, where)
            return _matlab_shape(node)

    def read(self, name: str, dtype: npt.DTypeLike | None = None) -> Any:
        self._bytes_left = self._max_bytes
        with self._reading(name) as where:
            return self._value(self._child(self._file, name, where), where, MAX_DEPTH, dtype)

    def blocks(self, name: str, axis: int, step: int) -> Iterator[npt.NDArray[Any]]:
        with self._reading(name) as where:
            node = self._child(self._file, name, where)
            if not self._holds_numbers(node, where) or node.ndim < 2:
                value = self.read(name)
                raise DataError(f"{where} is not an array of numbers, but {described(value)}")
            self._check(node, where)
            stored_axis = node.ndim - 1 - axis
        for start in range(0, node.shape[stored_axis], step):
            with self._reading(name):
                block = node[(slice(None),) * stored_axis + (slice(start, start + step),)].T
            yield _native(block)

    @contextmanager
    def _reading(self, name: str) -> Iterator[str]:
        """Yields what errors call the variable, and turns what a broken or forbidden one raises into ours."""
        where = f"{self._path}: {name}"
        try:
            yield where
        except SpdqError:
            raise
        except checker.Refused as refused:
            error: type[SpdqError] = getattr(errors, refused.error)
            raise error(str(refused)) from None
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as fault:
            raise DamagedError(f"{where} cannot be read: {fault}") from None

    def _child(self, group: h5py.Group, name: str, where: str) -> Any:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"links are not allowed ({where})")
        return group[name]

    def _value(self, node: Any, where: str, depth: int, dtype: npt.DTypeLike | None = None) -> Any:
        matlab_class = _attribute(node, "MATLAB_class", where)
        self._take(CELL_BYTES, where)
        if not depth:
            raise unreadable(where)
        if isinstance(node, h5py.Group):
            if "MATLAB_sparse" in node.attrs:
                return self._sparse(node, where)
            if matlab_class in ("struct", None):
                return {
                    name: self._value(
                        self._child(node, name, f"{where}.{name}"), f"{where}.{name}", depth - 1
                    )
                    for name in node
                }
        elif isinstance(node, h5py.Dataset):
            if self._holds_numbers(node, where):
                return self._numbers(node, where, dtype)
            if matlab_class == "char":
                return self._text(node, where)
            if matlab_class == "cell":
                return self._cells(node, where, depth)
        raise unreadable(where)

    def _holds_numbers(self, node: Any, where: str) -> bool:
        if not isinstance(node, h5py.Dataset):
            return False
        is_number = isinstance(node.id.get_type(), h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)
        return is_number and _attribute(node, "MATLAB_class", where) in (_NUMERIC | {None})

    def _check(self, node: h5py.Dataset, where: str) -> None:
        """Storage and size of a data set, before anything of it is read."""
        size = checker.check_storage(node, where)
        if size > self._max_bytes:
            check_size(where, _matlab_shape(node), node.dtype.itemsize, self._max_bytes)
        self._take(size, where)

    def _take(self, size: int, where: str) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise DataError(f"{where}: the variable takes more than {self._max_bytes} bytes, the limit")

    def _numbers(self, node: h5py.Dataset, where: str, dtype: npt.DTypeLike | None = None) -> Any:
        self._check(node, where)
        if _attribute(node, "MATLAB_empty", where):
            return np.zeros(self._empty_shape(node, where), dtype or node.dtype)
        if node.ndim < 2:
            return _native(np.reshape(node[()], _matlab_shape(node)))
        # By slabs in stored order: a cast of the whole would need room for both.
        array = np.empty(node.shape, dtype or node.dtype.newbyteorder("="))
        step = max(1, SLAB_BYTES * len(array) // max(1, node.nbytes))
        with np.errstate(over="ignore"):
            for start in range(0, len(array), step):
                array[start : start + step] = node[start : start + step]
        return array.T

    def _empty_shape(self, node: h5py.Dataset, where: str) -> Shape:
        """MATLAB stores the sizes of an empty array in the place of its values."""
        if node.ndim != 1 or not 2 <= node.size <= 32:
            raise DataError(f"{where}: expected the sizes of an empty array, got {node.shape}")
        shape = tuple(int(size) for size in node[()])
        if 0 not in shape or min(shape) < 0:
            raise DataError(f"{where}: marked as empty, but has the sizes {shape}")
        return shape

    def _text(self, node: h5py.Dataset, where: str) -> tuple[str, ...]:
        units = self._numbers(node, where)
        if units.size == 0:
            return ()
        if units.ndim != 2 or units.dtype.kind != "u" or units.dtype.itemsize > 2:
            raise unreadable(where)
        try:
            rows = [row.astype("<u2").tobytes().decode("utf-16-le") for row in units]
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-16 text: {error}") from None
        return tuple(rows if len(rows) == 1 else [row.rstrip() for row in rows])

    def _cells(self, node: h5py.Dataset, where: str, depth: int) -> list[Any]:
        self._check(node, where)
        if _attribute(node, "MATLAB_empty", where):
            return []
        if h5py.check_ref_dtype(node.dtype) is not h5py.Reference or not is_vector(node.shape):
            raise unreadable(where)
        cells = []
        for number, reference in enumerate(node[()].ravel(), start=1):
            name = f"{where} cell {number}"
            cells.append(self._value(self._file[reference], name, depth - 1))
        return cells

    def _sparse_shape(self, group: h5py.Group, where: str) -> Shape:
        rows, ends = _attribute(group, "MATLAB_sparse", where), group.get("jc")
        if not isinstance(rows, int) or rows < 0 or not isinstance(ends, h5py.Dataset) or ends.ndim != 1:
            raise DataError(f"{where}: not a sparse matrix: expected its number of rows and jc")
        return rows, ends.size - 1

    def _sparse(self, group: h5py.Group, where: str) -> Any:
        from scipy.sparse import csc_matrix

        shape = self._sparse_shape(group, where)
        parts = {}
        for part in ("data", "ir", "jc"):
            if part in group:
                node = self._child(group, part, f"{where}.{part}")
                if not self._holds_numbers(node, where) or node.ndim != 1:
                    raise DataError(f"{where}.{part}: expected (n,) numbers of a sparse matrix")
                parts[part] = self._numbers(node, f"{where}.{part}").ravel()
        ends = parts["jc"].astype(np.int64)
        entries, rows = parts.get("data", np.empty(0)), parts.get("ir", np.empty(0)).astype(np.int64)
        try:
            matrix = csc_matrix((entries, rows, ends), shape=shape)
            matrix.check_format(full_check=True)
        except ValueError as error:
            raise DataError(f"{where}: not a sparse matrix: {error}") from None
        return matrix


def _attribute(node: Any, name: str, where: str) -> Any:
    return checker.read_attribute(node, name, where)


def _matlab_shape(node: h5py.Dataset) -> Shape:
    """MATLAB has at least two axes: a number is 1 x 1, a plain vector of another program a column."""
    shape = tuple(int(size) for size in reversed(node.shape))
    return shape if len(shape) > 1 else (*shape, *(1,) * (2 - len(shape)))


def _native(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
