"""What callers of the index pass, checked and brought into one form."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, UsageError
from spdq.index.attributes import Columns, accept_types
from spdq.index.filters import Filter
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
    codebooks: Codebooks,
    metric: str,
    ids: str,
    attributes: Columns | None,
    model_fingerprint: str | None,
    model_path: str | None,
) -> dict[str, Any]:
    """The settings of a new index. Raises UsageError for an unknown kind of ids, attribute or an impossible metric."""
    if ids not in KINDS:
        raise UsageError(f'ids must be "int" or "str", got {ids!r}')
    codebooks.lookup_tables(np.empty((0, codebooks.dim), np.float32), metric)  # Knows which metrics it has.
    return {
        "metric": metric,
        "ids": ids,
        "attributes": json.dumps(accept_types(attributes)),
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


def accept_mix(mix: npt.ArrayLike | None) -> npt.NDArray[np.float32] | None:
    """Weights (n, p), or (p,) for one, as (n, p) float32. Raises DataError."""
    if mix is None:
        return None
    try:
        array = np.asarray(mix)
    except ValueError as error:
        raise DataError(f"mix must be an array of weights: {error}") from None
    if array.dtype.kind not in "iuf":
        raise DataError(f"mix must be an array of weights, got {array.dtype}")
    with np.errstate(over="ignore"):
        weights = array.astype(np.float32)
    if weights.ndim == 1:
        weights = weights[np.newaxis]
    if weights.ndim != 2 or not np.isfinite(weights).all():
        raise DataError(f"mix must be finite weights (n, queries), got shape {weights.shape}")
    return weights


def mixed(
    tables: npt.NDArray[np.float32], weights: npt.NDArray[np.float32] | None, n_words: int
) -> npt.NDArray[np.float32]:
    """Lookup tables (n, M, K) of weighted sums of queries: tables (p, M, K), weights (n, p). Raises DataError.

    Added in float32 in the order of the queries, so that a result does not depend on the others.
    """
    if weights is None:
        return tables
    if weights.shape[1] != len(tables):
        raise DataError(f"mix has weights for {weights.shape[1]} queries, got {len(tables)}")
    sums = np.full((len(weights), *tables.shape[1:]), np.inf, np.float32)
    sums[:, :, :n_words] = 0
    with np.errstate(over="ignore", invalid="ignore"):  # The scan refuses sums that are too large.
        for part, share in zip(tables, weights.T, strict=True):
            sums[:, :, :n_words] += share[:, np.newaxis, np.newaxis] * part[:, :n_words]
    return sums


def accept_radius(radius: object) -> float:
    """A number. Raises UsageError."""
    if isinstance(radius, bool) or not isinstance(radius, int | float | np.integer | np.floating):
        raise UsageError(f"radius must be a number, got {radius!r}")
    if radius != radius:
        raise UsageError("radius must not be NaN")
    try:
        return float(radius)
    except OverflowError:
        raise UsageError("radius must fit into a float") from None


def accept_filters(filters: Any, of_condition: Callable[[str], Filter]) -> list[Filter | None] | None:
    """One filter, or one a query, as a list; a condition as text becomes a filter. Raises UsageError."""
    if filters is None:
        return None
    listed = list(filters) if isinstance(filters, list | tuple) else [filters]
    made: dict[str, Filter] = {}
    for place, one in enumerate(listed):
        if isinstance(one, str):
            listed[place] = made.setdefault(one, made.get(one) or of_condition(one))
        elif one is not None and not isinstance(one, Filter):
            raise UsageError(
                f"filter must be a condition as text or what Index.filter returns, got {type(one).__name__}"
            )
    return listed


def following_ids(largest: int | None, count: int, kind: str) -> IdArray:
    """The next ``count`` int ids after ``largest``, from 0 in an empty index."""
    if kind == "str":
        raise UsageError("an index of str ids needs the ids of the items to add")
    start = 0 if largest is None or not count else largest + 1
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
