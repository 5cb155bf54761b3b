"""Data sets as HDF5 files: written whole or not at all, read only after a child process has checked them.

``checker`` holds the names and rules of the format. Strings are fixed-length UTF-8; a data set carries its
SHA-256 (attribute ``sha256``) and a fletcher32 checksum a chunk, and the root's ``sha256`` covers all names,
types, shapes and attributes. Files made by others may leave the checksums out.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from spdq import errors
from spdq.data import checker
from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DamagedError, DataError, NotFoundError, SpdqError, StorageError, UsageError

CHUNK_BYTES = 1 << 20


def write(dataset: Dataset, path: Path) -> None:
    """Write to a temporary file beside ``path``, sync, rename. Needs memory for the compressed file.

    Raises
    ------
    NotFoundError, StorageError
    """
    if not path.parent.is_dir():
        raise NotFoundError(f"folder not found: {path.parent}")
    image = _file_image(dataset, path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(image)
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


def read(path: Path, max_bytes: int) -> Dataset:
    """Check the file in a child process, then read it.

    Raises
    ------
    NotFoundError
        No such file, or not readable.
    DataError
        Not HDF5, not a data set, a forbidden feature, or contents that break the contract of ``Dataset``.
    DamagedError
        Truncated, unreadable, or a checksum does not match.
    IncompatibleError
        A newer format version.
    StorageError
        A good file that cannot be opened now: this process has it open in another way.
    """
    _check_readable(path)
    _check_in_child(path, max_bytes)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error}") from None
    with file:
        try:
            return _read_parts(file, path.parent)
        except (DataError, UsageError) as error:
            raise DataError(f"{path}: {error}") from None


def _file_image(dataset: Dataset, folder: Path) -> bytes:
    """The file's bytes. HDF5 makes them in memory: it does not survive a full disk, plain writes do."""
    # v110 metadata carries checksums, so damage to it is found and not followed.
    with h5py.File("image", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        lines: dict[str, str] = {}
        for where, array in _arrays(dataset, folder).items():
            lines[where] = _write_array(file, where, array)
        attributes = _attributes(dataset)
        for key, value in attributes.items():
            where, name = key.split("@")
            _write_attribute(file[where], name, value)
        _write_attribute(file, "sha256", checker.manifest(lines, attributes))
        file.flush()
        return bytes(file.id.get_file_image())


def _arrays(dataset: Dataset, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Where -> array, as stored."""
    arrays: dict[str, Any] = {
        "/ids": _fixed_strings(dataset.ids.tolist()) if dataset.ids.dtype.kind == "U" else dataset.ids,
        "/image/features": dataset.image_features,
        "/labels": dataset.labels,
        "/label_names": _fixed_strings(dataset.label_names) if dataset.label_names else None,
    }
    if dataset.image_paths is not None:
        arrays["/image/paths"] = _fixed_strings(_paths_from(folder, dataset))
    if isinstance(dataset.text_features, np.ndarray):
        arrays["/text/features"] = dataset.text_features
    elif dataset.text_features is not None:
        arrays |= {f"/text/features/{part}": getattr(dataset.text_features, part) for part in _CSR_PARTS}
    if dataset.texts is not None:
        encoded = [text.encode() for text in dataset.texts]
        arrays["/text/utf8"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        arrays["/text/offsets"] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if dataset.vocabulary is not None:
        arrays["/text/vocabulary"] = _fixed_strings(dataset.vocabulary)
    if dataset.split is not None:
        arrays |= {f"/split/{part}": getattr(dataset.split, part) for part in _SPLIT_PARTS}
    return {where: array for where, array in arrays.items() if array is not None}


_CSR_PARTS = checker.GROUPS["/text/features"]
_SPLIT_PARTS = checker.GROUPS["/split"]


def _attributes(dataset: Dataset) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "/@format": checker.FORMAT,
        "/@version": checker.VERSION,
        "/@name": dataset.name,
    }
    if dataset.image_extractor is not None:
        attributes["/image@extractor"] = dataset.image_extractor
    if dataset.text_features is not None and not isinstance(dataset.text_features, np.ndarray):
        attributes["/text/features@shape"] = tuple(int(size) for size in dataset.text_features.shape)
    if dataset.split is not None:
        attributes |= {"/split@kind": dataset.split.kind, "/split@seed": int(dataset.split.seed)}
    return attributes


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


def _fixed_strings(strings: Iterable[str]) -> npt.NDArray[np.bytes_]:
    encoded = np.array([string.encode() for string in strings], dtype=np.bytes_)
    return encoded.astype(h5py.string_dtype("utf-8", encoded.dtype.itemsize))


def _paths_from(folder: Path, dataset: Dataset) -> list[str]:
    """The image paths as seen from ``folder``, where the file will lie."""
    paths = list(dataset.image_paths or ())
    if dataset.root is None:
        return paths
    root, folder = dataset.root.resolve(), folder.resolve()
    if root == folder:
        return paths
    return [Path(os.path.relpath(root / path, folder)).as_posix() for path in paths]


def _check_readable(path: Path) -> None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"not a file: {path}")
        path.open("rb").close()
    except FileNotFoundError:
        raise NotFoundError(f"data set not found: {path}") from None
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None


def _check_in_child(path: Path, max_bytes: int) -> None:
    """Run ``checker`` in a fresh interpreter (no fork: this process may hold threads and locks)."""
    # OpenBLAS would reserve address space a thread, and the child's is limited.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", checker.__file__, os.path.abspath(path), str(max_bytes)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise DamagedError(f"{path} is damaged or hostile: checking it ended with {_end(done)}")
    answer = json.loads(done.stdout)
    if answer:
        error: type[SpdqError] = getattr(errors, answer["error"])
        raise error(answer["message"].replace(os.path.abspath(path), str(path)))


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode == -signal.SIGALRM:
        return f"no answer within {checker.SECONDS} s"
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return done.stderr.decode(errors="replace").strip().splitlines()[-1]


def _read_parts(file: h5py.File, folder: Path) -> Dataset:
    text_features: Any = None
    if "/text/features" in file:
        is_csr = isinstance(file["/text/features"], h5py.Group)
        text_features = _read_csr(file["/text/features"]) if is_csr else _array(file, "/text/features")
    ids = _array(file, "/ids")
    if ids is None:
        raise DataError("/ids is missing")
    return Dataset(
        name=_attribute(file, "/", "name"),
        ids=np.array(_decode("/ids", ids)) if ids.dtype.kind == "S" else ids,
        image_features=_array(file, "/image/features"),
        text_features=text_features,
        labels=_array(file, "/labels"),
        label_names=_strings(file, "/label_names") or (),
        texts=_read_texts(file),
        vocabulary=_strings(file, "/text/vocabulary"),
        image_paths=_strings(file, "/image/paths"),
        image_extractor=_attribute(file, "/image", "extractor"),
        split=_read_split(file),
        root=folder,
    )


def _array(file: h5py.File, where: str) -> Any:
    """The array in the machine's byte order, or None where it is absent."""
    if where not in file:
        return None
    array = file[where][()]
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _attribute(file: h5py.File, where: str, name: str) -> Any:
    return checker.read_attribute(file[where], name, where) if where in file else None


def _strings(file: h5py.File, where: str) -> tuple[str, ...] | None:
    array = _array(file, where)
    return None if array is None else _decode(where, array)


def _decode(where: str, array: npt.NDArray[Any]) -> tuple[str, ...]:
    if array.dtype.kind != "S" or array.ndim != 1:
        raise DataError(f"{where}: expected (n,) fixed-length UTF-8 strings, got {array.shape} {array.dtype}")
    try:
        return tuple(value.decode() for value in array.tolist())
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8: {error}") from None


def _read_csr(group: h5py.Group) -> Any:
    from scipy.sparse import csr_matrix

    shape = checker.read_attribute(group, "shape", "/text/features")
    missing = [part for part in _CSR_PARTS if part not in group]
    if missing or not isinstance(shape, tuple):
        raise DataError(f"/text/features: a CSR group needs {', '.join(_CSR_PARTS)} and the attribute shape")
    try:
        return csr_matrix(tuple(_array(group, part) for part in _CSR_PARTS), shape=shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"/text/features: not a CSR matrix: {error}") from None


def _read_texts(file: h5py.File) -> tuple[str, ...] | None:
    utf8, offsets = _array(file, "/text/utf8"), _array(file, "/text/offsets")
    if utf8 is None and offsets is None:
        return None
    if utf8 is None or offsets is None or utf8.dtype != np.uint8 or offsets.dtype != np.int64:
        raise DataError("raw text needs /text/utf8 (uint8) and /text/offsets (int64)")
    if (
        offsets.ndim != 1
        or utf8.ndim != 1
        or offsets.size == 0
        or offsets[0] != 0
        or offsets[-1] != utf8.size
    ):
        raise DataError(f"/text/offsets: expected (n + 1,) from 0 to {utf8.size}")
    if np.any(offsets[1:] < offsets[:-1]):
        raise DataError("/text/offsets must not descend")
    raw, ends = utf8.tobytes(), offsets.tolist()
    try:
        return tuple(raw[start:end].decode() for start, end in itertools.pairwise(ends))
    except UnicodeDecodeError as error:
        raise DataError(f"/text/utf8: not UTF-8: {error}") from None


def _read_split(file: h5py.File) -> Split | None:
    if "/split" not in file:
        return None
    rows = {part: _array(file, f"/split/{part}") for part in _SPLIT_PARTS}
    kind, seed = _attribute(file, "/split", "kind"), _attribute(file, "/split", "seed")
    if kind is None or not isinstance(seed, int):
        raise DataError("/split needs the attributes kind and seed")
    return Split(**rows, kind=kind, seed=seed)
