import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from spdq.data import Dataset, QueryItems, Split, make_split
from spdq.errors import DataError, UsageError

N = 4


def dataset(**changes):
    parts = {
        "name": "tiny",
        "ids": np.arange(N),
        "image_features": np.zeros((N, 3), np.float32),
        "text_features": sparse.csr_matrix(np.eye(N, 2, dtype=np.float32)),
        "labels": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], np.uint8),
        "label_names": ("group:a", "group:b", "subgroup:c"),
        "texts": ("a cat\nun chat", "b", "", "d"),
        "vocabulary": ("cat", "dog"),
        "image_paths": ("pictures/a.png", "b.png", "c.png", "../d.png"),
        "image_extractor": "grid",
        "image_regions": 3,
        "classes": np.array([5, 0, -1, 5]),
        "clicks": QueryItems.from_mapping({"cat": {0: 2, 3: 1}, "dog": {1: 7}}),
        "grades": QueryItems.from_mapping({"bird": {2: 3, 0: 1}}),
        "attributes": {"year": (1, 2, None, 4)},
        "split": make_split(N, [1], "seen", 0),
    }
    return Dataset(**(parts | changes))


def with_value(value, row=2, dtype=np.float32):
    features = np.zeros((N, 3), dtype)
    features[row, 1] = value
    return features


def csr(data=(1.0,), indices=(0,), indptr=(0, 0, 1, 1, 1)):
    matrix = sparse.csr_matrix((N, 2), dtype=np.float32)
    matrix.data = np.array(data, np.float32)
    matrix.indices, matrix.indptr = np.array(indices, np.int32), np.array(indptr, np.int32)
    return matrix


def clicks_split(n):
    return Split(np.arange(0), np.arange(n), np.arange(n), "clicks", 0)


SAID = {
    "text_extractor": "made:1",
    "text_features": np.ones((N, 2), np.float32),
    "line_features": np.arange(10, dtype=np.float32).reshape(5, 2),
}
"""Text features of a named extractor; the first item has two lines of text."""

BAD = [
    ({"name": ""}, "name is empty"),
    ({"name": None}, "name: expected str, got NoneType"),
    ({"name": "x" * 256}, "name: expected at most 255 characters, got 256"),
    ({"ids": [1, 2, 3, 4]}, r"ids: expected \(n,\) int64 or str array, got list"),
    ({"ids": np.zeros((N, 1), np.int64)}, r"ids: .* got \(4, 1\) int64"),
    ({"ids": np.arange(N, dtype=np.int32)}, r"ids: .* got \(4,\) int32"),
    ({"ids": np.arange(0)}, "at least one item"),
    ({"ids": np.array([1, 7, 7, 2])}, 'duplicate id "7"'),
    ({"ids": np.array(["a", "b", "é", "é"])}, 'duplicate id "é"'),
    ({"ids": np.array(["a", "", "c", "d"])}, "ids row 1 is empty"),
    ({"ids": np.array(["a", "b\0b", "c", "d"])}, "ids row 1 holds a NUL"),
    ({"ids": np.array(["a", "\ud800", "c", "d"])}, "ids row 1 holds .* lone surrogate"),
    ({"text_extractor": ""}, "text_extractor is empty"),
    (
        {"text_extractor": "e", "text_features": None, "vocabulary": None},
        "text_extractor without text_features",
    ),
    ({"line_features": np.zeros((5, 2), np.float32)}, "line_features without texts and text_extractor"),
    (SAID | {"texts": None}, "line_features without texts and text_extractor"),
    (
        SAID | {"text_features": sparse.csr_matrix((N, 2), dtype=np.float32)},
        "text_features must be dense beside",
    ),
    (SAID | {"line_features": np.zeros((4, 2), np.float32)}, r"line_features: expected \(5, d\) float32"),
    (SAID | {"line_features": np.zeros((5, 2))}, r"line_features: expected .* got \(5, 2\) float64"),
    (SAID | {"line_features": np.zeros((5, 3), np.float32)}, "line_features: expected 2 columns .* got 3"),
    (SAID | {"line_features": np.full((5, 2), np.nan, np.float32)}, "line_features row 0 has NaN"),
    ({"image_features": np.zeros((3, 3), np.float32)}, r"image_features: expected \(4, d\) .* got \(3, 3\)"),
    ({"image_features": np.zeros((N, 0), np.float32)}, r"got \(4, 0\)"),
    ({"image_features": np.zeros(N, np.float32)}, r"got \(4,\)"),
    ({"image_features": np.zeros((N, 3))}, "expected .* float16 or float32, got .* float64"),
    ({"image_features": [[1.0]] * N}, "got list"),
    ({"image_features": with_value(np.nan)}, "image_features row 2 has NaN"),
    ({"image_features": with_value(np.nan, 0, np.float16)}, "image_features row 0 has NaN"),
    ({"image_features": with_value(-np.inf)}, "image_features row 2 has an infinite value"),
    ({"image_features": with_value(1.1e6, 3)}, "image_features row 3 has a value beyond 1e[+]06"),
    ({"text_features": with_value(np.nan), "vocabulary": None}, "text_features row 2 has NaN"),
    ({"text_features": with_value(0, dtype=np.float16), "vocabulary": None}, "float32, got .* float16"),
    ({"text_features": sparse.coo_matrix((N, 2), dtype=np.float32)}, "expected a float32 array or CSR"),
    ({"text_features": "words"}, "expected a float32 array or CSR matrix, got str"),
    (
        {"text_features": sparse.csr_matrix((3, 2), dtype=np.float32)},
        r"expected \(4, d\) float32 CSR, got \(3, 2\)",
    ),
    ({"text_features": sparse.csr_matrix((N, 2))}, "float32 CSR, got .* float64"),
    ({"text_features": csr(data=[np.nan])}, "text_features row 1 has NaN"),
    (
        {"text_features": csr(data=[0, np.inf], indices=[0, 1], indptr=[0, 0, 0, 1, 2])},
        "row 3 has an infinite",
    ),
    ({"text_features": csr(indices=[2])}, "not a CSR matrix"),
    ({"text_features": csr(indptr=[0, 1, 0, 1, 1])}, "not a CSR matrix"),
    ({"labels": None}, "label_names: 3 names without labels"),
    ({"labels": np.zeros((N, 3))}, r"labels: expected \(4, c\) uint8, got \(4, 3\) float64"),
    ({"labels": np.zeros((3, 3), np.uint8)}, r"labels: expected \(4, c\)"),
    ({"labels": np.zeros((N, 0), np.uint8), "label_names": ()}, "at least one column"),
    ({"labels": np.full((N, 3), [[0], [0], [9], [0]], np.uint8)}, "labels row 2 has 9, expected 0 or 1"),
    ({"label_names": ("a", "b")}, "label_names: expected 3, got 2"),
    ({"label_names": ["a", "b", "c"]}, "label_names: expected a tuple of str, got list"),
    ({"label_names": ("a", "b", "a")}, 'label_names: "a" appears more than once'),
    ({"label_names": ("a", "b", 3)}, "label_names row 2: expected str, got int"),
    ({"texts": ("a",)}, "texts: expected 4, got 1"),
    ({"texts": ("a", "b", "c\0", "d")}, "texts row 2 holds a NUL"),
    ({"text_features": None}, "vocabulary without text_features"),
    ({"vocabulary": ("cat",)}, "vocabulary: expected 2, got 1"),
    ({"vocabulary": ("cat", "cat")}, 'vocabulary: "cat" appears more than once'),
    ({"vocabulary": ("cat", "")}, "vocabulary row 1 is empty"),
    ({"image_paths": ("a",)}, "image_paths: expected 4, got 1"),
    ({"image_paths": ("a", "b", "", "d")}, "image_paths row 2 is empty"),
    ({"image_paths": ("a", "/etc/passwd", "c", "d")}, "image_paths row 1: expected a relative path"),
    ({"image_features": None}, "image_extractor without image_features"),
    ({"image_features": None, "image_extractor": None}, "image_regions without image_features"),
    ({"image_regions": 2}, "image_regions: 3 features cannot be cut into 2 parts"),
    ({"image_regions": 4}, "image_regions: 3 features cannot be cut into 4 parts"),
    ({"image_regions": 0}, "image_regions: expected an int of 1 or more, got 0"),
    ({"image_regions": True}, "image_regions: expected an int of 1 or more, got True"),
    ({"image_regions": "3"}, "image_regions: expected an int of 1 or more, got '3'"),
    ({"classes": [0, 1, 2, 3]}, r"classes: expected \(4,\) int64, got list"),
    ({"classes": np.zeros(3, np.int64)}, r"classes: expected \(4,\) int64, got \(3,\)"),
    ({"classes": np.zeros(N)}, r"classes: expected .* got \(4,\) float64"),
    ({"classes": np.array([0, -1, -2, 0])}, "classes row 2: expected a class of 0 or more, .* got -2"),
    ({"clicks": QueryItems.from_mapping({"a": {N: 1}})}, "clicks: item 4 is outside the data set's 4 rows"),
    ({"grades": QueryItems.from_mapping({"a": {9: 1}})}, "grades: item 9 is outside the data set's 4 rows"),
    ({"clicks": QueryItems.from_mapping({"a": {0: 10**9 + 1}})}, "clicks: expected 1 to 1,000,000,000, got"),
    ({"grades": QueryItems.from_mapping({"a": {1: 4}})}, "grades: expected 1 to 3, got 4"),
    (
        {"grades": QueryItems.from_mapping({"bird": {1: 1}, "dog": {1: 1}, "cat": {0: 1}})},
        '"cat" and 1 more queries stand both in clicks and in grades: a held-out query must not be learned from',
    ),
    ({"image_extractor": ""}, "image_extractor is empty"),
    ({"split": make_split(N + 1, [N], "seen", 0)}, "split query: row 4 is outside the data set's 4 rows"),
    ({"split": make_split(N + 1, [0], "seen", 0)}, "split train: row 4 is outside"),
    ({"split": clicks_split(N + 1)}, "split train: row 4 is outside"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_refuses(changes, message):
    with pytest.raises(DataError, match=message):
        dataset(**changes)


def test_any_part_may_be_absent():
    alone = Dataset("ids only", np.array(["x"]))
    assert len(alone) == 1
    assert alone.describe()["image_features"] is None
    for part in ("split", "image_regions", "classes", "classed_items", "clicks", "grades"):
        assert alone.describe()[part] is None


def test_features_at_the_limit_are_accepted():
    assert len(dataset(image_features=with_value(-1e6))) == N
    assert len(dataset(image_features=with_value(65504, dtype=np.float16))) == N


def test_csr_array_and_empty_csr_are_accepted():
    assert len(dataset(text_features=sparse.csr_array((N, 2), dtype=np.float32))) == N


def test_select_labels_keeps_columns_and_names():
    groups = dataset().select_labels("group:")
    assert groups.label_names == ("group:a", "group:b")
    np.testing.assert_array_equal(groups.labels, [[1, 0], [0, 1], [0, 0], [0, 0]])
    assert groups.labels.flags.c_contiguous
    assert dataset().select_labels("").label_names == dataset().label_names


def test_classes_of_labels():
    made = dataset().with_classes_of("group:")
    assert made.name == "tiny-group"
    np.testing.assert_array_equal(made.classes, [0, 1, -1, -1])
    assert made.label_names == dataset().label_names
    assert dataset().with_classes_of("").name == "tiny"


def test_a_class_is_one_label():
    labels = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1], [0, 0, 0]], np.uint8)
    with pytest.raises(DataError, match="tiny: a class is one label, item 1 has several: group:a, group:b"):
        dataset(labels=labels).with_classes_of("group:")
    with pytest.raises(DataError, match="no label starts with 'topic:'"):
        dataset().with_classes_of("topic:")


def test_select_labels_names_what_is_there():
    with pytest.raises(DataError, match="no label starts with 'topic:'; there are group:, subgroup:"):
        dataset().select_labels("topic:")
    with pytest.raises(DataError, match="there are labels without a prefix"):
        dataset(label_names=("a", "b", "c")).select_labels("x")
    with pytest.raises(DataError, match="tiny has no labels to select 'x' from"):
        dataset(labels=None, label_names=()).select_labels("x")


def test_take_keeps_the_parts_of_the_rows():
    taken = dataset().take([2, 0])
    whole = dataset()
    assert (taken.split, taken.clicks, taken.grades) == (None, None, None)
    assert taken.image_regions == 3
    assert taken.classes.tolist() == [-1, 5]
    assert taken.ids.tolist() == whole.ids[[2, 0]].tolist()
    np.testing.assert_array_equal(taken.image_features, whole.image_features[[2, 0]])
    np.testing.assert_array_equal(taken.text_features.toarray(), whole.text_features.toarray()[[2, 0]])
    np.testing.assert_array_equal(taken.labels, whole.labels[[2, 0]])
    assert taken.texts == (whole.texts[2], whole.texts[0])
    assert taken.image_paths == (whole.image_paths[2], whole.image_paths[0])
    assert taken.label_names == whole.label_names
    assert taken.vocabulary == whole.vocabulary
    assert taken.attributes == {"year": (None, 1)}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"rows to take: expected \(m,\) integers"),
        ([0.5], r"expected \(m,\) integers, got \(1,\) float64"),
        ([0, N], "rows to take: row 4 is outside the data set's 4 rows"),
        ([0, -1], "rows to take: row -1 is outside"),
        ([1, 1], 'duplicate id "1"'),
    ],
)
def test_take_refuses(rows, message):
    with pytest.raises(DataError, match=message):
        dataset().take(rows)


def test_take_takes_lines_along():
    taken = dataset(**SAID).take([3, 0])
    np.testing.assert_array_equal(taken.line_features, [[8, 9], [0, 1], [2, 3]])
    assert (taken.text_extractor, taken.texts) == ("made:1", ("d", "a cat\nun chat"))


class Lengths:
    """The length of a text, and 1."""

    name, dim = "lengths", 2

    def extract(self, texts, progress=None):
        if progress is not None:
            progress(len(texts), len(texts))
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)


def test_with_text_features():
    calls = []
    made = dataset().with_text_features(Lengths(), lambda *call: calls.append(call))
    np.testing.assert_array_equal(made.line_features, [[5, 1], [7, 1], [1, 1], [0, 0], [1, 1]])
    np.testing.assert_array_equal(made.text_features[1:], [[1, 1], [0, 0], [1, 1]])
    assert (made.text_extractor, made.vocabulary, made.describe()["text_extractor"]) == (
        "lengths",
        None,
        "lengths",
    )
    assert calls == [(4, 4)]
    single = dataset(texts=("a", "b", "", "d")).with_text_features(Lengths())
    assert single.line_features is None
    with pytest.raises(DataError, match="tiny has no texts for lengths"):
        dataset(texts=None).with_text_features(Lengths())


def test_a_split_without_query_rows():
    described = dataset(split=clicks_split(N)).describe()["split"]
    assert described == {
        "kind": "clicks",
        "seed": 0,
        "query": 0,
        "train": 4,
        "database": 4,
        "queries_trained": False,
    }


def test_with_split():
    split = make_split(N, [0], "unseen", 5)
    assert dataset().with_split(split).split is split
    assert dataset().with_split(None).split is None


def test_image_path(tmp_path):
    assert dataset(root=tmp_path).image_path(0) == tmp_path / "pictures" / "a.png"
    for row in (-1, N):
        with pytest.raises(UsageError, match=f"row: expected 0 to 3, got {row}"):
            dataset(root=tmp_path).image_path(row)
    with pytest.raises(DataError, match="tiny names no pictures"):
        dataset(image_paths=None, root=tmp_path).image_path(0)
    with pytest.raises(DataError, match="tiny has no root folder"):
        dataset().image_path(0)


def test_describe_is_json_and_counts():
    described = json.loads(json.dumps(dataset().describe()))
    assert described == {
        "name": "tiny",
        "items": 4,
        "ids": "int",
        "image_features": {"dim": 3, "dtype": "float32", "sparse": False},
        "image_extractor": "grid",
        "image_regions": 3,
        "text_features": {"dim": 2, "dtype": "float32", "sparse": True},
        "text_extractor": None,
        "words": 2,
        "texts": 3,
        "pictures": 4,
        "labels": 3,
        "label_sets": {"group:": 2, "subgroup:": 1},
        "labels_an_item": 0.75,
        "classes": 2,
        "classed_items": 3,
        "clicks": {"queries": 2, "pairs": 3, "clicks": 10},
        "grades": {"queries": 1, "pairs": 2},
        "attributes": {"year": "int"},
        "split": {"kind": "seen", "seed": 0, "query": 1, "train": 3, "database": 3, "queries_trained": False},
    }


def test_import_is_light():
    code = "import sys, spdq.data; print(*{'h5py', 'sklearn', 'scipy', 'torch', 'PIL'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
