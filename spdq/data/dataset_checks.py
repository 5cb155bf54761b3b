"""What the parts of a ``Dataset`` must be; each check raises DataError and says which part broke the contract."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.lines import line_starts
from spdq.errors import DataError

MAX_NAME = 255
MAX_MAGNITUDE = 1e6
"""Features beyond this are refused: squared distances between them lose all precision in float32."""
MAX_CLICKS = 10**9
"""Of one query and item: sums over all pairs then fit int64."""
MAX_GRADE = 3


def check_length(what: str, values: tuple[str, ...], n: int) -> None:
    if not isinstance(values, tuple):
        raise DataError(f"{what}: expected a tuple of str, got {type(values).__name__}")
    if len(values) != n:
        raise DataError(f"{what}: expected {n}, got {len(values)}")


def check_strings(
    what: str, values: tuple[str, ...], may_be_empty: bool = False, unique: bool = False
) -> None:
    """NUL ends a string in fixed-length storage and a lone surrogate has no UTF-8: both would be lost."""
    for row, value in enumerate(values):
        if isinstance(value, str) and (value or may_be_empty) and is_storable(value):
            continue
        where = f"{what} row {row}" if len(values) > 1 else what
        if not isinstance(value, str):
            raise DataError(f"{where}: expected str, got {type(value).__name__}")
        if not value:
            raise DataError(f"{where} is empty")
        raise DataError(f"{where} holds a NUL character or a lone surrogate: {value!r}")
    if unique and len(set(values)) < len(values):
        repeated = next(value for value, times in Counter(values).items() if times > 1)
        raise DataError(f'{what}: "{repeated}" appears more than once')


def is_storable(text: str) -> bool:
    """Whether it has neither a NUL character nor a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_name(what: str, name: str) -> None:
    check_strings(what, (name,))
    if len(name) > MAX_NAME:
        raise DataError(f"{what}: expected at most {MAX_NAME} characters, got {len(name)}")


def check_ids(ids: Any) -> None:
    if (
        not isinstance(ids, np.ndarray)
        or ids.ndim != 1
        or not (ids.dtype == np.int64 or ids.dtype.kind == "U")
    ):
        raise DataError(f"ids: expected (n,) int64 or str array, got {shape_of(ids)}")
    if ids.size == 0:
        raise DataError("ids: a data set needs at least one item")
    if ids.dtype.kind == "U":
        check_strings("ids", tuple(ids.tolist()))
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise DataError(f'duplicate id "{values[counts > 1][0]}"')


def check_dense(what: str, features: Any, n: int, dtypes: tuple[str, ...]) -> None:
    if (
        not isinstance(features, np.ndarray)
        or features.ndim != 2
        or features.shape[0] != n
        or features.shape[1] == 0
        or str(features.dtype) not in dtypes
    ):
        raise DataError(f"{what}: expected ({n}, d) {' or '.join(dtypes)}, got {shape_of(features)}")
    good = np.abs(features) <= np.float32(MAX_MAGNITUDE)
    if not good.all():
        row = int(np.argmin(good.all(axis=1)))
        raise DataError(f"{what} row {row} has {_bad_value(features[row])}")


def check_text_features(features: Any, n: int) -> None:
    if isinstance(features, np.ndarray):
        return check_dense("text_features", features, n, ("float32",))
    if getattr(features, "format", None) != "csr":
        raise DataError(f"text_features: expected a float32 array or CSR matrix, got {shape_of(features)}")
    if features.shape[0] != n or features.shape[1] == 0 or features.dtype != np.float32:
        raise DataError(f"text_features: expected ({n}, d) float32 CSR, got {shape_of(features)}")
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


def check_line_features(lines: Any, texts: tuple[str, ...], features: Any) -> None:
    """One row a line of all texts, as wide as the features of whole texts, which must be dense."""
    if not isinstance(features, np.ndarray):
        raise DataError(f"line_features: text_features must be dense beside them, got {shape_of(features)}")
    check_dense("line_features", lines, int(line_starts(texts)[-1]), ("float32",))
    if lines.shape[1] != features.shape[1]:
        raise DataError(
            f"line_features: expected {features.shape[1]} columns as text_features, got {lines.shape[1]}"
        )


def check_regions(regions: Any, features: npt.NDArray[Any] | None) -> None:
    """A row of ``features`` must be ``regions`` equally long parts."""
    if not isinstance(regions, int) or isinstance(regions, bool) or regions < 1:
        raise DataError(f"image_regions: expected an int of 1 or more, got {regions!r}")
    if features is None:
        if regions > 1:
            raise DataError("image_regions without image_features: they are parts of a row of these")
    elif features.shape[1] % regions:
        raise DataError(f"image_regions: {features.shape[1]} features cannot be cut into {regions} parts")


def check_labels(labels: Any, label_names: tuple[str, ...], n: int) -> None:
    if labels is None:
        if label_names:
            raise DataError(f"label_names: {len(label_names)} names without labels")
        return
    if not isinstance(labels, np.ndarray) or labels.dtype != np.uint8 or labels.ndim != 2 or len(labels) != n:
        raise DataError(f"labels: expected ({n}, c) uint8, got {shape_of(labels)}")
    if labels.shape[1] == 0:
        raise DataError("labels: expected at least one column, got none; leave labels out instead")
    check_length("label_names", label_names, labels.shape[1])
    check_strings("label_names", label_names, unique=True)
    if labels.max() > 1:
        row = int(np.argmax(labels.max(axis=1) > 1))
        raise DataError(f"labels row {row} has {labels[row].max()}, expected 0 or 1")


def check_classes(classes: Any, n: int) -> None:
    if not isinstance(classes, np.ndarray) or classes.dtype != np.int64 or classes.shape != (n,):
        raise DataError(f"classes: expected ({n},) int64, got {shape_of(classes)}")
    if classes.min() < -1:
        row = int(np.argmax(classes < -1))
        raise DataError(
            f"classes row {row}: expected a class of 0 or more, or -1 for none, got {classes[row]}"
        )


def check_paths(paths: tuple[str, ...]) -> None:
    check_strings("image_paths", paths)
    for row, path in enumerate(paths):
        if PurePosixPath(path).is_absolute():
            raise DataError(f"image_paths row {row}: expected a relative path, got {path}")


def shape_of(value: Any) -> str:
    """What a wrong part is, for messages."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        kind = "" if isinstance(value, np.ndarray) else f" {type(value).__name__}"
        return f"{value.shape} {value.dtype}{kind}"
    return type(value).__name__


def _bad_value(row: npt.NDArray[Any]) -> str:
    if np.isnan(row).any():
        return "NaN"
    return "an infinite value" if np.isinf(row).any() else f"a value beyond {MAX_MAGNITUDE:g}"
