"""Picture files: those that a list names must lie inside its folder; those that are made are written whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from spdq.errors import DataError, NotFoundError, StorageError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def picture_names(folder: Path) -> list[str]:
    """Paths of all pictures in a folder and below it, sorted; hidden files and folders are left out.

    Raises
    ------
    NotFoundError
        There is no such folder.
    DataError
        It holds no pictures.
    """
    if not folder.is_dir():
        raise NotFoundError(f"folder not found: {folder}")
    inside = [path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in ENDINGS]
    names = [path.as_posix() for path in inside if not any(part.startswith(".") for part in path.parts)]
    if not names:
        raise DataError(f"{folder}: no pictures ({', '.join(ENDINGS)}) in this folder")
    return sorted(names)


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


def write_pictures(folder: Path, pictures: Iterable[tuple[str, bytes]]) -> list[Path]:
    """Write pictures (name, content) to ``folder``, made if needed; each is there whole or not at all.

    Raises
    ------
    StorageError
        The storage refused, or reading where the contents come from.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in pictures:
            temporary = folder / f".{name}.tmp"
            try:
                temporary.write_bytes(content)
                os.replace(temporary, folder / name)
            finally:
                temporary.unlink(missing_ok=True)
            written.append(folder / name)
    except OSError as error:
        raise StorageError(f"cannot write pictures to {folder}: {error.strerror}") from None
    return written
