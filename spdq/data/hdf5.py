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
from spdq.data.attributes import Value, from_text, to_text
from spdq.data.container import fixed_strings, read_array, read_attribute, read_ids, read_strings, stored_ids
from spdq.data.dataset import Dataset
from spdq.data.query_items import QueryItems
from spdq.data.splits import Split
from spdq.errors import DataError

LAYOUT = checker.Layout(
    format="spdq-dataset",
    version=1,
    file="data set",
    title="data set format",
    short="format",
    groups={
        "/": (
            "ids",
            "image",
            "text",
            "labels",
            "label_names",
            "classes",
            "clicks",
            "grades",
            "split",
            "attributes",
        ),
        "/image": ("features", "paths"),
        "/text": ("features", "lines", "utf8", "offsets", "vocabulary"),
        "/text/features": ("data", "indices", "indptr"),
        "/clicks": ("query", "item", "count", "queries"),
        "/clicks/queries": ("utf8", "offsets"),
        "/grades": ("query", "item", "grade", "queries"),
        "/grades/queries": ("utf8", "offsets"),
        "/split": ("query", "train", "database"),
        "/attributes": ("names", "utf8", "offsets"),
    },
    attributes={
        "/": ("format", "version", "name"),
        "/image": ("extractor", "regions"),
        "/text": ("extractor",),
        "/text/features": ("shape",),
        "/split": ("kind", "seed"),
    },
    or_data_set=("/text/features",),
)
_CSR_PARTS = LAYOUT.groups["/text/features"]
_SPLIT_PARTS = LAYOUT.groups["/split"]
_VALUES = {"clicks": "count", "grades": "grade"}
"""What the value of a pair is called in a group of queries and items."""


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
        "/classes": dataset.classes,
    }
    if dataset.image_paths is not None:
        arrays["/image/paths"] = fixed_strings(_paths_from(folder, dataset))
    if isinstance(dataset.text_features, np.ndarray):
        arrays["/text/features"] = dataset.text_features
    elif dataset.text_features is not None:
        arrays |= {f"/text/features/{part}": getattr(dataset.text_features, part) for part in _CSR_PARTS}
    if dataset.texts is not None:
        arrays |= _stored_texts("/text", dataset.texts)
    arrays["/text/lines"] = dataset.line_features
    if dataset.vocabulary is not None:
        arrays["/text/vocabulary"] = fixed_strings(dataset.vocabulary)
    for name, value in _VALUES.items():
        found: QueryItems | None = getattr(dataset, name)
        if found is not None:
            arrays |= {f"/{name}/query": found.query, f"/{name}/item": found.item}
            arrays |= {f"/{name}/{value}": found.value, **_stored_texts(f"/{name}/queries", found.queries)}
    if dataset.attributes:
        arrays["/attributes/names"] = fixed_strings(tuple(dataset.attributes))
        arrays |= _stored_texts("/attributes", tuple(map(to_text, dataset.attributes.values())))
    if dataset.split is not None:
        arrays |= {f"/split/{part}": getattr(dataset.split, part) for part in _SPLIT_PARTS}
    return {where: array for where, array in arrays.items() if array is not None}


def _stored_texts(group: str, texts: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Texts of any length: all their bytes, and where each begins and the last ends."""
    encoded = [text.encode() for text in texts]
    return {
        f"{group}/utf8": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{group}/offsets": np.cumsum([0, *map(len, encoded)], dtype=np.int64),
    }


def _attributes(dataset: Dataset) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "/@format": LAYOUT.format,
        "/@version": LAYOUT.version,
        "/@name": dataset.name,
    }
    if dataset.image_extractor is not None:
        attributes["/image@extractor"] = dataset.image_extractor
    if dataset.image_regions > 1:
        attributes["/image@regions"] = dataset.image_regions
    if dataset.text_extractor is not None:
        attributes["/text@extractor"] = dataset.text_extractor
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
    regions = read_attribute(file, "/image", "regions")
    return Dataset(
        name=read_attribute(file, "/", "name"),
        ids=read_ids(file),
        image_features=read_array(file, "/image/features"),
        text_features=text_features,
        labels=read_array(file, "/labels"),
        label_names=read_strings(file, "/label_names") or (),
        texts=_read_texts(file, "/text"),
        vocabulary=read_strings(file, "/text/vocabulary"),
        image_paths=read_strings(file, "/image/paths"),
        image_extractor=read_attribute(file, "/image", "extractor"),
        text_extractor=read_attribute(file, "/text", "extractor"),
        line_features=read_array(file, "/text/lines"),
        image_regions=1 if regions is None else regions,
        classes=read_array(file, "/classes"),
        clicks=_read_query_items(file, "clicks"),
        grades=_read_query_items(file, "grades"),
        attributes=_read_item_attributes(file),
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


def _read_texts(file: h5py.File, group: str) -> tuple[str, ...] | None:
    """What ``_stored_texts`` made, or None where neither part is there."""
    utf8, offsets = read_array(file, f"{group}/utf8"), read_array(file, f"{group}/offsets")
    if utf8 is None and offsets is None:
        return None
    if utf8 is None or offsets is None or utf8.dtype != np.uint8 or offsets.dtype != np.int64:
        raise DataError(f"raw text needs {group}/utf8 (uint8) and {group}/offsets (int64)")
    if (
        offsets.ndim != 1
        or utf8.ndim != 1
        or offsets.size == 0
        or offsets[0] != 0
        or offsets[-1] != utf8.size
    ):
        raise DataError(f"{group}/offsets: expected (n + 1,) from 0 to {utf8.size}")
    if np.any(offsets[1:] < offsets[:-1]):
        raise DataError(f"{group}/offsets must not descend")
    raw, ends = utf8.tobytes(), offsets.tolist()
    try:
        return tuple(raw[start:end].decode() for start, end in itertools.pairwise(ends))
    except UnicodeDecodeError as error:
        raise DataError(f"{group}/utf8: not UTF-8: {error}") from None


def _read_query_items(file: h5py.File, name: str) -> QueryItems | None:
    if name not in file:
        return None
    queries = _read_texts(file, f"/{name}/queries")
    columns = [read_array(file, f"/{name}/{part}") for part in ("query", "item", _VALUES[name])]
    if queries is None or any(column is None for column in columns):
        raise DataError(f"/{name} needs {', '.join(LAYOUT.groups[f'/{name}'])}")
    try:
        return QueryItems(queries, *columns)
    except DataError as error:
        raise DataError(f"/{name}: {error}") from None


def _read_item_attributes(file: h5py.File) -> dict[str, tuple[Value, ...]]:
    names, columns = read_strings(file, "/attributes/names"), _read_texts(file, "/attributes")
    if names is None and columns is None:
        return {}
    if names is None or columns is None or len(names) != len(columns):
        raise DataError("/attributes needs names, and utf8 and offsets of as many columns")
    return {
        name: from_text(column, f"/attributes {name}") for name, column in zip(names, columns, strict=True)
    }


def _read_split(file: h5py.File) -> Split | None:
    if "/split" not in file:
        return None
    rows = {part: read_array(file, f"/split/{part}") for part in _SPLIT_PARTS}
    kind, seed = read_attribute(file, "/split", "kind"), read_attribute(file, "/split", "seed")
    if kind is None or not isinstance(seed, int):
        raise DataError("/split needs the attributes kind and seed")
    return Split(**rows, kind=kind, seed=seed)
