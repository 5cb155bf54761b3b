"""What is loaded before anything is served: the model, the pictures and captions."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from spdq.data.captions import captions
from spdq.models import load_model
from spdq.serving.thumbnails import Thumbnails

if TYPE_CHECKING:
    from spdq.models.model import Model

LARGE_BYTES = 4 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""


def give_back_large_blocks() -> None:
    """Let the C library return what large pictures took: glibc learns from such blocks to keep all up to 32 MiB."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # There is none in musl and on macOS.
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES)


def served_model(directory: str | os.PathLike[str]) -> Model:
    """The model in a directory, set for requests that come at once. Raises as ``load_model``."""
    import torch

    # Requests share the cores already; threads inside each of them would only wait for one another.
    torch.set_num_threads(1)
    return load_model(directory)


def shown(
    pictures: str | os.PathLike[str] | None, folder: str | os.PathLike[str] | None
) -> tuple[Thumbnails | None, dict[int | str, str]]:
    """Pictures that a data set file names, out of one folder, and texts of its items. Raises as ``Thumbnails``."""
    if pictures is None:
        return None, {}
    from spdq.data.dataset import Dataset

    dataset = Dataset.load(Path(pictures))
    return Thumbnails(dataset, folder), captions(dataset)
