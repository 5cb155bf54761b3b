"""The one form all data takes: items with image features, text features, labels, raw text and pictures."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spdq.data.attributes import Attributes, check_attributes, column_kind
from spdq.data.dataset_checks import (
    MAX_CLICKS,
    MAX_GRADE,
    check_classes,
    check_dense,
    check_ids,
    check_labels,
    check_length,
    check_line_features,
    check_name,
    check_paths,
    check_regions,
    check_strings,
    check_text_features,
)
from spdq.data.lines import line_features, line_starts, text_features
from spdq.data.query_items import QueryItems
from spdq.data.splits import Split, check_row_range
from spdq.errors import DataError, UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spdq.data.extractor import Progress, TextExtractor

MAX_BYTES = 8 << 30


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
    text_extractor : spec of the one that made ``text_features`` of ``texts``, where it has a name.
    line_features : (lines, d) float32, what it makes of each line of ``texts``; for texts of several lines.
    image_regions : how many parts of equal length a row of ``image_features`` is, one a region of the picture,
        in row-major order.
    classes : (n,) int64; items of one class show or mean one thing (weak and noisy); -1 is no class.
    clicks : how often an item was clicked for a query; to learn from.
    grades : how good an item is for a query that ``clicks`` lacks: 3 excellent, 2 good, 1 fair. What is not
        named is bad. What held-out queries should find.
    attributes : columns of n values to filter by, of one kind each: whole numbers, numbers, texts or tuples of texts;
        None is "not known".
    split : query, train and database rows.
    root : the folder ``image_paths`` start from; after ``load`` the folder of the file. Not stored.

    Raises
    ------
    DataError
        Any part of another shape or type, NaN, infinite or beyond 1e6, rows that do not align, duplicates, a
        query both in clicks and in grades.
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
    image_regions: int = 1
    text_extractor: str | None = None
    line_features: npt.NDArray[np.float32] | None = None
    classes: npt.NDArray[np.int64] | None = None
    clicks: QueryItems | None = None
    grades: QueryItems | None = None
    attributes: Attributes = dataclasses.field(default_factory=dict)
    split: Split | None = None
    root: Path | None = None

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_ids(self.ids)
        n = len(self.ids)
        if self.image_features is not None:
            check_dense("image_features", self.image_features, n, ("float16", "float32"))
        if self.text_features is not None:
            check_text_features(self.text_features, n)
        check_labels(self.labels, self.label_names, n)
        if self.texts is not None:
            check_length("texts", self.texts, n)
            check_strings("texts", self.texts, may_be_empty=True)
        if self.vocabulary is not None:
            if self.text_features is None:
                raise DataError("vocabulary without text_features: its words name their columns")
            check_length("vocabulary", self.vocabulary, self.text_features.shape[1])
            check_strings("vocabulary", self.vocabulary, unique=True)
        if self.image_paths is not None:
            check_length("image_paths", self.image_paths, n)
            check_paths(self.image_paths)
        if self.image_extractor is not None:
            check_name("image_extractor", self.image_extractor)
            if self.image_features is None:
                raise DataError("image_extractor without image_features: it names what made them")
        check_regions(self.image_regions, self.image_features)
        if self.text_extractor is not None:
            check_name("text_extractor", self.text_extractor)
            if self.text_features is None:
                raise DataError("text_extractor without text_features: it names what made them")
        if self.line_features is not None:
            if self.text_extractor is None or self.texts is None:
                raise DataError(
                    "line_features without texts and text_extractor: they are what it makes of their lines"
                )
            check_line_features(self.line_features, self.texts, self.text_features)
        if self.classes is not None:
            check_classes(self.classes, n)
        _check_queries(self.clicks, self.grades, n)
        check_attributes(self.attributes, n)
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

    def with_classes_of(self, prefix: str) -> Dataset:
        """The same items, whose classes are their labels that start with ``prefix``; the prefix joins the name.

        An item without such a label is of no class.

        Raises
        ------
        DataError
            No label name starts so, or an item has several such labels.
        """
        selected = self.select_labels(prefix)
        labels = np.asarray(selected.labels)
        several = np.flatnonzero(labels.sum(axis=1) > 1)
        if len(several):
            row = several[0]
            names = ", ".join(selected.label_names[c] for c in np.flatnonzero(labels[row]))
            raise DataError(f"{self.name}: a class is one label, item {self.ids[row]} has several: {names}")
        classes = np.where(labels.any(axis=1), labels.argmax(axis=1), -1).astype(np.int64)
        return dataclasses.replace(
            self, name=f"{self.name}-{prefix.rstrip(':')}".rstrip("-"), classes=classes
        )

    def with_text_features(self, extractor: TextExtractor, progress: Progress | None = None) -> Dataset:
        """The same items with what an extractor makes of their texts, line by line where some have several.

        Raises
        ------
        DataError
            There are no texts.
        IncompatibleError
            The extractor's features are not what it says.
        """
        if self.texts is None:
            raise DataError(f"{self.name} has no texts for {extractor.name}")
        lines, starts = line_features(self.texts, extractor, progress), line_starts(self.texts)
        return dataclasses.replace(
            self,
            text_features=text_features(lines, starts),
            line_features=lines if len(lines) > len(self) else None,
            text_extractor=extractor.name,
            vocabulary=None,
        )

    def with_split(self, split: Split | None) -> Dataset:
        """The same items with another split."""
        return dataclasses.replace(self, split=split)

    def take(self, rows: npt.ArrayLike) -> Dataset:
        """The items of some rows, in that order, without a split, clicks and grades: all these name rows.

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
        parts: dict[str, Any] = {"ids": self.ids[chosen], "clicks": None, "grades": None, "split": None}
        for name in ("image_features", "text_features", "labels", "classes"):
            if (part := getattr(self, name)) is not None:
                parts[name] = part[chosen]
        for name in ("texts", "image_paths"):
            if (part := getattr(self, name)) is not None:
                parts[name] = tuple(part[row] for row in chosen)
        if self.texts is not None and self.line_features is not None:
            starts = line_starts(self.texts)
            lines = [np.arange(starts[row], starts[row + 1]) for row in chosen]
            parts["line_features"] = self.line_features[np.concatenate(lines)]
        parts["attributes"] = {
            name: tuple(column[row] for row in chosen) for name, column in self.attributes.items()
        }
        return dataclasses.replace(self, **parts)

    def names_of_labels(self, rows: npt.ArrayLike) -> list[list[str]]:
        """The names of the labels of some rows, in the order of ``label_names``; none for all without labels."""
        chosen = np.asarray(rows, np.int64)
        if self.labels is None:
            return [[] for _ in chosen]
        names = np.array(self.label_names, object)
        return [names[row.astype(bool)].tolist() for row in self.labels[chosen]]

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
            "image_regions": None if self.image_features is None else self.image_regions,
            "text_features": _describe_features(self.text_features),
            "text_extractor": self.text_extractor,
            "words": None if self.vocabulary is None else len(self.vocabulary),
            "texts": None if self.texts is None else sum(bool(text.strip()) for text in self.texts),
            "pictures": None if self.image_paths is None else len(self.image_paths),
            "labels": None if self.labels is None else len(self.label_names),
            "label_sets": self._label_sets(),
            "labels_an_item": None if self.labels is None else float(self.labels.sum() / len(self)),
            "classes": None if self.classes is None else len(np.unique(self.classes[self.classes >= 0])),
            "classed_items": None if self.classes is None else int((self.classes >= 0).sum()),
            "clicks": None
            if self.clicks is None
            else {**_describe_queries(self.clicks), "clicks": int(self.clicks.value.sum())},
            "grades": None if self.grades is None else _describe_queries(self.grades),
            "attributes": {name: column_kind(name, column) for name, column in self.attributes.items()},
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


def _describe_queries(found: QueryItems) -> dict[str, int]:
    return {"queries": len(found.queries), "pairs": len(found)}


def _check_queries(clicks: QueryItems | None, grades: QueryItems | None, n: int) -> None:
    for name, found, most in (("clicks", clicks, MAX_CLICKS), ("grades", grades, MAX_GRADE)):
        if found is None:
            continue
        if found.item.max() >= n:
            raise DataError(f"{name}: item {found.item.max()} is outside the data set's {n} rows")
        if found.value.max() > most:
            raise DataError(f"{name}: expected 1 to {most:,}, got {found.value.max():,}")
    if clicks is None or grades is None:
        return
    if shared := set(grades.queries).intersection(clicks.queries):
        raise DataError(
            f'"{min(shared)}" and {len(shared) - 1:,} more queries stand both in clicks and in grades: '
            "a held-out query must not be learned from"
        )
