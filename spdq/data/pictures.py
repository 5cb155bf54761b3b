"""Pictures that a list names: the names must stay inside their folder, and the files must be there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from spdq.errors import DataError, NotFoundError


def relative_path(name: str, where: str) -> str:
    """A listed name as a path relative to its folder, in its shortest form (``./a.jpg`` is ``a.jpg``).

    Raises
    ------
    DataError
        It is empty, absolute or has ``..`` in it; ``where`` says whose it is. Links are the folder's own affair.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where}: expected a path inside the folder, got {name!r}")
    return str(path)


def existing_pictures(root: Path, names: Sequence[str]) -> list[Path]:
    """Where the named pictures lie, all looked for before the first is decoded.

    Raises
    ------
    NotFoundError
        Some are missing; the first is named.
    """
    files = [root / name for name in names]
    if missing := [file for file in files if not os.path.isfile(file)]:
        raise NotFoundError(f"{len(missing):,} of {len(files):,} pictures not found, the first: {missing[0]}")
    return files
