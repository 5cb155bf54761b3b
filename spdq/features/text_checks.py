"""What a text must be before anything reads it."""

from __future__ import annotations

from collections.abc import Sequence

from spdq.errors import DataError, UsageError

MAX_QUERY = 2000


def check_texts(texts: Sequence[str]) -> None:
    """Raises UsageError for one text that is not in a list, DataError where a text is no string."""
    if isinstance(texts, str):
        raise UsageError("expected a sequence of texts, got one text: put it in a list")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {row}: expected a string, got {type(text).__name__}")


def check_query_text(text: str) -> None:
    """Raises DataError for a query that is empty, has more than 2,000 characters, a NUL or half a surrogate pair."""
    check_texts([text])
    if not text.strip():
        raise DataError("empty query text: give at least one word")
    if len(text) > MAX_QUERY:
        raise DataError(
            f"query text has {len(text):,} characters, at most {MAX_QUERY:,} are allowed: shorten it"
        )
    for position, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise DataError(
                f"query text has the forbidden character U+{ord(character):04X} at position {position}"
            )
