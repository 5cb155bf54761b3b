"""Where compiled kernels are kept: a directory that is only ours.

Numba's cache files are pickles, so whoever can write them can run code in our process: the directory must
belong to us, be writable by nobody else and not be reached through a symbolic link. Without such a directory
nothing is cached.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numba import __version__ as numba_version
from numba.core import config as _config

from spdq_kernels import __version__

numba_settings: Any = _config  # a module that fills itself while it runs, which type checkers cannot follow


def private_directory(level: str) -> Path | None:
    """Return ``<cache home>/spdq/numba/<key>``, made if need be; None and a warning if it cannot be used.

    The cache home is ``$XDG_CACHE_HOME`` or ``~/.cache``. The key changes with our version, Numba's, the
    source and the level of instructions the kernels are written for.
    """
    try:
        home = _cache_home()
        if home.stat().st_mode & stat.S_IWOTH:
            raise PermissionError(f"{home} is writable by everybody")
        directory = home
        for name in ("spdq", "numba", _key(level)):
            directory /= name
            _make_private(directory)
        tempfile.TemporaryFile(dir=directory).close()
    except (OSError, RuntimeError) as error:
        warnings.warn(
            f"compiled kernels are not cached, every process compiles them anew: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return directory


def empty(directory: Path | None) -> None:
    """Delete the cached kernels: a file is torn."""
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)
        _make_private(directory)


@contextlib.contextmanager
def numba_cache(directory: Path | None) -> Iterator[None]:
    """Let Numba cache there what is decorated inside; other functions of the program keep their place."""
    before = numba_settings.CACHE_DIR
    numba_settings.CACHE_DIR = "" if directory is None else str(directory)
    try:
        yield
    finally:
        numba_settings.CACHE_DIR = before


def _cache_home() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = configured if configured.is_absolute() else Path.home() / ".cache"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home.resolve()


def _key(level: str) -> str:
    # A change in one file would not make Numba drop what it has cached of another.
    source = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py")))
    return f"{__version__}-numba{numba_version}-{level}-{hashlib.sha256(source).hexdigest()[:16]}"


def _make_private(directory: Path) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory} is a symbolic link, not a directory")
    if found.st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{directory} is writable by other users: chmod 700 it")
