"""What callers of the index pass, checked and brought into one form."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, UsageError
from spdq.index.ids import KINDS, IdArray, Uint8Array
from spdq.index.store import codebook_settings
from spdq.quantizers.codebooks import Codebooks, checked_vectors

_LAST_ID = np.iinfo(np.int64).max


def codebooks_of(quantizer: object) -> Codebooks:
    """The codebooks of a fitted quantizer, or the codebooks themselves. Raises UsageError."""
    codebooks = getattr(quantizer, "codebooks_", quantizer)
    if not isinstance(codebooks, Codebooks):
        raise UsageError(f"expected a fitted quantizer or Codebooks, got {type(quantizer).__name__}")
    return codebooks


def new_settings(
    codebooks: Codebooks, metric: str, ids: str, model_fingerprint: str | None, model_path: str | None
) -> dict[str, Any]:
    """The settings of a new index. Raises UsageError for an unknown kind of ids or an impossible metric."""
    if ids not in KINDS:
        raise UsageError(f'ids must be "int" or "str", got {ids!r}')
    codebooks.lookup_tables(np.empty((0, codebooks.dim), np.float32), metric)  # Knows which metrics it has.
    return {
        "metric": metric,
        "ids": ids,
        "model_fingerprint": model_fingerprint,
        "model_path": model_path,
        **codebook_settings(codebooks),
    }


def accept_codes(codes: npt.ArrayLike, codebooks: Codebooks) -> Uint8Array:
    """Codes (n, M) of any integer type as uint8. Raises DataError for a byte that names no word."""
    array = np.asarray(codes)
    if array.ndim != 2 or array.shape[1] != codebooks.n_codebooks:
        raise DataError(f"expected codes of shape (n, {codebooks.n_codebooks}), got {array.shape}")
    if array.dtype.kind not in "iu":
        raise DataError(f"expected codes as integers, got {array.dtype}")
    wrong = np.argwhere((array < 0) | (array >= codebooks.n_words))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"codes row {row} has byte {array[row, column]}, these codebooks have {codebooks.n_words} words"
        )
    return array.astype(np.uint8)


def accept_queries(queries: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Queries (nq, D), or (D,) for one, as (nq, D) float32. Raises DataError naming the first bad row."""
    try:
        array = np.asarray(queries)
    except ValueError as error:
        raise DataError(f"queries must be an array of numbers: {error}") from None
    return checked_vectors(array[np.newaxis] if array.ndim == 1 else array, "queries")


def following_ids(largest: int | None, count: int, kind: str) -> IdArray:
    """The next ``count`` int ids after ``largest``, from 0 in an empty index."""
    if kind == "str":
        raise UsageError("an index of str ids needs the ids of the items to add")
    start = 0 if largest is None else largest + 1
    if start + count - 1 > _LAST_ID:
        raise DataError(f"no {count} int64 ids are left after {largest}: pass ids")
    return start + np.arange(count, dtype=np.int64)


def at_least_one(value: object, name: str) -> int:
    """An integer of at least 1. Raises UsageError."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UsageError(f"{name} must be an integer, got {value!r}")
    number = operator.index(value)
    if number < 1:
        raise UsageError(f"{name} must be at least 1, got {number}")
    return number
