"""Small pictures of items, made when asked for and kept as long as there is room."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spdq.errors import DataError, NotFoundError
from spdq.features.shrunk import shrunk
from spdq.serving.problems import Problem

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset

SIZES = (64, 128, 256, 512)
DEFAULT_SIZE = 256
MAX_FILE_BYTES = 64 << 20
KEPT_BYTES = 64 << 20


class Thumbnail(NamedTuple):
    """A picture that fits into a square."""

    content: bytes
    tag: str
    """Another one wherever the content is another (an HTTP entity tag)."""


class Thumbnails:
    """The pictures a data set names for its items, all of them inside one folder: its own, unless told otherwise.

    Raises DataError where the data set names no pictures, NotFoundError where there is no such folder.
    """

    def __init__(self, dataset: Dataset, folder: str | os.PathLike[str] | None = None) -> None:
        if dataset.image_paths is None or dataset.root is None:
            raise DataError(f"{dataset.name} names no pictures: expected a data set with image paths")
        self.id_kind = "int" if dataset.ids.dtype.kind == "i" else "str"
        if folder is not None and not os.path.isdir(folder):
            raise NotFoundError(f"folder of pictures not found: {os.fspath(folder)}")
        self._root = Path(os.path.realpath(dataset.root))
        self._inside = Path(os.path.realpath(folder or dataset.root))
        self._paths: dict[int | str, str] = dict(zip(dataset.ids.tolist(), dataset.image_paths, strict=True))
        self._kept: OrderedDict[tuple[str, int, int, int], Thumbnail] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, key: object) -> bool:
        return key in self._paths

    def of(self, key: int | str, size: int) -> Thumbnail:
        """The picture of an item, ``size`` pixels on its longer side; smaller ones stay as they are.

        Raises Problem 404 where there is none.
        """
        name = self._paths.get(key)
        if name is None:
            raise Problem(404, f"no picture of item {key!r}")
        try:
            return self._made(name, size)
        except (OSError, DataError):
            raise Problem(404, f"the picture of item {key!r} is not there any more, or is none") from None

    def _made(self, name: str, size: int) -> Thumbnail:
        with self._open(name) as file:
            status = os.fstat(file.fileno())
            place = (name, size, status.st_mtime_ns, status.st_size)
            with self._lock:
                if place in self._kept:
                    self._kept.move_to_end(place)
                    return self._kept[place]
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
                raise DataError("not a regular file, or too large")
            raw = file.read()
        content = shrunk(raw, size)
        made = Thumbnail(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
        self._keep(place, made)
        return made

    def _open(self, name: str) -> io.BufferedReader:
        """The file of a picture: inside the folder, not through a link; a FIFO is not waited for."""
        path = Path(os.path.normpath(self._root / name))
        if os.path.realpath(path) != str(path) or not path.is_relative_to(self._inside):
            raise DataError("a link, or outside the folder")
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")

    def _keep(self, place: tuple[str, int, int, int], made: Thumbnail) -> None:
        with self._lock:
            if place not in self._kept:
                self._kept[place] = made
                self._bytes += len(made.content)
            while self._bytes > KEPT_BYTES:
                self._bytes -= len(self._kept.popitem(last=False)[1].content)
