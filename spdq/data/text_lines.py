"""Reading the text files of a source format: UTF-8, and one clear error where that fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from spdq.errors import DataError, NotFoundError, SpdqError


@contextmanager
def open_text(file: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a UTF-8 text file, a byte order mark dropped; what fails while it is read names the file.

    Raises
    ------
    NotFoundError
        There is no such file, or it cannot be read.
    DataError
        It is no regular file, or no UTF-8 text.
    """
    try:
        if file.exists() and not file.is_file():  # opening a FIFO would wait for its writer
            raise DataError(f"{file}: not a regular file")
        with file.open(encoding="utf-8-sig", newline=newline) as stream:
            yield stream
    except SpdqError:
        raise
    except FileNotFoundError:
        raise NotFoundError(f"file not found: {file}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: not UTF-8 text") from None
    except OSError as error:
        raise NotFoundError(f"{file}: cannot be read ({error.strerror})") from None


def text_lines(file: Path) -> list[str]:
    r"""Lines of a text file without their ends, which are ``\n``, ``\r\n`` or ``\r`` and nothing else.

    ``str.splitlines`` would also break at characters that stand inside tags and names.

    Raises
    ------
    NotFoundError, DataError
        As ``open_text``.
    """
    with open_text(file) as stream:
        return [line.removesuffix("\n") for line in stream]


def listed_names(file: Path) -> list[str]:
    """Names, one a line, without blanks around them; line i is name i, empty lines only at the end.

    Raises
    ------
    NotFoundError
        As ``open_text``.
    DataError
        As ``open_text``, or an empty line between two names, a name twice, no name at all.
    """
    names = [line.strip() for line in text_lines(file)]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DataError(f"{file}: empty")
    first_line: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            raise DataError(f"{file} line {number}: expected a name, got an empty line")
        if first_line.setdefault(name, number) != number:
            raise DataError(f"{file} line {number}: {name} is in line {first_line[name]}, too")
    return names
