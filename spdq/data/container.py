"""HDF5 files of arrays and attributes: written whole or not at all, read only after a child process checked them.

``checker`` holds the rules. Strings are fixed-length UTF-8; an array carries its SHA-256 (attribute ``sha256``)
and a fletcher32 checksum a chunk, and the root's ``sha256`` covers all names, types, shapes and attributes.
Files made by others may leave the checksums out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from spdq import errors
from spdq.data import checker
from spdq.data.checker import Layout
from spdq.errors import DamagedError, DataError, NotFoundError, SpdqError, StorageError, UsageError

CHUNK_BYTES = 1 << 20


def write(path: Path, arrays: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, Any]) -> None:
    """Write as ``replace_file`` does. Needs memory for the compressed file.

    Parameters
    ----------
    arrays : ``/group/name`` -> array of integers, floats or ``fixed_strings``.
    attributes : ``/group@name`` -> str, int or tuple of int.

    Raises
    ------
    NotFoundError, StorageError
    """
    replace_file(path, _file_image(arrays, attributes))


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: to a temporary file beside ``path``, sync, rename.

    Raises
    ------
    NotFoundError
        The folder does not exist.
    StorageError
        The storage refused; a file that was there before is unchanged.
    """
    if not path.parent.is_dir():
        raise NotFoundError(f"folder not found: {path.parent}")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from None


@contextlib.contextmanager
def checked(
    path: Path, max_bytes: int, layout: Layout, other_format: type[DataError] = DataError
) -> Iterator[h5py.File]:
    """The file, opened to be read after a child process has checked it.

    Raises
    ------
    NotFoundError
        No such file, or not readable.
    DataError
        Not HDF5, a forbidden feature; or raised inside the context, then with the path put in front.
    ``other_format``
        A good HDF5 file of another format.
    DamagedError
        Truncated, unreadable, or a checksum does not match.
    IncompatibleError
        A newer format version.
    StorageError
        A good file that cannot be opened now: this process has it open in another way.
    """
    _check_readable(path)
    _check_in_child(path, max_bytes, layout, other_format)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error}") from None
    with file:
        try:
            yield file
        except (DataError, UsageError) as error:
            raise DataError(f"{path}: {error}") from None


def fixed_strings(strings: Iterable[str]) -> npt.NDArray[np.bytes_]:
    """As files store strings: UTF-8 of a fixed length."""
    encoded = np.array([string.encode() for string in strings], dtype=np.bytes_)
    return encoded.astype(h5py.string_dtype("utf-8", encoded.dtype.itemsize))


def stored_ids(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(n,) int64 or str -> as files store them."""
    return fixed_strings(ids.tolist()) if ids.dtype.kind == "U" else ids


def read_array(file: h5py.File, where: str) -> Any:
    """The array in the machine's byte order, or None where it is absent."""
    if where not in file:
        return None
    array = file[where][()]
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def read_ids(file: h5py.File) -> npt.NDArray[Any]:
    """``/ids``: (n,) str, or numbers as stored."""
    ids = read_array(file, "/ids")
    if ids is None:
        raise DataError("/ids is missing")
    return np.array(_decode("/ids", ids)) if ids.dtype.kind == "S" else ids


def read_strings(file: h5py.File, where: str) -> tuple[str, ...] | None:
    """The strings, or None where they are absent."""
    array = read_array(file, where)
    return None if array is None else _decode(where, array)


def read_attribute(file: h5py.File, where: str, name: str) -> Any:
    """A string, an integer, a tuple of integers, or None where it or ``where`` is absent."""
    return checker.read_attribute(file[where], name, where) if where in file else None


def _file_image(arrays: Mapping[str, npt.NDArray[Any]], attributes: Mapping[str, Any]) -> bytes:
    """The file's bytes. HDF5 makes them in memory: it does not survive a full disk, plain writes do."""
    # v110 metadata carries checksums, so damage to it is found and not followed.
    with h5py.File("image", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        lines = {where: _write_array(file, where, array) for where, array in arrays.items()}
        for key, value in attributes.items():
            where, name = key.split("@")
            _write_attribute(file[where], name, value)
        _write_attribute(file, "sha256", checker.manifest(lines, attributes))
        file.flush()
        return bytes(file.id.get_file_image())


def _write_array(file: h5py.File, where: str, array: npt.NDArray[Any]) -> str:
    """Store one array with its checksums -> its line of the manifest."""
    array = np.ascontiguousarray(array)
    if array.dtype.kind != "S":
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    data_set = _create(file, where, array, compress=True)
    if array.nbytes > checker.MAX_RATIO * data_set.id.get_storage_size() + checker.FREE_BYTES:
        del file[where]  # squeezed so well (all zeros) that a reader would take it for an attack
        data_set = _create(file, where, array, compress=False)
    checksum = hashlib.sha256(array.tobytes()).hexdigest()
    _write_attribute(data_set, "sha256", checksum)
    return checker.manifest_line(data_set, checksum)


def _create(file: h5py.File, where: str, array: npt.NDArray[Any], compress: bool) -> h5py.Dataset:
    if array.size == 0:  # HDF5 cannot chunk nothing
        return file.create_dataset(where, shape=array.shape, dtype=array.dtype, track_times=False)
    rows = max(1, CHUNK_BYTES * len(array) // array.nbytes)
    return file.create_dataset(
        where,
        data=array,
        chunks=(min(rows, len(array)), *array.shape[1:]),
        compression="gzip" if compress else None,
        compression_opts=4 if compress else None,
        shuffle=compress,
        fletcher32=True,
        track_times=False,
    )


def _write_attribute(node: Any, name: str, value: str | int | tuple[int, ...]) -> None:
    if isinstance(value, str):
        encoded = value.encode()
        node.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8", len(encoded)))
    else:
        node.attrs.create(name, np.asarray(value, dtype=np.int64))


def _check_readable(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"not a file: {path}")
        path.open("rb").close()
    except FileNotFoundError:
        raise NotFoundError(f"data set not found: {path}") from None
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None


def _check_in_child(path: Path, max_bytes: int, layout: Layout, other_format: type[DataError]) -> None:
    """Run ``checker`` in a fresh interpreter (no fork: this process may hold threads and locks)."""
    # OpenBLAS would reserve address space a thread, and the child's is limited.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    arguments = [os.path.abspath(path), str(max_bytes), json.dumps(dataclasses.asdict(layout))]
    command = [sys.executable, "-P", checker.__file__, *arguments]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise DamagedError(f"{path} is damaged or hostile: checking it ended with {_end(done)}")
    answer = json.loads(done.stdout)
    if answer:
        other = answer["error"] == checker.OTHER_FORMAT
        error: type[SpdqError] = other_format if other else getattr(errors, answer["error"])
        raise error(answer["message"].replace(os.path.abspath(path), str(path)))


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode == -signal.SIGALRM:
        return f"no answer within {checker.SECONDS} s"
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return done.stderr.decode(errors="replace").strip().splitlines()[-1]


def _decode(where: str, array: npt.NDArray[Any]) -> tuple[str, ...]:
    if array.dtype.kind != "S" or array.ndim != 1:
        raise DataError(f"{where}: expected (n,) fixed-length UTF-8 strings, got {array.shape} {array.dtype}")
    try:
        return tuple(value.decode() for value in array.tolist())
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8: {error}") from None
