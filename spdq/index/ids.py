"""Item ids: int64 numbers or strings, and the one order that search promises.

Arrays of ids are int64 (kind ``"int"``) or object arrays of ``str`` (kind ``"str"``). Numbers are ordered by
value, strings by their UTF-8 bytes, which is also the order of Python's ``str`` (both compare code points).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError

KINDS = ("int", "str")
MAX_STRING_BYTES = 1024

IdArray = np.ndarray[Any, Any]
Int64Array = npt.NDArray[np.int64]
Uint8Array = npt.NDArray[np.uint8]


def accept_ids(ids: npt.ArrayLike, n_items: int | None, kind: str) -> IdArray:
    """Check what a user passed as ids and return it as an id array (n,), n = n_items if given, in the given order.

    Raises DataError for a wrong count, a wrong type, a number outside int64, or a string that is empty, longer than
    1,024 UTF-8 bytes or not storable text.
    """
    accepted = _accept_strings(ids) if kind == "str" else _accept_numbers(ids)
    if n_items is None and accepted.ndim == 1:
        return accepted
    if n_items is None:
        raise DataError(f"expected a list of ids, got shape {accepted.shape}")
    if accepted.shape != (n_items,):
        raise DataError(f"expected {n_items} ids, one for each item, got shape {accepted.shape}")
    return accepted


def sort_keys(ids: IdArray) -> Int64Array:
    """Numbers of the same shape as ``ids`` that compare as the ids do; None stands before all strings."""
    if ids.dtype != object:
        return ids
    flat = ids.ravel().tolist()
    rank = {text: position for position, text in enumerate(sorted(set(flat) - {None}))} | {None: -1}
    return np.fromiter((rank[text] for text in flat), np.int64, len(flat)).reshape(ids.shape)


def show_id(value: object) -> str:
    """The id as error messages print it: ``7`` or ``"a7"``."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def pack_strings(ids: IdArray) -> tuple[Uint8Array, Int64Array]:
    """The UTF-8 bytes of all ids (b,) uint8 and their borders (n + 1,) int64."""
    encoded = [text.encode() for text in ids.tolist()]
    borders = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=borders[1:])
    return np.frombuffer(b"".join(encoded), np.uint8), borders


def take_strings(utf8: Uint8Array, borders: Int64Array, rows: Int64Array) -> IdArray:
    """Decode the ids at ``rows`` (any shape) to an object array of the same shape."""
    view = np.ascontiguousarray(utf8).data
    flat = rows.ravel()
    starts, ends = borders[flat].tolist(), borders[flat + 1].tolist()
    taken = np.empty(flat.size, object)
    taken[:] = [str(view[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]
    return taken.reshape(rows.shape)


def _accept_numbers(ids: npt.ArrayLike) -> IdArray:
    try:
        numbers = np.asarray(ids)
    except ValueError as error:
        raise DataError(f"expected a list of ids: {error}") from None
    if numbers.size == 0:
        return numbers.astype(np.int64)
    if numbers.dtype.kind not in "iuO":
        raise DataError(f"this index has int ids: expected integers, got {numbers.dtype}")
    for number in numbers.ravel().tolist() if numbers.dtype.kind in "uO" else ():
        if not isinstance(number, int | np.integer) or isinstance(number, bool):
            raise DataError(f"this index has int ids: expected integers, got {type(number).__name__}")
        if not -(2**63) <= int(number) < 2**63:
            raise DataError(f"id {number} does not fit into int64")
    return numbers.astype(np.int64)


def _accept_strings(ids: npt.ArrayLike) -> IdArray:
    texts = np.asarray(ids, dtype=object)
    for text in texts.ravel().tolist():
        if not isinstance(text, str):
            raise DataError(f"this index has str ids: expected strings, got {type(text).__name__}")
        _check_string(text)
    return texts


def _check_string(text: str) -> None:
    if not text:
        raise DataError("an id must not be empty")
    if "\0" in text:
        raise DataError(f"id {show_id(text)} holds a NUL character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise DataError(f"id {text!a} holds a lone surrogate, which UTF-8 cannot store") from None
    if size > MAX_STRING_BYTES:
        raise DataError(f"an id is at most {MAX_STRING_BYTES} UTF-8 bytes long, got {size} ({text[:20]}...)")
