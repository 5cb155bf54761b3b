import os
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
import scipy.io
from made_sets import CATEGORIES, TEST_LIST, TRAIN_LIST, assert_same, wikipedia_cnn, wikipedia_sift

from spdq.data import Dataset
from spdq.data.wikipedia import load_wikipedia
from spdq.errors import DataError, NotFoundError, UsageError

REAL = Path(os.environ.get("SPDQ_DATA", "absent")) / "wikipedia"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the Wikipedia set is absent (SPDQ_DATA/wikipedia)")


def test_sift_rows_follow_the_lists(tmp_path):
    dataset = load_wikipedia(wikipedia_sift(tmp_path))
    content = scipy.io.loadmat(tmp_path / "raw_features.mat")
    assert dataset.name == "wikipedia"
    assert dataset.label_names == CATEGORIES
    npt.assert_array_equal(dataset.image_features[:12], content["I_tr"].astype(np.float32))
    npt.assert_array_equal(dataset.text_features[12:], content["T_te"].astype(np.float32))
    assert dataset.ids[[0, 11, 12, 16]].tolist() == [
        "texttr0-2.1",
        "texttr11-2.1",
        "textte0-2.1",
        "textte4-2.1",
    ]
    npt.assert_array_equal(dataset.labels.argmax(axis=1), [*(np.arange(12) % 3), *(np.arange(5) % 3)])
    npt.assert_array_equal(dataset.labels.sum(axis=1), 1)
    npt.assert_array_equal(dataset.split.query, np.arange(12, 17))
    npt.assert_array_equal(dataset.split.train, np.arange(12))
    npt.assert_array_equal(dataset.split.database, np.arange(12))


def test_cnn_columns_and_its_unsorted_split(tmp_path):
    dataset = load_wikipedia(wikipedia_cnn(tmp_path), features="cnn")
    data = scipy.io.loadmat(tmp_path / "wiki_cnn.mat")["data"][0, 0]
    assert dataset.name == "wikipedia_cnn"
    npt.assert_array_equal(dataset.ids, np.arange(1, 18))
    npt.assert_array_equal(dataset.image_features, data["X1"].T.astype(np.float32))
    npt.assert_array_equal(dataset.text_features, data["X2"].T.astype(np.float32))
    npt.assert_array_equal(dataset.labels.argmax(axis=1), np.arange(17) % 3)
    npt.assert_array_equal(dataset.split.query, [0, 2, 16])
    npt.assert_array_equal(dataset.split.train, np.setdiff1d(np.arange(17), [0, 2, 16]))


@pytest.mark.parametrize(("make", "features"), [(wikipedia_sift, "sift"), (wikipedia_cnn, "cnn")])
def test_split_kinds(tmp_path, make, features):
    make(tmp_path)
    seen, unseen, paired = (
        load_wikipedia(tmp_path, features, kind).split for kind in ("seen", "unseen", "paired")
    )
    npt.assert_array_equal(unseen.query, seen.query)
    npt.assert_array_equal(np.union1d(unseen.train, unseen.database), seen.train)
    npt.assert_array_equal(paired.database, seen.query)
    npt.assert_array_equal(paired.train, seen.train)
    assert not paired.queries_trained
    assert load_wikipedia(tmp_path, features, "unseen", seed=1).split.train.tolist() != unseen.train.tolist()


def test_round_trip(tmp_path):
    dataset = load_wikipedia(wikipedia_sift(tmp_path), kind="paired")
    dataset.save(tmp_path / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "x.h5"))


@pytest.mark.parametrize("name", ["categories.list", "raw_features.mat", TRAIN_LIST, TEST_LIST])
def test_sift_file_missing(tmp_path, name):
    (wikipedia_sift(tmp_path) / name).unlink()
    with pytest.raises(NotFoundError, match=f"file not found: .*{name}"):
        load_wikipedia(tmp_path)


def test_cnn_file_missing_and_unknown_arguments(tmp_path):
    wikipedia_sift(tmp_path)
    with pytest.raises(NotFoundError, match=r"file not found: .*wiki_cnn\.mat"):
        load_wikipedia(tmp_path, "cnn")
    with pytest.raises(UsageError, match="features: expected sift or cnn, got 'vgg'"):
        load_wikipedia(tmp_path, "vgg")
    with pytest.raises(UsageError, match="split kind"):
        load_wikipedia(tmp_path, kind="half")


@pytest.mark.parametrize("content", [b"", b"text", bytes(200), b"MATLAB 5.0 MAT-file" + bytes(300)])
def test_not_a_matlab_file(tmp_path, content):
    (wikipedia_sift(tmp_path) / "raw_features.mat").write_bytes(content)
    with pytest.raises(DataError, match=r"raw_features\.mat: (not a MATLAB v5 file|expected the matrices)"):
        load_wikipedia(tmp_path)


def test_truncated_matlab_file(tmp_path):
    file = wikipedia_sift(tmp_path) / "raw_features.mat"
    whole = file.read_bytes()
    for length in range(150, len(whole) - 1, 97):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"raw_features\.mat"):
            load_wikipedia(tmp_path)


def sift(folder, **changes):
    arrays = scipy.io.loadmat(wikipedia_sift(folder) / "raw_features.mat")
    arrays = {name: value for name, value in (arrays | changes).items() if not name.startswith("__")}
    scipy.io.savemat(folder / "raw_features.mat", {k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T_te": None}, "expected the matrices I_tr, T_tr, I_te, T_te; T_te missing"),
        ({"T_te": np.ones((4, 4))}, f"T_te has 4 rows, but {TEST_LIST} has 5 lines"),
        ({"I_tr": np.ones((13, 6))}, f"I_tr has 13 rows, but {TRAIN_LIST} has 12 lines"),
        ({"I_te": np.ones((5, 7))}, "training features have 6 columns, test features 7"),
        ({"I_te": np.full((5, 6), "x", object)}, "I_te: expected real numbers, char, a vector of cells"),
        ({"I_te": np.full((5, 6), np.nan)}, "image_features row 12 has NaN"),
    ],
)
def test_sift_contents(tmp_path, changes, message):
    sift(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_wikipedia(tmp_path)


@pytest.mark.parametrize("line", ["a\tb", "a\tb\t0", "a\tb\t4", "a\tb\tmusic", "a b c 1", ""])
def test_list_lines(tmp_path, line):
    file = wikipedia_sift(tmp_path) / TEST_LIST
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(DataError, match=rf"{TEST_LIST} line 3: expected text id, image id, category 1 to 3"):
        load_wikipedia(tmp_path)


def test_list_not_utf8_and_duplicate_ids(tmp_path):
    file = wikipedia_sift(tmp_path) / TEST_LIST
    file.write_text(file.read_text().replace("textte1", "textte0"))
    with pytest.raises(DataError, match=r'duplicate id "textte0-2.1"'):
        load_wikipedia(tmp_path)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8 text"):
        load_wikipedia(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X2": np.ones((4, 16))}, r"expected X1 \(d, n\), X2 \(d, n\), Y \(3, n\), got .* X2 \(4, 16\)"),
        ({"Y": np.ones((2, 17))}, r"got .* Y \(2, 17\)"),
        ({"Y": np.full((3, 17), 2.0)}, "labels row 0 has 2, expected 0 or 1"),
        ({"X1": "text"}, "X1 is not a numeric matrix"),
        (
            {"split": {"ind_train": np.arange(1, 15)[None]}},
            "expected a struct with ind_train, ind_test; ind_test",
        ),
        (
            {"split": np.ones((2, 2))},
            "ind_test; ind_train, ind_test missing",
        ),
        ({"split": {"ind_train": np.arange(4, 18)[None], "ind_test": np.array([[0, 1, 2]])}}, "1 to 17 once"),
        ({"split": {"ind_train": np.arange(3, 18)[None], "ind_test": np.array([[1, 2, 3]])}}, "1 to 17 once"),
    ],
)
def test_cnn_contents(tmp_path, changes, message):
    wikipedia_cnn(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_wikipedia(tmp_path, "cnn")


def test_cnn_is_not_a_struct(tmp_path):
    scipy.io.savemat(wikipedia_cnn(tmp_path) / "wiki_cnn.mat", {"data": np.ones((3, 3))})
    with pytest.raises(DataError, match="expected a struct with X1, X2, Y, split; X1, X2, Y, split missing"):
        load_wikipedia(tmp_path, "cnn")


@needs_real
@pytest.mark.parametrize(("features", "text_dim"), [("sift", 10), ("cnn", 100)])
def test_real_counts(features, text_dim):
    dataset = load_wikipedia(REAL, features)
    assert dataset.image_features.shape == (2866, 128)
    assert dataset.text_features.shape == (2866, text_dim)
    assert (len(dataset.split.query), len(dataset.split.train)) == (693, 2173)
    assert dataset.labels.sum(axis=0).tolist() == [172, 360, 340, 333, 267, 236, 237, 185, 285, 451]
    assert dataset.label_names[0] == "art"
    assert dataset.label_names[9] == "warfare"


@needs_real
def test_real_files_list_the_classes_in_the_same_order():
    npt.assert_array_equal(load_wikipedia(REAL, "sift").labels, load_wikipedia(REAL, "cnn").labels)
