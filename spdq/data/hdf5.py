"""Data sets as HDF5 files: where each part of a ``Dataset`` lies in a ``container``."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from spdq.data import checker, container
from spdq.data.container import fixed_strings, read_array, read_attribute, read_ids, read_strings, stored_ids
from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError

LAYOUT = checker.Layout(
    format="spdq-dataset",
    version=1,
    file="data set",
    title="data set format",
    short="format",
    groups={
        "/": ("ids", "image", "text", "labels", "label_names", "split", "attributes", "clicks"),
        "/image": ("features", "paths", "regions"),
        "/text": ("features", "utf8", "offsets", "vocabulary"),
        "/text/features": ("data", "indices", "indptr"),
        "/split": ("query", "train", "database"),
    },
    attributes={
        "/": ("format", "version", "name"),
        "/image": ("extractor",),
        "/text/features": ("shape",),
        "/split": ("kind", "seed"),
    },
    or_data_set=("/text/features",),
    reserved=("/attributes", "/clicks", "/image/regions"),
)
_CSR_PARTS = LAYOUT.groups["/text/features"]
_SPLIT_PARTS = LAYOUT.groups["/split"]


def write(dataset: Dataset, path: Path) -> None:
    """Write the file, whole or not at all.

    Raises
    ------
    NotFoundError, StorageError
    """
    container.write(path, _arrays(dataset, path.parent), _attributes(dataset))


def read(path: Path, max_bytes: int) -> Dataset:
    """Check the file in a child process, then read it.

    Raises
    ------
    NotFoundError, DataError, DamagedError, IncompatibleError, StorageError
        As ``container.checked``; DataError also for contents that break the contract of ``Dataset``.
    """
    with container.checked(path, max_bytes, LAYOUT) as file:
        return _read_parts(file, path.parent)


def _arrays(dataset: Dataset, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Where -> array, as stored."""
    arrays: dict[str, Any] = {
        "/ids": stored_ids(dataset.ids),
        "/image/features": dataset.image_features,
        "/labels": dataset.labels,
        "/label_names": fixed_strings(dataset.label_names) if dataset.label_names else None,
    }
    if dataset.image_paths is not None:
        arrays["/image/paths"] = fixed_strings(_paths_from(folder, dataset))
    if isinstance(dataset.text_features, np.ndarray):
        arrays["/text/features"] = dataset.text_features
    elif dataset.text_features is not None:
        arrays |= {f"/text/features/{part}": getattr(dataset.text_features, part) for part in _CSR_PARTS}
    if dataset.texts is not None:
        encoded = [text.encode() for text in dataset.texts]
        arrays["/text/utf8"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        arrays["/text/offsets"] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if dataset.vocabulary is not None:
        arrays["/text/vocabulary"] = fixed_strings(dataset.vocabulary)
    if dataset.split is not None:
        arrays |= {f"/split/{part}": getattr(dataset.split, part) for part in _SPLIT_PARTS}
    return {where: array for where, array in arrays.items() if array is not None}


def _attributes(dataset: Dataset) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "/@format": LAYOUT.format,
        "/@version": LAYOUT.version,
        "/@name": dataset.name,
    }
    if dataset.image_extractor is not None:
        attributes["/image@extractor"] = dataset.image_extractor
    if dataset.text_features is not None and not isinstance(dataset.text_features, np.ndarray):
        attributes["/text/features@shape"] = tuple(int(size) for size in dataset.text_features.shape)
    if dataset.split is not None:
        attributes |= {"/split@kind": dataset.split.kind, "/split@seed": int(dataset.split.seed)}
    return attributes


def _paths_from(folder: Path, dataset: Dataset) -> list[str]:
    """The image paths as seen from ``folder``, where the file will lie."""
    paths = list(dataset.image_paths or ())
    if dataset.root is None:
        return paths
    root, folder = dataset.root.resolve(), folder.resolve()
    if root == folder:
        return paths
    return [Path(os.path.relpath(root / path, folder)).as_posix() for path in paths]


def _read_parts(file: h5py.File, folder: Path) -> Dataset:
    text_features: Any = None
    if "/text/features" in file:
        is_csr = isinstance(file["/text/features"], h5py.Group)
        text_features = _read_csr(file["/text/features"]) if is_csr else read_array(file, "/text/features")
    return Dataset(
        name=read_attribute(file, "/", "name"),
        ids=read_ids(file),
        image_features=read_array(file, "/image/features"),
        text_features=text_features,
        labels=read_array(file, "/labels"),
        label_names=read_strings(file, "/label_names") or (),
        texts=_read_texts(file),
        vocabulary=read_strings(file, "/text/vocabulary"),
        image_paths=read_strings(file, "/image/paths"),
        image_extractor=read_attribute(file, "/image", "extractor"),
        split=_read_split(file),
        root=folder,
    )


def _read_csr(group: h5py.Group) -> Any:
    from scipy.sparse import csr_matrix

    shape = checker.read_attribute(group, "shape", "/text/features")
    missing = [part for part in _CSR_PARTS if part not in group]
    if missing or not isinstance(shape, tuple):
        raise DataError(f"/text/features: a CSR group needs {', '.join(_CSR_PARTS)} and the attribute shape")
    try:
        return csr_matrix(tuple(read_array(group, part) for part in _CSR_PARTS), shape=shape)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"/text/features: not a CSR matrix: {error}") from None


def _read_texts(file: h5py.File) -> tuple[str, ...] | None:
    utf8, offsets = read_array(file, "/text/utf8"), read_array(file, "/text/offsets")
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
    rows = {part: read_array(file, f"/split/{part}") for part in _SPLIT_PARTS}
    kind, seed = read_attribute(file, "/split", "kind"), read_attribute(file, "/split", "seed")
    if kind is None or not isinstance(seed, int):
        raise DataError("/split needs the attributes kind and seed")
    return Split(**rows, kind=kind, seed=seed)
