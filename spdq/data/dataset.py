"""The one form all data takes: items with image features, text features, labels, raw text and pictures."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spdq.data.splits import Split, check_row_range
from spdq.errors import DataError, UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_BYTES = 8 << 30
MAX_NAME = 255
MAX_MAGNITUDE = 1e6
"""Features beyond this are refused: squared distances between them lose all precision in float32."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """n items; any part but ``name`` and ``ids`` may be absent (None), and what needs it says so.

    Parameters
    ----------
    name : what reports call the data set.
    ids : (n,) int64, or a numpy array of str; unique, n >= 1.
    image_features : (n, d) float16 or float32.
    text_features : (n, d) float32, or a ``scipy.sparse.csr_matrix`` of float32.
    labels : (n, c) uint8 of 0 and 1; a row of zeros is an unlabelled item.
    label_names : c unique names; label sets share the matrix by prefix (``group:...``, ``subgroup:...``).
    texts : n raw texts; a text of several lines is several descriptions of one item, the first is its name.
    vocabulary : d unique words, the columns of ``text_features``.
    image_paths : n paths relative to ``root``, ``/`` between their parts.
    image_extractor : spec of the extractor that made ``image_features``, such as ``lite0:128``.
    split : query, train and database rows.
    root : the folder ``image_paths`` start from; after ``load`` the folder of the file. Not stored.

    Raises
    ------
    DataError
        Any part of another shape or type, NaN, infinite or beyond 1e6, rows that do not align, duplicates.
    """

    name: str
    ids: npt.NDArray[np.int64] | npt.NDArray[np.str_]
    image_features: npt.NDArray[np.float16] | npt.NDArray[np.float32] | None = None
    text_features: npt.NDArray[np.float32] | csr_matrix | None = None
    labels: npt.NDArray[np.uint8] | None = None
    label_names: tuple[str, ...] = ()
    texts: tuple[str, ...] | None = None
    vocabulary: tuple[str, ...] | None = None
    image_paths: tuple[str, ...] | None = None
    image_extractor: str | None = None
    split: Split | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        check_ids(self.ids)
        n = len(self.ids)
        if self.image_features is not None:
            _check_dense("image_features", self.image_features, n, ("float16", "float32"))
        if self.text_features is not None:
            _check_text_features(self.text_features, n)
        _check_labels(self.labels, self.label_names, n)
        if self.texts is not None:
            _check_length("texts", self.texts, n)
            _check_strings("texts", self.texts, may_be_empty=True)
        if self.vocabulary is not None:
            if self.text_features is None:
                raise DataError("vocabulary without text_features: its words name their columns")
            _check_length("vocabulary", self.vocabulary, self.text_features.shape[1])
            _check_strings("vocabulary", self.vocabulary, unique=True)
        if self.image_paths is not None:
            _check_length("image_paths", self.image_paths, n)
            _check_paths(self.image_paths)
        if self.image_extractor is not None:
            _check_name("image_extractor", self.image_extractor)
            if self.image_features is None:
                raise DataError("image_extractor without image_features: it names what made them")
        if self.split is not None:
            for part in ("query", "train", "database"):
                check_row_range(f"split {part}", getattr(self.split, part), n)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def load(cls, path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Dataset:
        """Read a data set file; it may come from anyone (see ``spdq.data.hdf5``).

        Raises
        ------
        NotFoundError, DataError, DamagedError, IncompatibleError, StorageError
        """
        from spdq.data import hdf5

        return hdf5.read(Path(path), max_bytes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all parts to one HDF5 file, whole or not at all; the same content gives the same bytes.

        Where ``root`` is known, the stored image paths are relative to the new file's folder.

        Raises
        ------
        NotFoundError
            The folder does not exist.
        StorageError
            The storage refused; a file that was there before is unchanged.
        """
        from spdq.data import hdf5

        hdf5.write(self, Path(path))

    def select_labels(self, prefix: str) -> Dataset:
        """Keep only the label columns whose name starts with ``prefix`` (``"subgroup:"``); names stay whole.

        Raises
        ------
        DataError
            No label name starts so.
        """
        if self.labels is None:
            raise DataError(f"{self.name} has no labels to select {prefix!r} from")
        columns = [c for c, label in enumerate(self.label_names) if label.startswith(prefix)]
        if not columns:
            there = ", ".join(self._label_sets()) or "labels without a prefix"
            raise DataError(f"{self.name}: no label starts with {prefix!r}; there are {there}")
        names = tuple(self.label_names[c] for c in columns)
        return dataclasses.replace(
            self, labels=np.ascontiguousarray(self.labels[:, columns]), label_names=names
        )

    def with_split(self, split: Split | None) -> Dataset:
        """The same items with another split."""
        return dataclasses.replace(self, split=split)

    def take(self, rows: npt.ArrayLike) -> Dataset:
        """The items of some rows, in that order, without a split.

        Parameters
        ----------
        rows : (m,) integers, m >= 1, each at most once.

        Raises
        ------
        DataError
            No such row, no rows at all, a row twice.
        """
        chosen = np.asarray(rows)
        if chosen.ndim != 1 or chosen.size == 0 or not np.issubdtype(chosen.dtype, np.integer):
            raise DataError(f"rows to take: expected (m,) integers, got {chosen.shape} {chosen.dtype}")
        check_row_range("rows to take", np.sort(chosen.astype(np.int64)), len(self))
        parts: dict[str, Any] = {"ids": self.ids[chosen], "split": None}
        for name in ("image_features", "text_features", "labels"):
            if (part := getattr(self, name)) is not None:
                parts[name] = part[chosen]
        for name in ("texts", "image_paths"):
            if (part := getattr(self, name)) is not None:
                parts[name] = tuple(part[row] for row in chosen)
        return dataclasses.replace(self, **parts)

    def image_path(self, row: int) -> Path:
        """Where the picture of one row lies. The file named there is not looked at.

        Raises
        ------
        DataError
            The data set names no pictures, or no folder is known for them.
        UsageError
            No such row.
        """
        if self.image_paths is None or self.root is None:
            missing = (
                "names no pictures" if self.image_paths is None else "has no root folder: save and load it"
            )
            raise DataError(f"{self.name} {missing}")
        if not 0 <= row < len(self):
            raise UsageError(f"row: expected 0 to {len(self) - 1}, got {row}")
        return self.root / self.image_paths[row]

    def describe(self) -> dict[str, Any]:
        """Sizes of every part, JSON-ready; absent parts are None."""
        split = self.split
        return {
            "name": self.name,
            "items": len(self),
            "ids": "int" if self.ids.dtype.kind == "i" else "str",
            "image_features": _describe_features(self.image_features),
            "image_extractor": self.image_extractor,
            "text_features": _describe_features(self.text_features),
            "words": None if self.vocabulary is None else len(self.vocabulary),
            "texts": None if self.texts is None else sum(bool(text.strip()) for text in self.texts),
            "pictures": None if self.image_paths is None else len(self.image_paths),
            "labels": None if self.labels is None else len(self.label_names),
            "label_sets": self._label_sets(),
            "labels_an_item": None if self.labels is None else float(self.labels.sum() / len(self)),
            "split": None
            if split is None
            else {
                "kind": split.kind,
                "seed": split.seed,
                "query": len(split.query),
                "train": len(split.train),
                "database": len(split.database),
                "queries_trained": split.queries_trained,
            },
        }

    def _label_sets(self) -> dict[str, int]:
        """Label columns by prefix (``group:``), for names that have one."""
        return dict(Counter(name.split(":")[0] + ":" for name in self.label_names if ":" in name))


def _describe_features(features: Any) -> dict[str, Any] | None:
    if features is None:
        return None
    return {
        "dim": int(features.shape[1]),
        "dtype": str(features.dtype),
        "sparse": not isinstance(features, np.ndarray),
    }


def _check_length(what: str, values: tuple[str, ...], n: int) -> None:
    if not isinstance(values, tuple):
        raise DataError(f"{what}: expected a tuple of str, got {type(values).__name__}")
    if len(values) != n:
        raise DataError(f"{what}: expected {n}, got {len(values)}")


def _check_strings(
    what: str, values: tuple[str, ...], may_be_empty: bool = False, unique: bool = False
) -> None:
    """NUL ends a string in fixed-length storage and a lone surrogate has no UTF-8: both would be lost."""
    for row, value in enumerate(values):
        where = f"{what} row {row}" if len(values) > 1 else what
        if not isinstance(value, str):
            raise DataError(f"{where}: expected str, got {type(value).__name__}")
        if not value and not may_be_empty:
            raise DataError(f"{where} is empty")
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataError(f"{where} holds a NUL character or a lone surrogate: {value!r}")
    if unique and len(set(values)) < len(values):
        repeated = next(value for value, times in Counter(values).items() if times > 1)
        raise DataError(f'{what}: "{repeated}" appears more than once')


def _check_name(what: str, name: str) -> None:
    _check_strings(what, (name,))
    if len(name) > MAX_NAME:
        raise DataError(f"{what}: expected at most {MAX_NAME} characters, got {len(name)}")


def check_ids(ids: Any) -> None:
    if (
        not isinstance(ids, np.ndarray)
        or ids.ndim != 1
        or not (ids.dtype == np.int64 or ids.dtype.kind == "U")
    ):
        raise DataError(f"ids: expected (n,) int64 or str array, got {_shape_of(ids)}")
    if ids.size == 0:
        raise DataError("ids: a data set needs at least one item")
    if ids.dtype.kind == "U":
        _check_strings("ids", tuple(ids.tolist()))
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise DataError(f'duplicate id "{values[counts > 1][0]}"')


def _check_dense(what: str, features: Any, n: int, dtypes: tuple[str, ...]) -> None:
    if (
        not isinstance(features, np.ndarray)
        or features.ndim != 2
        or features.shape[0] != n
        or features.shape[1] == 0
        or str(features.dtype) not in dtypes
    ):
        raise DataError(f"{what}: expected ({n}, d) {' or '.join(dtypes)}, got {_shape_of(features)}")
    good = np.abs(features) <= np.float32(MAX_MAGNITUDE)
    if not good.all():
        row = int(np.argmin(good.all(axis=1)))
        raise DataError(f"{what} row {row} has {_bad_value(features[row])}")


def _check_text_features(features: Any, n: int) -> None:
    if isinstance(features, np.ndarray):
        return _check_dense("text_features", features, n, ("float32",))
    if getattr(features, "format", None) != "csr":
        raise DataError(f"text_features: expected a float32 array or CSR matrix, got {_shape_of(features)}")
    if features.shape[0] != n or features.shape[1] == 0 or features.dtype != np.float32:
        raise DataError(f"text_features: expected ({n}, d) float32 CSR, got {_shape_of(features)}")
    try:
        features.check_format(full_check=True)
    except ValueError as error:
        raise DataError(f"text_features: not a CSR matrix: {error}") from None
    good = np.abs(features.data) <= np.float32(MAX_MAGNITUDE)
    if not good.all():
        first = int(np.argmin(good))
        row = int(np.searchsorted(features.indptr, first, side="right")) - 1
        raise DataError(f"text_features row {row} has {_bad_value(features.data[first : first + 1])}")
    return None


def _check_labels(labels: Any, label_names: tuple[str, ...], n: int) -> None:
    if labels is None:
        if label_names:
            raise DataError(f"label_names: {len(label_names)} names without labels")
        return
    if not isinstance(labels, np.ndarray) or labels.dtype != np.uint8 or labels.ndim != 2 or len(labels) != n:
        raise DataError(f"labels: expected ({n}, c) uint8, got {_shape_of(labels)}")
    if labels.shape[1] == 0:
        raise DataError("labels: expected at least one column, got none; leave labels out instead")
    _check_length("label_names", label_names, labels.shape[1])
    _check_strings("label_names", label_names, unique=True)
    if labels.max() > 1:
        row = int(np.argmax(labels.max(axis=1) > 1))
        raise DataError(f"labels row {row} has {labels[row].max()}, expected 0 or 1")


def _check_paths(paths: tuple[str, ...]) -> None:
    _check_strings("image_paths", paths)
    for row, path in enumerate(paths):
        if PurePosixPath(path).is_absolute():
            raise DataError(f"image_paths row {row}: expected a relative path, got {path}")


def _bad_value(row: npt.NDArray[Any]) -> str:
    if np.isnan(row).any():
        return "NaN"
    return "an infinite value" if np.isinf(row).any() else f"a value beyond {MAX_MAGNITUDE:g}"


def _shape_of(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = "" if isinstance(value, np.ndarray) else f" {type(value).__name__}"
        return f"{value.shape} {value.dtype}{kind}"
    return type(value).__name__
