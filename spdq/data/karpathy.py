"""Captioned photos in Karpathy's JSON files: Flickr8k, Flickr30k and COCO with their usual split.

dataset_{flickr8k,flickr30k,coco}.json, from A. Karpathy and L. Fei-Fei, "Deep visual-semantic alignments for
generating image descriptions", CVPR 2015:

    {"images": [{"filename": "...", "filepath": "val2014" (COCO), "split": "train|restval|val|test",
                 "sentences": [{"raw": "A dog runs.", ...}, ...], ...}, ...], ...}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.pictures import existing_pictures, relative_path
from spdq.data.records import parse_json, text_field
from spdq.data.splits import Split, SplitKind, make_split
from spdq.data.text_lines import open_text
from spdq.errors import DataError

PARTS = ("train", "restval", "val", "test")


@dataclass(frozen=True)
class _Photo:
    filename: str
    path: str
    part: str
    text: str


def load_karpathy(
    json_file: Path,
    pictures: Path,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
    *,
    join_val: bool = False,
) -> Dataset:
    """Make a data set of the photos that are trained on and tested with; those of ``val`` are left out.

    ids are file names; a text is the photo's sentences, one a line, blanks collapsed. There are no labels, so
    what can be judged is whether a photo and its sentences find each other. The queries are the ``test``
    photos; ``train`` and ``restval`` are trained on. seen: they are the database, too. unseen: a random half of
    them is train, the other half database. paired, the kind made for such judging: the database is the test
    photos, as in the literature on these sets.

    Items are in the order of the file. Fields but those shown above are ignored.

    Parameters
    ----------
    pictures : folder of the photos, for COCO of the folders ``filepath`` names; becomes the data set's ``root``.
    extractor : makes ``image_features`` (n, d) float32.
    join_val : train on the ``val`` photos, too.

    Raises
    ------
    NotFoundError
        The file or a photo is missing; the first is named.
    DataError
        The file is not what is described above (the message names the image by its place, from 0), a file name
        appears twice, no photo is trained on or tested with, or a photo is broken.
    UsageError
        Unknown kind or negative seed.
    """
    photos = [photo for photo in _photos(json_file) if photo.part != "val" or join_val]
    for part in ("train", "test"):
        if all(photo.part != part for photo in photos):
            raise DataError(f'{json_file}: no image has the split "{part}"')
    test = np.array([row for row, photo in enumerate(photos) if photo.part == "test"], dtype=np.int64)
    split = make_split(len(photos), test, kind, seed)
    if kind == "paired":
        split = Split(query=test, train=split.train, database=test, kind=kind, seed=seed)
    paths = [photo.path for photo in photos]
    return Dataset(
        name=json_file.stem.removeprefix("dataset_") or json_file.stem,
        ids=np.array([photo.filename for photo in photos]),
        image_features=extractor.extract(existing_pictures(pictures, paths), progress=progress),
        texts=tuple(photo.text for photo in photos),
        image_paths=tuple(paths),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
        split=split,
        root=pictures,
    )


def _photos(file: Path) -> list[_Photo]:
    with open_text(file) as stream:
        content = parse_json(stream.read(), str(file))
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise DataError(f'{file}: expected an object with the list "images"')
    photos = [_photo(record, f"{file} images[{place}]") for place, record in enumerate(images)]
    first_place: dict[str, int] = {}
    for place, photo in enumerate(photos):
        if (first := first_place.setdefault(photo.filename, place)) != place:
            raise DataError(f"{file} images[{place}]: {photo.filename} is also images[{first}]")
    return photos


def _photo(record: Any, where: str) -> _Photo:
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected an object, got {type(record).__name__}")
    part = text_field(record, "split", where)
    if part not in PARTS:
        raise DataError(f"{where}: split: expected {', '.join(PARTS)}, got {part!r}")
    filename = text_field(record, "filename", where)
    folder = f"{text_field(record, 'filepath', where)}/" if "filepath" in record else ""
    path = relative_path(f"{folder}{filename}", where)
    return _Photo(filename, path, part, _text(record.get("sentences"), where))


def _text(sentences: Any, where: str) -> str:
    """The sentences, one a line."""
    if not isinstance(sentences, list) or not all(isinstance(sentence, dict) for sentence in sentences):
        raise DataError(f"{where}: sentences: expected a list of objects")
    raw = [text_field(sentence, "raw", f"{where} sentences[{i}]") for i, sentence in enumerate(sentences)]
    lines = [" ".join(sentence.split()) for sentence in raw]
    if not any(lines):
        raise DataError(f"{where}: sentences: expected one or more with text in them")
    return "\n".join(filter(None, lines))
