"""Small made image folders: pictures in sub-folders, with metadata.jsonl or metadata.csv."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROWS: list[dict[str, Any]] = [
    {"file_name": "cats/1.png", "text": "a cat\nein Kater", "labels": ["cat", "animal"], "licence": "CC0"},
    {"file_name": "cats/2.png", "text": 'a "cat", asleep', "labels": ["animal"], "licence": ""},
    {"file_name": "tree.png", "text": "árbol 木", "labels": [], "licence": ""},
    {"file_name": "sea.png", "text": "", "labels": ["sea"], "licence": "BY"},
    {"file_name": "cats/3.png", "text": "three cats", "labels": ["cat", "cat"], "licence": ""},
]


def image_folder(folder: Path, form: str = "jsonl") -> Path:
    """5 pictures; of the metadata, the column licence is one that becomes an attribute."""
    rng = np.random.default_rng(0)
    for row in ROWS:
        file = folder / row["file_name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(file)
    if form == "jsonl":
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS]
        (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
        return folder
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ROWS[0].keys())
        writer.writeheader()
        writer.writerows(row | {"labels": "|".join(row["labels"])} for row in ROWS)
    return folder
