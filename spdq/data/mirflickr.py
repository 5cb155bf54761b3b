"""MIRFlickr-25K in its original folders (Huiskes and Lew, MIR 2008): photos with Flickr tags and 24 labels.

mirflickr/im<N>.jpg                         photos; numbers may have gaps
mirflickr/meta/tags/tags<N>.txt             one tag a line
mirflickr/doc/common_tags.txt               "tag count" lines; where absent, tags of 20 photos or more
mirflickr25k_annotations_v080/<label>.txt   photo numbers, one a line; not <label>_r1.txt, not README
queries.txt                                 optional: the query photos, im<N>.jpg one a line
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.queries import default_query_rows
from spdq.data.splits import Rows, SplitKind, make_split
from spdq.data.text_lines import text_lines
from spdq.errors import DataError, NotFoundError

MIN_TAG_PHOTOS = 20


def load_mirflickr(
    folder: Path,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
) -> Dataset:
    """Make a data set of the photos with at least one common tag and one label (20,015 of the full set).

    ids are photo numbers; text features are a binary bag of the common tags (CSR); a text is all tags of the
    photo, separated by spaces; labels are in the order of their file names. Queries are those of
    ``queries.txt``, else 2,000 random photos, or a tenth where that is fewer.

    Parameters
    ----------
    folder : holds the folders above and becomes the data set's ``root``.
    extractor : makes ``image_features`` (n, d) float32.

    Raises
    ------
    NotFoundError
        A folder or file is missing.
    DataError
        A file is not what is described above, a photo is broken, or no photo has both a tag and a label.
    """
    items = mirflickr_items(folder, extractor, progress)
    query = _query_rows(folder / "queries.txt", items.ids.tolist(), seed)
    return items.with_split(make_split(len(items), query, kind, seed))


def mirflickr_items(folder: Path, extractor: ImageExtractor, progress: Progress | None) -> Dataset:
    """The items of ``load_mirflickr``, without a split; raises what that does."""
    photos = folder / "mirflickr"
    tags = {number: _tags(photos, number) for number in _photo_numbers(photos)}
    vocabulary = _vocabulary(photos, tags)
    photos_of = _annotations(folder / "mirflickr25k_annotations_v080")
    words, labelled = frozenset(vocabulary), frozenset().union(*photos_of.values())
    numbers = [number for number in sorted(tags) if number in labelled and not words.isdisjoint(tags[number])]
    if not numbers:
        raise DataError(f"{folder}: no photo has both a common tag and a label")
    paths = [f"mirflickr/im{number}.jpg" for number in numbers]
    return Dataset(
        name="mirflickr",
        ids=np.array(numbers, dtype=np.int64),
        image_features=extractor.extract([folder / path for path in paths], progress=progress),
        text_features=_bag_of_words([tags[number] for number in numbers], vocabulary),
        labels=np.stack([np.isin(numbers, list(photos_of[label])) for label in photos_of], axis=1).astype(
            np.uint8
        ),
        label_names=tuple(photos_of),
        texts=tuple(" ".join(tags[number]) for number in numbers),
        vocabulary=vocabulary,
        image_paths=tuple(paths),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
        root=folder,
    )


def _photo_numbers(photos: Path) -> list[int]:
    if not photos.is_dir():
        raise NotFoundError(f"folder not found: {photos}")
    found = (re.fullmatch(r"im(\d+)\.jpg", path.name) for path in photos.iterdir())
    numbers = [int(match[1]) for match in found if match]
    if not numbers:
        raise DataError(f"{photos}: no photos im<N>.jpg")
    return numbers


def _tags(photos: Path, number: int) -> list[str]:
    lines = text_lines(photos / "meta" / "tags" / f"tags{number}.txt")
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _vocabulary(photos: Path, tags: dict[int, list[str]]) -> tuple[str, ...]:
    file = photos / "doc" / "common_tags.txt"
    if not file.exists():
        counts = Counter(tag for photo_tags in tags.values() for tag in photo_tags)
        frequent = [(-times, tag) for tag, times in counts.items() if times >= MIN_TAG_PHOTOS]
        if not frequent:
            raise DataError(
                f"{photos}: no tag is used by {MIN_TAG_PHOTOS} photos, and there is no doc/common_tags.txt"
            )
        return tuple(tag for _, tag in sorted(frequent))
    vocabulary = []
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        fields = line.split()
        if len(fields) != 2 or not fields[1].isdecimal():
            raise DataError(f"{file} line {number}: expected a tag and its count, got {line!r}")
        vocabulary.append(fields[0])
    if not vocabulary:
        raise DataError(f"{file}: no tags")
    return tuple(vocabulary)


def _annotations(folder: Path) -> dict[str, set[int]]:
    """Label -> photo numbers, in the order of the file names."""
    if not folder.is_dir():
        raise NotFoundError(f"folder not found: {folder}")
    files = sorted(folder.glob("*.txt"))
    files = [file for file in files if not file.stem.endswith("_r1") and file.stem.lower() != "readme"]
    if not files:
        raise DataError(f"{folder}: no annotation files <label>.txt")
    return {file.stem: set(_photo_list(file, r"(\d+)")) for file in files}


def _query_rows(file: Path, numbers: list[int], seed: int) -> Rows:
    if not file.exists():
        return default_query_rows(len(numbers), seed, file.parent)
    queries = _photo_list(file, r"im(\d+)\.jpg")
    row_of = {number: row for row, number in enumerate(numbers)}
    if unknown := [number for number in queries if number not in row_of]:
        raise DataError(f"{file}: im{unknown[0]}.jpg is not among the photos with a common tag and a label")
    return np.array([row_of[number] for number in queries], dtype=np.int64)


def _photo_list(file: Path, pattern: str) -> list[int]:
    numbers = []
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(pattern, line.strip(), re.ASCII)
        if not match:
            raise DataError(f"{file} line {number}: expected a photo number, got {line!r}")
        numbers.append(int(match[1]))
    return numbers


def _bag_of_words(tags: list[list[str]], vocabulary: tuple[str, ...]) -> Any:
    """Binary (n, words) float32 CSR, columns ascending in each row."""
    from scipy.sparse import csr_matrix

    column = {word: c for c, word in enumerate(vocabulary)}
    rows = [sorted(column[tag] for tag in photo_tags if tag in column) for photo_tags in tags]
    indptr = np.cumsum([0, *map(len, rows)])
    indices: npt.NDArray[np.int64] = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
    ones = np.ones(len(indices), dtype=np.float32)
    return csr_matrix((ones, indices, indptr), shape=(len(tags), len(vocabulary)))
