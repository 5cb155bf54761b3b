"""Small made data in exactly the formats of the published sets, and a tiny real image extractor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.testing as npt
import scipy.io
from PIL import Image
from scipy import sparse

from spdq.data import Dataset, QueryItems, make_split
from spdq.errors import DataError

CATEGORIES = ("art", "biology", "music")
TRAIN_LIST, TEST_LIST = "trainset_txt_img_cat.list", "testset_txt_img_cat.list"


class GridExtractor:
    """Mean colours of an 8 x 8 grid: 192 features."""

    name = "grid"
    regions = 1

    def extract(self, images, progress=None):
        features = np.empty((len(images), 192), np.float32)
        for row, path in enumerate(images):
            try:
                with Image.open(path) as image:
                    small = image.convert("RGBA").convert("RGB").resize((8, 8), Image.Resampling.BOX)
            except OSError as error:
                raise DataError(f"{path}: broken picture ({error})") from error
            features[row] = np.asarray(small, np.float32).ravel() / 255
            if progress is not None:
                progress(row + 1, len(images))
        return features


def assert_same(a: Dataset, b: Dataset) -> None:
    """Every stored part is equal in type, shape and value."""
    single = ("name", "label_names", "texts", "vocabulary", "image_paths", "image_extractor", "image_regions")
    for part in (*single, "text_extractor"):
        assert getattr(a, part) == getattr(b, part), part
    for part in ("ids", "image_features", "labels", "classes", "line_features"):
        _assert_same_array(getattr(a, part), getattr(b, part))
    for part in ("clicks", "grades"):
        assert_same_queries(getattr(a, part), getattr(b, part))
    x, y = a.text_features, b.text_features
    if sparse.issparse(x):
        assert x.shape == y.shape
        assert y.format == "csr"
        for part in ("data", "indices", "indptr"):
            npt.assert_array_equal(getattr(x, part), getattr(y, part))
    else:
        _assert_same_array(x, y)
    assert (a.split is None) == (b.split is None)
    if a.split is not None and b.split is not None:
        assert (a.split.kind, a.split.seed) == (b.split.kind, b.split.seed)
        for part in ("query", "train", "database"):
            _assert_same_array(getattr(a.split, part), getattr(b.split, part))


def assert_same_queries(a: QueryItems | None, b: QueryItems | None) -> None:
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert a.queries == b.queries
        for part in ("query", "item", "value"):
            _assert_same_array(getattr(a, part), getattr(b, part))


def _assert_same_array(x, y) -> None:
    assert (x is None) == (y is None)
    if x is not None:
        assert x.dtype.kind == y.dtype.kind
        assert x.dtype.kind == "U" or x.dtype == y.dtype
        npt.assert_array_equal(x, y)


def wikipedia_sift(folder: Path, n_train: int = 12, n_test: int = 5) -> Path:
    rng = np.random.default_rng(0)
    _categories(folder)
    arrays = {}
    for part, n, list_name in (("tr", n_train, TRAIN_LIST), ("te", n_test, TEST_LIST)):
        arrays[f"I_{part}"] = rng.random((n, 6))
        arrays[f"T_{part}"] = rng.random((n, 4))
        lines = [f"text{part}{row}-2.1\timage{row}\t{row % 3 + 1}\n" for row in range(n)]
        (folder / list_name).write_text("".join(lines))
    scipy.io.savemat(folder / "raw_features.mat", arrays)
    return folder


def wikipedia_cnn(folder: Path, **changes) -> Path:
    """17 documents; the test columns are 3, 1 and 17 (from 1), written in that order."""
    rng = np.random.default_rng(0)
    _categories(folder)
    test = np.array([[3, 1, 17]], np.uint16)
    train = rng.permutation(np.setdiff1d(np.arange(1, 18), test)).astype(np.uint16)[None]
    labels = sparse.csc_matrix(np.eye(3)[np.arange(17) % 3].T)
    data = {"X1": rng.random((6, 17)), "X2": rng.random((4, 17)), "Y": labels}
    data["split"] = {"ind_train": train, "ind_test": test}
    scipy.io.savemat(folder / "wiki_cnn.mat", {"data": data | changes})
    return folder


def _categories(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "categories.list").write_text("\n".join(CATEGORIES) + "\n")


def mirflickr(folder: Path) -> Path:
    """8 photos, numbers with gaps; 9 has no common tag, 20 no label: 6 items, 4 words, 3 labels."""
    tags = {
        2: "sky blue",
        3: "sky sky",
        5: "cat",
        9: "private",
        11: "cat blue extra",
        20: "sky",
        31: "españa",
        100: "blue",
    }
    photos, annotations = folder / "mirflickr", folder / "mirflickr25k_annotations_v080"
    for part in (photos / "meta" / "tags", photos / "doc", annotations):
        part.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number, words in tags.items():
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"im{number}.jpg")
        (photos / "meta" / "tags" / f"tags{number}.txt").write_text("\n".join(words.split()) + "\n", "utf-8")
    (photos / "doc" / "common_tags.txt").write_text("sky 842\ncat 40\nblue 30\nespaña 12\n", "utf-8")
    for label, numbers in {"sea": (2, 3, 9), "animals": (5, 11, 99), "baby": (31, 100)}.items():
        (annotations / f"{label}.txt").write_text("".join(f"{number}\n" for number in numbers))
    (annotations / "sea_r1.txt").write_text("20\n")
    (annotations / "README.txt").write_text("Not an annotation.\n")
    return folder


def full_dataset():
    """40 items with every part that a data set can have."""
    rng = np.random.default_rng(0)
    words = sparse.random(40, 20, 0.2, "csr", dtype=np.float32, random_state=0)
    return Dataset(
        name="full",
        ids=np.array([f"item-{row}é" for row in range(40)]),
        image_features=rng.normal(size=(40, 32)).astype(np.float32),
        text_features=words,
        labels=rng.integers(0, 2, (40, 5), dtype=np.uint8),
        label_names=tuple("abcde"),
        texts=tuple(f"text {row}" for row in range(40)),
        vocabulary=tuple(f"word{column}" for column in range(20)),
        image_paths=tuple(f"pictures/{row}.png" for row in range(40)),
        image_extractor="grid",
        image_regions=4,
        classes=rng.integers(-1, 5, 40),
        clicks=QueryItems.from_mapping({f"query {row}": {row: row + 1, 39: 1} for row in range(30)}),
        grades=QueryItems.from_mapping({"held out é": {3: 3, 8: 2}, "held": {0: 1}}),
        attributes={"year": (None, *range(1, 40))},
        split=make_split(40, [1, 2, 3], "unseen", 0),
    )
