"""NUS-WIDE in its original text files (Chua et al., CIVR 2009): Flickr photos, users' tags, 81 concepts.

ConceptsList/Concepts81.txt                  the concepts, one a line
Groundtruth/AllLabels/Labels_<concept>.txt   0 or 1 a photo
NUS_WID_Tags/TagList1k.txt                   1,000 tags, one a line
NUS_WID_Tags/AllTags1k.txt                   0 or 1 for each of them, a photo a line
NUS_WID_Tags/All_Tags.txt                    optional: photo number and all its tags, a photo a line
Low_Level_Features/BoW_int.dat               500 numbers, a photo a line
Low_Level_Features/Normalized_<kind>.dat     five kinds, 634 numbers together, a photo a line
ImageList/Imagelist.txt                      photos, one a line; their order is that of all files above
Flickr/<folder>/<photo>.jpg                  optional: the photos

Instead of the files of all photos, pairs in the orders of ImageList/TrainImagelist.txt and TestImagelist.txt do:
Groundtruth/TrainTestLabels/Labels_<concept>_Train.txt, NUS_WID_Tags/Train_Tags1k.dat,
Low_Level_Features/BoW_Train_int.dat, Low_Level_Features/Train_Normalized_<kind>.dat, each with its Test.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.nuswide_release import Part, Release
from spdq.data.pictures import existing_pictures
from spdq.data.queries import class_query_rows, default_query_rows
from spdq.data.splits import Rows, SplitKind, make_split, random_query_rows
from spdq.data.text_lines import listed_names, text_lines
from spdq.errors import DataError, UsageError

N_CONCEPTS = 81
TC10, TC21 = 10, 21
TC21_CONCEPTS = (
    "animal", "beach", "buildings", "clouds", "flowers", "grass", "lake", "mountain", "ocean", "person", "plants",
    "reflection", "road", "rocks", "sky", "snow", "sunset", "tree", "vehicle", "water", "window",
)  # fmt: skip
CLASS_QUERIES = 100
LOW_LEVEL = {"CH": 64, "CORR": 144, "EDH": 73, "WT": 128, "CM55": 225}
BOW_COLUMNS = 500


def load_nuswide(
    folder: Path,
    image: Literal["bow", "lowlevel"] | ImageExtractor = "bow",
    concepts: int = TC10,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
) -> Dataset:
    """Make a data set of the photos that show one of 10, 21 or 81 concepts; 269,648 photos in the full release.

    All parts must agree on the number of photos, whatever it is. What is kept, and the queries drawn from it:

    - 10 (TC10): the 10 concepts with the most photos; photos with one of them and one of the 1,000 tags (186,577
      are published). Queries: a random hundredth (1,866), as in the SPDQ paper.
    - 21 (TC21): the concepts ``TC21_CONCEPTS``; photos with one of them, those without tags too (195,834 are
      published). Queries: for each concept 100 random photos that show it (2,100), or a tenth of them where that
      is fewer.
    - 81: all; photos with one of them, those without tags too. Queries: 2,000 random ones, or a tenth.

    Items are in the order of the image lists. ids are the paths in them, without the ending
    (``actor/0001_2124494179``): photo numbers alone repeat. Text features are the bag of the 1,000 tags (CSR of
    ones), labels in the order of Concepts81.txt; a text is all tags of the photo, separated by blanks, and texts
    are absent where All_Tags.txt or the Imagelist.txt that says whose tags they are is.

    Parameters
    ----------
    folder : holds the folders above and becomes the data set's ``root``.
    image : ``bow``: (n, 500) counts of visual words; ``lowlevel``: (n, 634) colour histogram 64, correlogram 144,
        edge histogram 73, wavelet texture 128, colour moments 225, side by side; or an extractor for the photos.
    progress : called with the rows read of the image features, or by the extractor.

    Raises
    ------
    NotFoundError
        A file or photo is missing; the message names it and what would do instead.
    DataError
        A file is not what is described above; the message names its line. One published file,
        ``TrainTestLabels/Labels_lake_Train.txt``, is said to have a number that is neither 0 nor 1: AllLabels is
        read where both are there.
    UsageError
        Another ``image`` or ``concepts``.
    """
    _check_arguments(image, concepts)
    release = Release(folder)
    image_parts = _image_parts(release, folder, image) if isinstance(image, str) else ()
    label_names, labels = _labels(release, folder, concepts)
    vocabulary, tags = _tags(release, folder / "NUS_WID_Tags")
    is_kept = labels.max(axis=1) > 0
    if concepts == TC10:
        is_kept &= np.diff(tags.indptr) > 0
    rows = np.flatnonzero(is_kept).astype(np.int64)
    if not rows.size:
        raise DataError(
            f"{folder}: no photo has one of the concepts{' and a tag' if concepts == TC10 else ''}"
        )
    labels, photos = labels[rows], [release.pictures[row] for row in rows]
    split = make_split(len(rows), _query_rows(folder, concepts, labels, seed), kind, seed)
    texts = _texts(release, folder / "NUS_WID_Tags" / "All_Tags.txt", is_kept)
    has_photos = not isinstance(image, str) or (folder / "Flickr").is_dir()
    if isinstance(image, str):
        features = _image_features(image_parts, rows, len(release.pictures), progress)
    else:
        features = image.extract(existing_pictures(folder / "Flickr", photos), progress=progress)
    return Dataset(
        name=_name(image, concepts),
        ids=np.array([str(PurePosixPath(photo).with_suffix("")) for photo in photos]),
        image_features=features,
        text_features=tags[rows],
        labels=labels,
        label_names=label_names,
        texts=texts,
        vocabulary=vocabulary,
        image_paths=tuple(f"Flickr/{photo}" for photo in photos) if has_photos else None,
        image_extractor=None if isinstance(image, str) else image.name,
        image_regions=1 if isinstance(image, str) else image.regions,
        split=split,
        root=folder,
    )


def _check_arguments(image: str | ImageExtractor, concepts: int) -> None:
    if isinstance(image, str) and image not in ("bow", "lowlevel"):
        raise UsageError(f"image: expected bow, lowlevel or an image extractor, got {image!r}")
    if concepts not in (TC10, TC21, N_CONCEPTS):
        raise UsageError(f"concepts: expected {TC10}, {TC21} or {N_CONCEPTS}, got {concepts}")


def _name(image: str | ImageExtractor, concepts: int) -> str:
    name = "nuswide_81" if concepts == N_CONCEPTS else f"nuswide_tc{concepts}"
    return f"{name}_lowlevel" if image == "lowlevel" else name


def _labels(release: Release, folder: Path, concepts: int) -> tuple[tuple[str, ...], npt.NDArray[np.uint8]]:
    """Names and (pictures, concepts) labels of the chosen concepts, in the order of the list of all."""
    file = folder / "ConceptsList" / "Concepts81.txt"
    listed = listed_names(file)
    if len(listed) != N_CONCEPTS:
        raise DataError(f"{file}: expected {N_CONCEPTS} concepts, got {len(listed)}")
    if odd := next((name for name in listed if not re.fullmatch(r"\w+", name)), None):
        raise DataError(f"{file}: expected a word, which is part of file names, got {odd!r}")
    if unlisted := set(TC21_CONCEPTS).difference(listed):
        raise DataError(f"{file}: the concept {min(unlisted)} is missing")
    if concepts == TC21:
        listed = [name for name in listed if name in TC21_CONCEPTS]
    parts = [_label_part(release, folder / "Groundtruth", name) for name in listed]
    labels = np.zeros((len(release.pictures), len(listed)), dtype=np.uint8)
    for column, part in enumerate(parts):
        for rows, block in part.blocks(binary=True):
            labels[rows, column] = block[:, 0]
    if concepts == TC10:
        frequent = np.sort(np.argsort(-labels.sum(axis=0, dtype=np.int64), kind="stable")[:TC10])
        return tuple(listed[column] for column in frequent), np.ascontiguousarray(labels[:, frequent])
    return tuple(listed), labels


def _label_part(release: Release, folder: Path, concept: str) -> Part:
    halves = folder / "TrainTestLabels"
    return release.part(
        1,
        folder / "AllLabels" / f"Labels_{concept}.txt",
        halves / f"Labels_{concept}_Train.txt",
        halves / f"Labels_{concept}_Test.txt",
    )


def _tags(release: Release, folder: Path) -> tuple[tuple[str, ...], Any]:
    """The tags and the binary (pictures, tags) float32 CSR of them, columns ascending in each row."""
    from scipy.sparse import csr_matrix

    vocabulary = listed_names(folder / "TagList1k.txt")
    files = (folder / name for name in ("AllTags1k.txt", "Train_Tags1k.dat", "Test_Tags1k.dat"))
    entries = [np.zeros((2, 0), dtype=np.int64)]
    for rows, block in release.part(len(vocabulary), *files).blocks(binary=True):
        row, column = np.nonzero(block)
        entries.append(np.stack([rows[row], column]))
    row, column = np.concatenate(entries, axis=1)
    shape = (len(release.pictures), len(vocabulary))
    bag = csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
    bag.sort_indices()
    return tuple(vocabulary), bag


def _texts(release: Release, file: Path, is_kept: npt.NDArray[np.bool_]) -> tuple[str, ...] | None:
    """All tags of the kept photos, whether or not they are among the 1,000."""
    if not file.is_file() or not release.whole_list.is_file():
        return None
    lines = text_lines(file)
    if len(lines) != len(is_kept):
        raise DataError(
            f"{file}: {len(lines):,} lines, but {release.whole_list.name} names {len(is_kept):,} pictures"
        )
    texts = []
    for number, (line, picture) in enumerate(zip(lines, release.pictures, strict=True), start=1):
        photo, *tags = line.split() or [""]
        if photo != PurePosixPath(picture).stem.rpartition("_")[2]:
            expected = f"the number of {picture} and its tags"
            raise DataError(f"{file} line {number}: expected {expected}, got {line[:40]!r}")
        if is_kept[number - 1]:
            texts.append(" ".join(tags))
    return tuple(texts)


def _image_parts(release: Release, folder: Path, image: str) -> tuple[Part, ...]:
    folder = folder / "Low_Level_Features"
    if image == "bow":
        files = (folder / f"BoW_{part}int.dat" for part in ("", "Train_", "Test_"))
        return (release.part(BOW_COLUMNS, *files),)
    return tuple(
        release.part(columns, *(folder / f"{part}Normalized_{name}.dat" for part in ("", "Train_", "Test_")))
        for name, columns in LOW_LEVEL.items()
    )


def _image_features(
    parts: tuple[Part, ...], kept: Rows, n: int, progress: Progress | None
) -> npt.NDArray[np.float32]:
    """The parts side by side, (kept rows, columns of all) float32."""
    place = np.full(n, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    features = np.empty((len(kept), sum(part.columns for part in parts)), dtype=np.float32)
    start = done = 0
    for part in parts:
        for rows, block in part.blocks():
            is_kept = place[rows] >= 0
            features[place[rows[is_kept]], start : start + part.columns] = block[is_kept]
            done += len(rows)
            if progress is not None:
                progress(done, n * len(parts))
        start += part.columns
    return features


def _query_rows(folder: Path, concepts: int, labels: npt.NDArray[np.uint8], seed: int) -> Rows:
    if concepts == TC21:
        return class_query_rows(labels, CLASS_QUERIES, seed)
    if concepts == TC10 and len(labels) > 1:
        return random_query_rows(len(labels), max(1, round(len(labels) / 100)), seed)
    return default_query_rows(len(labels), seed, folder)
