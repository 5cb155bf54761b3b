"""Encoding by Ray beside encoding by one process: ``spdq bench encode``."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Literal, get_args

import numpy as np

from spdq.data.codes import Codes
from spdq.data.items import Items
from spdq.data.pictures import picture_names
from spdq.distributed.encoding import encode_on_ray
from spdq.models import load_model
from spdq.models.encoding import encode_items
from spdq.models.model import Model

Kind = Literal["pictures", "features"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class EncodeFigures:
    """Medians over turns.

    Parameters
    ----------
    plain_seconds, ray_seconds : of all items, what one item takes taken off.
    plain_start, ray_start : of one item: what comes before the first chunk, and Ray's end.
    other_codes : items whose codes are not those of one process.
    """

    kind: Kind
    items: int
    workers: int | None
    turns: int
    plain_seconds: float
    ray_seconds: float
    plain_start: float
    ray_start: float
    other_codes: int

    @property
    def ratio(self) -> float:
        """Ray's items a second to those of one process."""
        return self.plain_seconds / self.ray_seconds


def encode_figures(
    model_dir: Path,
    pictures: Path,
    kind: Kind,
    n_items: int,
    workers: int | None,
    turns: int,
    seed: int,
    say: Callable[[str], None],
) -> EncodeFigures:
    """Encode ``n_items`` both ways in turns, and one item both ways, each time with a private Ray that starts and ends.

    Pictures are those of a folder, again and again; features are drawn from a normal distribution.

    Raises
    ------
    SpdqError
        What encoding raises; a model that reads no pictures.
    """
    model = load_model(model_dir)
    many = _items(model, pictures, kind, n_items, seed)
    seconds: dict[tuple[str, int], list[float]] = {}
    other = 0
    encode_items(model, many[:1])  # The networks are read.
    with TemporaryDirectory() as folder:
        for turn in range(turns):
            for items in (many[:1], many):
                say(f"{kind}: turn {turn + 1} of {turns}, {len(items)} items")
                start = perf_counter()
                codes, _ = encode_items(model, items)
                prints = (model.fingerprint, model.codebooks.fingerprint)
                Codes(items.ids, codes, model.codebooks.bits, *prints, "image").save(Path(folder, "plain.h5"))
                seconds.setdefault(("plain", len(items)), []).append(perf_counter() - start)
                start = perf_counter()
                made, _ = encode_on_ray(
                    model, model_dir, items, "image", Path(folder, "ray.h5"), n_workers=workers
                )
                seconds.setdefault(("ray", len(items)), []).append(perf_counter() - start)
                other = max(other, int((made.codes != codes).any(axis=1).sum()))
    took = {key: median(values) for key, values in seconds.items()}
    starts = {way: took[way, 1] for way in ("plain", "ray")}
    whole = {way: took[way, n_items] - starts[way] for way in starts}
    return EncodeFigures(
        kind, n_items, workers, turns, whole["plain"], whole["ray"], starts["plain"], starts["ray"], other
    )


def _items(model: Model, pictures: Path, kind: Kind, n_items: int, seed: int) -> Items:
    ids = np.arange(n_items)
    if kind == "features":
        drawn = np.random.default_rng(seed).standard_normal((n_items, model.image_width), np.float32)
        return Items(ids, None, drawn)
    names = picture_names(pictures)
    return Items(ids, None, [Path(os.path.abspath(pictures / names[row % len(names)])) for row in ids])


def table(figures: EncodeFigures) -> str:
    """A row of Markdown: what was encoded, items a second, their ratio, what a start costs, codes that differ."""
    a_second = [figures.items / seconds for seconds in (figures.plain_seconds, figures.ray_seconds)]
    cells = (
        figures.kind,
        f"{figures.items:,}",
        *(f"{rate:,.0f}" for rate in a_second),
        f"{figures.ratio:.2f}",
        f"{figures.ray_start:.1f} s",
        f"{figures.other_codes:,}",
    )
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| items | how many | one process, items/s | Ray, items/s | ratio | Ray's start and end | other codes |\n"
    "|---|---|---|---|---|---|---|"
)
