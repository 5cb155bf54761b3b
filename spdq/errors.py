"""Every error SPDQ raises on purpose, each with the exit code the command line ends with.

The message says what was expected, what came, where, and the way out. Anything else that escapes is a bug
(exit code 1). Data-like errors are also ``ValueError`` and lookups also ``FileNotFoundError``, so that code
written against plain Python or scikit-learn keeps working.
"""

from __future__ import annotations


class SpdqError(Exception):
    """Base of all errors raised on purpose. ``exit_code`` is what the ``spdq`` command returns."""

    exit_code = 1


class UsageError(SpdqError, ValueError):
    """An argument is outside what the call accepts (k = 0, an unknown protocol)."""

    exit_code = 2


class NotFoundError(SpdqError, FileNotFoundError):
    """A file or directory is missing or cannot be read."""

    exit_code = 3


class MissingExtraError(SpdqError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    exit_code = 3


class DataError(SpdqError, ValueError):
    """The data is not usable as given: wrong shape, NaN, duplicate ids, empty text, a forbidden file feature."""

    exit_code = 4


class UnknownWordsError(DataError):
    """A query text without a word that the model knows; ``words`` are those it has."""

    def __init__(self, message: str, words: list[str]) -> None:
        super().__init__(message)
        self.words = words

    def __reduce__(self) -> tuple[type[UnknownWordsError], tuple[str, list[str]]]:
        # It is pickled on its way from another process, which calls with what was given to the base alone.
        return type(self), (str(self), self.words)


class DamagedError(SpdqError):
    """A file that was once good is damaged: truncated, or its checksum does not match."""

    exit_code = 5


class IncompatibleError(SpdqError):
    """Two good things do not belong together: an index of another model, a newer file format."""

    exit_code = 6


class LockedError(SpdqError):
    """Another process is writing."""

    exit_code = 7


class StorageError(SpdqError, OSError):
    """The storage refused: no space, read-only, an I/O error. Nothing was changed."""

    exit_code = 8


class UnavailableError(SpdqError):
    """Another process or machine that is needed does not answer: a lost worker, a cluster that is not there."""

    exit_code = 9
