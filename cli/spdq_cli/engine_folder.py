"""The folder that ``spdq build`` makes: what lies where in it."""

from __future__ import annotations

from pathlib import Path

from spdq.errors import NotFoundError

DATA, FEATURES, MODEL, INDEX, PLAN = "data.h5", "features", "model", "index", "build.json"
UNFINISHED = f".{INDEX}.partial"
"""Where ``spdq.index.building`` keeps an index until it is complete."""


def made_engine(folder: Path) -> tuple[Path, Path, Path] | None:
    """Index, model and data set of such a folder; None where it is none.

    Raises NotFoundError where one was begun and is not finished.
    """
    if not (folder / PLAN).is_file():
        return None
    if not (folder / INDEX).is_dir():
        raise NotFoundError(f"{folder} is not finished: go on with the same `spdq build` command")
    return folder / INDEX, folder / MODEL, folder / DATA
