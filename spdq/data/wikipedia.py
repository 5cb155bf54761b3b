"""Wikipedia featured articles (Rasiwasia et al., ACM MM 2010): features of 2,866 documents, 10 classes.

Two published files, each with its own train/test split; their classes are in the same order:

- ``sift``: ``raw_features.mat``, SIFT bag of words (128) and LDA topics (10), row-aligned with
  ``trainset_txt_img_cat.list`` and ``testset_txt_img_cat.list`` (text id, image id, category from 1);
- ``cnn``: ``wiki_cnn.mat``, a struct ``data`` of CNN features ``X1`` (128, n), document vectors ``X2``
  (100, n), labels ``Y`` (10, n) and ``split.ind_train`` / ``ind_test`` (column numbers from 1, in no order).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.matlab import dense, fields, open_matlab
from spdq.data.splits import Rows, Split, SplitKind, make_split
from spdq.data.text_lines import text_lines
from spdq.errors import DataError, UsageError


def load_wikipedia(
    folder: Path, features: Literal["sift", "cnn"] = "sift", kind: SplitKind = "seen", seed: int = 0
) -> Dataset:
    """Read one of the two files; the queries are its own test items.

    seen: train and database are its training items. unseen: a random half of them is train, the other half
    database. paired: as in the literature on this set, train is its training items, the database its test
    items. Features are as published, unscaled. ids are text ids (str) for ``sift``, column numbers from 1 for
    ``cnn``.

    Raises
    ------
    NotFoundError
        A file is missing.
    DataError
        A file is not what is described above; the message names it.
    UsageError
        Unknown ``features`` or ``kind``.
    """
    if features not in ("sift", "cnn"):
        raise UsageError(f"features: expected sift or cnn, got {features!r}")
    categories = tuple(line.strip() for line in text_lines(folder / "categories.list"))
    load = _load_sift if features == "sift" else _load_cnn
    ids, image, text, labels, test = load(folder, categories)
    return Dataset(
        name="wikipedia" if features == "sift" else "wikipedia_cnn",
        ids=ids,
        image_features=np.ascontiguousarray(image, dtype=np.float32),
        text_features=np.ascontiguousarray(text, dtype=np.float32),
        labels=labels,
        label_names=categories,
        split=_split(len(ids), test, kind, seed),
    )


def _split(n: int, test: Rows, kind: SplitKind, seed: int) -> Split:
    if kind != "paired":
        return make_split(n, test, kind, seed)
    train = make_split(n, test, kind, seed).train
    return Split(query=test, train=train, database=test, kind=kind, seed=seed)


def _load_sift(folder: Path, categories: tuple[str, ...]) -> tuple[Any, ...]:
    file = folder / "raw_features.mat"
    names = ("I_tr", "T_tr", "I_te", "T_te")
    with open_matlab(file) as matlab:
        matlab.require(*names)
        content = {name: matlab.matrix(name, np.float64) for name in names}
    ids: list[str] = []
    classes: list[int] = []
    for part, list_name in (("tr", "trainset_txt_img_cat.list"), ("te", "testset_txt_img_cat.list")):
        lines = text_lines(folder / list_name)
        for modality in ("I", "T"):
            rows = content[f"{modality}_{part}"].shape[0]
            if rows != len(lines):
                raise DataError(
                    f"{file}: {modality}_{part} has {rows} rows, but {list_name} has {len(lines)} lines"
                )
        for number, line in enumerate(lines, start=1):
            fields = line.split()
            if len(fields) != 3 or not fields[2].isdecimal() or not 1 <= int(fields[2]) <= len(categories):
                expected = f"text id, image id, category 1 to {len(categories)}"
                raise DataError(f"{folder / list_name} line {number}: expected {expected}, got {line!r}")
            ids.append(fields[0])
            classes.append(int(fields[2]) - 1)
    n_train = content["I_tr"].shape[0]
    labels = np.eye(len(categories), dtype=np.uint8)[classes]
    image = _stack(file, content["I_tr"], content["I_te"])
    text = _stack(file, content["T_tr"], content["T_te"])
    return np.array(ids), image, text, labels, np.arange(n_train, len(ids), dtype=np.int64)


def _load_cnn(folder: Path, categories: tuple[str, ...]) -> tuple[Any, ...]:
    file = folder / "wiki_cnn.mat"
    with open_matlab(file) as matlab:
        data = fields(f"{file}: data", matlab.read("data"), ("X1", "X2", "Y", "split"))
    split = fields(f"{file}: data.split", data["split"], ("ind_train", "ind_test"))
    image, text, labels = (dense(f"{file}: data.{name}", data[name]) for name in ("X1", "X2", "Y"))
    n = image.shape[1]
    if text.shape[1] != n or labels.shape != (len(categories), n):
        shapes = f"X1 {image.shape}, X2 {text.shape}, Y {labels.shape}"
        raise DataError(f"{file}: expected X1 (d, n), X2 (d, n), Y ({len(categories)}, n), got {shapes}")
    train, test = (
        np.sort(dense(f"{file}: data.split.{part}", split[part]).ravel().astype(np.int64)) - 1
        for part in ("ind_train", "ind_test")
    )
    if not np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n)):
        raise DataError(f"{file}: ind_train and ind_test must name each column 1 to {n} once")
    ids = np.arange(1, n + 1, dtype=np.int64)
    return ids, image.T, text.T, np.ascontiguousarray(labels.T, dtype=np.uint8), test


def _stack(file: Path, train: npt.NDArray[Any], test: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if train.shape[1] != test.shape[1]:
        raise DataError(
            f"{file}: training features have {train.shape[1]} columns, test features {test.shape[1]}"
        )
    return np.concatenate([train, test])
