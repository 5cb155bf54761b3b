"""What a search found: a list, and in a notebook a grid of pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from spdq.data.captions import captions
from spdq.errors import SpdqError
from spdq.features.shrunk import MEDIA_TYPE, shrunk

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset

SHOWN = 50
SIDE = 160
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(130px,1fr));gap:10px"
_CELL = "border:1px solid #8888;border-radius:8px;padding:6px;overflow:hidden;overflow-wrap:anywhere"
_PICTURE = "display:block;width:100%;aspect-ratio:1;object-fit:contain;background:#fff"


class Hit(NamedTuple):
    """One found item."""

    rank: int
    """1 is the closest."""
    id: int | str
    distance: float
    """In the index's metric: for "ip" the inner product, larger = closer; for "l2" the squared distance."""


class Gallery:
    """Pictures and captions of a data set's items, by id."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._rows = {key: row for row, key in enumerate(dataset.ids.tolist())}
        self._captions = captions(dataset)

    def caption(self, key: int | str) -> str:
        """The first line of an item's text, "" where there is none."""
        return self._captions.get(key, "")

    def picture(self, key: int | str) -> str:
        """A small picture as a data URL, "" where there is none that can be read."""
        row = self._rows.get(key)
        if row is None or self._dataset.image_paths is None or self._dataset.root is None:
            return ""
        try:
            content = shrunk(self._dataset.image_path(row), SIDE)
        except SpdqError:
            return ""
        return f"data:{MEDIA_TYPE};base64,{base64.b64encode(content).decode()}"


class Hits(list[Hit]):
    """The hits of one search, closest first. A notebook shows the first 50, with the pictures of a gallery."""

    def __init__(self, hits: Iterable[Hit], gallery: Gallery | None = None) -> None:
        super().__init__(hits)
        self._gallery = gallery

    def _repr_html_(self) -> str:
        cells = "".join(self._cell(hit) for hit in self[:SHOWN])
        rest = f"<p>and {len(self) - SHOWN:,} more</p>" if len(self) > SHOWN else ""
        return f'<div style="{_GRID}">{cells}</div>{rest}' if self else "<p>nothing found</p>"

    def _cell(self, hit: Hit) -> str:
        caption = self._gallery.caption(hit.id) if self._gallery else ""
        picture = self._gallery.picture(hit.id) if self._gallery else ""
        name = escape(caption or str(hit.id))
        image = f'<img src="{picture}" alt="" style="{_PICTURE}">' if picture else ""
        about = f"{hit.rank} · {hit.distance:.3f}" + (f" · {escape(str(hit.id))}" if caption else "")
        return f'<div style="{_CELL}">{image}<div>{name}</div><small>{about}</small></div>'
