"""What is encoded by one process and by Ray, to be compared byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_models import picture, trained, trained_on_pictures, worded
from scipy import sparse

from spdq.data.codes import Codes
from spdq.data.items import Items
from spdq.distributed.blocks import digest
from spdq.distributed.encoding import working_path
from spdq.distributed.parts import Run, working_folder, write_part
from spdq.models.encoding import CHUNK, Missing, chunks, encode_chunk, encode_items
from spdq.models.model import Model

WORDS = ("red", "green", "blue", "small", "large", "number", "xyzzy")


def texts(n: int) -> list[str]:
    """Three words each, of which some are unknown."""
    random = np.random.default_rng(0)
    return [" ".join(words) for words in random.choice(WORDS, (n, 3)).tolist()]


def features(n: int, dtype: type = np.float32) -> np.ndarray:
    """Image features for ``trained()``."""
    return np.random.default_rng(1).normal(size=(n, trained().image_width)).astype(dtype)


def pictures(folder: Path, n: int) -> Items:
    """Units for ``trained_on_pictures()``: files, of which some are missing, and texts."""
    folder.mkdir(exist_ok=True)
    paths: list[Path | None] = [folder / f"{row}.png" for row in range(60)]
    for row, path in enumerate(paths):
        picture(row).save(path)
    names = [None if row % 50 == 7 else paths[row % 60] for row in range(n)]
    return Items(np.array([f"unit {row}" for row in range(n)]), ["large red"] * n, names)


def case(name: str, folder: Path) -> tuple[Model, str, Items]:
    """A model, a modality and items of one kind: two chunks and a bit, or one item."""
    n = 1 if name == "one text" else 2 * CHUNK + 5
    ids = np.arange(n) * 3
    if name == "pictures":
        return trained_on_pictures(), "unit", pictures(folder / "pictures", CHUNK + 5)
    if name == "features":
        return trained(), "image", Items(ids, None, features(n, np.float16))
    if name == "sparse":
        rows = trained().text_features(list(worded().texts))[np.arange(n) % len(worded())]
        return trained(), "text", Items(ids, sparse.csr_matrix(rows), None)
    if name == "units":
        return trained(), "unit", Items(ids, texts(n), features(n))
    return trained(), "text", Items(ids, texts(n), None)


def plain(model: Model, modality: str, items: Items, out: Path) -> tuple[bytes, Missing]:
    """The file that one process makes of them, and what they lacked."""
    codes, missing = encode_items(model, items)
    prints = model.fingerprint, model.codebooks.fingerprint
    Codes(items.ids, codes, model.codebooks.bits, *prints, modality).save(out)
    return out.read_bytes(), missing


def store(model: Model, modality: str, items: Items, out: Path, starts: set[int]) -> None:
    """Leave what an interrupted run leaves that has done the chunks from ``starts`` on."""
    prints = model.fingerprint, model.codebooks.fingerprint
    run = Run(digest(items), len(items), *prints, modality, CHUNK, model.codebooks.n_codebooks)
    with working_folder(working_path(out), run, resume=False):
        for rows in chunks(len(items)):
            if rows.start in starts:
                write_part(working_path(out), run, rows.start, *encode_chunk(model, items[rows]))


def worker(act: Callable[[Any], Any]) -> type:
    """An actor that does something else than to encode. Being local, it goes to the workers by value."""

    class Worker:
        def __init__(self, task):
            pass

        def __call__(self, block):
            return act(block)

    return Worker
