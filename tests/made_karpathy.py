"""Small made sets in exactly the format of Karpathy's dataset_{flickr8k,flickr30k,coco}.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def flickr_content() -> dict[str, Any]:
    """10 photos: rows 2 and 5 are of val, 3, 6 and 9 of test; ids of sentences run on over the file."""
    parts = ["train", "train", "val", "test", "train", "val", "test", "train", "train", "test"]
    names = ["dog", "cat", "bird"]
    images = []
    for row, part in enumerate(parts):
        raw = [f"A {names[row % 3]} number {row} .", f"Photo  {row}\tof a {names[row % 3]}.\n"]
        ids = [2 * row, 2 * row + 1]
        images.append(
            {
                "sentids": ids,
                "imgid": row,
                "sentences": [_sentence(text, row, sentid) for text, sentid in zip(raw, ids, strict=True)],
                "split": part,
                "filename": f"{1000 + row}_ab.jpg",
            }
        )
    return {"images": images, "dataset": "flickr8k"}


def coco_content() -> dict[str, Any]:
    """The same photos in two folders; one training photo is of restval."""
    content = flickr_content()
    for row, image in enumerate(content["images"]):
        year = "train2014" if row % 2 == 0 else "val2014"
        image |= {"filepath": year, "filename": f"COCO_{year}_{row:012d}.jpg", "cocoid": 500 + row}
    content["images"][1]["split"] = "restval"
    return content | {"dataset": "coco"}


def write_set(folder: Path, content: dict[str, Any], name: str = "flickr8k") -> tuple[Path, Path]:
    """Write the JSON file and the photos -> the file, the folder of the photos."""
    rng = np.random.default_rng(0)
    photos = folder / "photos"
    for image in content["images"]:
        file = photos / image.get("filepath", "") / image["filename"]
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(file)
    json_file = folder / f"dataset_{name}.json"
    json_file.write_text(json.dumps(content), encoding="utf-8")
    return json_file, photos


def _sentence(raw: str, row: int, sentid: int) -> dict[str, Any]:
    return {"tokens": raw.lower().strip(" .\n").split(), "raw": raw, "imgid": row, "sentid": sentid}
