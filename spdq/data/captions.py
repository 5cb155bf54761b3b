"""What is written under an item's picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset

MAX_CAPTION = 200


def captions(dataset: Dataset) -> dict[int | str, str]:
    """The first line of each item's text, by id; at most 200 characters of it, and none where it is empty."""
    if dataset.texts is None:
        return {}
    lines = ((text.strip().splitlines() or [""])[0] for text in dataset.texts)
    return {
        key: line if len(line) <= MAX_CAPTION else line[: MAX_CAPTION - 1] + "…"
        for key, line in zip(dataset.ids.tolist(), lines, strict=True)
        if line
    }
