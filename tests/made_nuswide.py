"""Small made releases in exactly the format of NUS-WIDE's original text files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

_NAMES = (
    "airport animal beach bear birds boats book bridge buildings cars castle cat cityscape clouds computer coral "
    "cow dancing dog earthquake elk fire fish flags flowers food fox frost garden glacier grass harbor horses house "
    "lake leaf map military moon mountain nighttime ocean person plane plants police protest railroad rainbow "
    "reflection road rocks running sand sign sky snow soccer sports statue street sun sunset surf swimmers tattoo "
    "temple tiger tower town toy train tree valley vehicle water waterfall wedding whales window zebra"
)
CONCEPTS = _NAMES.split()
KINDS = {"CH": 64, "CORR": 144, "EDH": 73, "WT": 128, "CM55": 225}


@dataclass(frozen=True)
class Made:
    """What the files say, row i about photo i of Imagelist.txt."""

    photos: list[str]
    train: np.ndarray
    labels: np.ndarray
    tag_names: list[str]
    tags: np.ndarray
    texts: list[str]
    bow: np.ndarray
    low_level: dict[str, np.ndarray]


def made_release(n: int = 40, seed: int = 0) -> Made:
    """Photos with and without labels and tags; photo numbers repeat, and training photos lie between test photos."""
    rng = np.random.default_rng(seed)
    tag_names = [f"tag{number}" for number in range(998)] + ["españa", "東京"]
    rarity = rng.permutation(len(CONCEPTS)) + 1
    labels = (rng.random((n, len(CONCEPTS))) < 3 / (rarity + 4)).astype(int)
    labels[::7] = 0
    tags = (rng.random((n, 1000)) < 0.003).astype(int)
    tags[::5] = 0
    tags[1, 999] = 1
    words = [[tag_names[column] for column in np.flatnonzero(row)] for row in tags]
    return Made(
        photos=[f"{CONCEPTS[row % 3]}/{row // 3:04d}_{10_000 + row // 2}.jpg" for row in range(n)],
        train=rng.permutation(np.arange(n) < 0.6 * n),
        labels=labels,
        tag_names=tag_names,
        tags=tags,
        texts=[" ".join([*tag_list, "rare", f"only{row}"]) for row, tag_list in enumerate(words)],
        bow=rng.integers(0, 40, (n, 500)),
        low_level={kind: rng.normal(size=(n, width)).round(6) for kind, width in KINDS.items()},
    )


def write_release(folder: Path, made: Made, whole: bool = True, pairs: bool = True) -> Path:
    """Write the parts as files of all photos, as pairs of training and test files, or both ways."""
    ways = [("whole", slice(None))] if whole else []
    ways += [("train", made.train), ("test", ~made.train)] if pairs else []
    _write(folder / "ConceptsList" / "Concepts81.txt", "".join(f"{name}\n" for name in CONCEPTS))
    _write(folder / "NUS_WID_Tags" / "TagList1k.txt", "".join(f"{name}\r\n" for name in made.tag_names))
    for way, rows in ways:
        list_name = {"whole": "Imagelist", "train": "TrainImagelist", "test": "TestImagelist"}[way]
        photos = np.array(made.photos)[rows]
        lines = [photo.replace("/", "\\") + "\n" for photo in photos]
        _write(folder / "ImageList" / f"{list_name}.txt", "".join(lines))
        for concept, column in zip(CONCEPTS, made.labels.T, strict=True):
            name = f"AllLabels/Labels_{concept}" if way == "whole" else _label_half(concept, way)
            _write_matrix(folder / "Groundtruth" / f"{name}.txt", column[rows][:, None], "")
        tags = {"whole": "AllTags1k.txt", "train": "Train_Tags1k.dat", "test": "Test_Tags1k.dat"}[way]
        _write_matrix(folder / "NUS_WID_Tags" / tags, made.tags[rows], "\t")
        features = folder / "Low_Level_Features"
        half = "" if way == "whole" else f"{way.title()}_"
        _write_matrix(features / f"BoW_{half}int.dat", made.bow[rows], " ")
        for kind, matrix in made.low_level.items():
            _write_matrix(features / f"{half}Normalized_{kind}.dat", matrix[rows], " ")
    if whole:
        numbers = [photo.rpartition("_")[2].removesuffix(".jpg") for photo in made.photos]
        lines = [f"{number}\t {text}\n" for number, text in zip(numbers, made.texts, strict=True)]
        _write(folder / "NUS_WID_Tags" / "All_Tags.txt", "".join(lines))
    return folder


def write_photos(folder: Path, made: Made) -> None:
    rng = np.random.default_rng(0)
    for photo in made.photos:
        file = folder / "Flickr" / photo
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(file)


def _label_half(concept: str, way: str) -> str:
    return f"TrainTestLabels/Labels_{concept}_{way.title()}"


def _write_matrix(file: Path, matrix: np.ndarray, separator: str) -> None:
    """One row a line, the separator after every number, the last one too."""
    lines = ["".join(f"{number}{separator}" for number in row) for row in matrix.tolist()]
    _write(file, "".join(f"{line}\n" for line in lines))


def _write(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8", newline="")
