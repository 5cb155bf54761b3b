"""Records of JSON and CSV files that anyone may have written."""

from __future__ import annotations

import json
from typing import Any

from spdq.errors import DataError


def parse_json(text: str, where: str) -> Any:
    """The value of one JSON text; ``where`` names it in the error.

    Raises
    ------
    DataError
        It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None


def text_field(record: dict[str, Any], field: str, where: str) -> str:
    """A field that must be text a data set can store.

    Raises
    ------
    DataError
        It is missing, no string, or has a NUL character or a lone surrogate.
    """
    value = record.get(field)
    if not isinstance(value, str):
        got = "nothing" if value is None else type(value).__name__
        raise DataError(f"{where}: {field}: expected text, got {got}")
    return storable(value, f"{where}: {field}")


def storable(text: str, where: str) -> str:
    """The text itself.

    Raises
    ------
    DataError
        It has a NUL character or a lone surrogate, which no data set can store.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: a lone surrogate in {text!r}") from None
    if "\0" in text:
        raise DataError(f"{where}: a NUL character in {text!r}")
    return text
