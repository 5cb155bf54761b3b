import numpy as np
import numpy.testing as npt
import pytest
import scipy.io
from made_matlab import pascal, write_v5, write_v73
from made_sets import assert_same

from spdq.data import Dataset
from spdq.data.pascal import load_pascal
from spdq.errors import DataError, NotFoundError, UsageError

both = pytest.mark.parametrize("write", [write_v5, write_v73])


@both
def test_items_are_the_training_rows_then_the_test_rows(tmp_path, write):
    dataset = load_pascal(pascal(write, tmp_path))
    stored = pascal(write_v5, tmp_path / "v5")
    train, test = (scipy.io.loadmat(stored / f"{part}_img.mat")[f"{part}_img"] for part in ("train", "test"))
    assert dataset.name == "pascal"
    npt.assert_array_equal(dataset.image_features, np.concatenate([train, test]))
    assert dataset.text_features.shape == (65, 6)
    assert (dataset.ids[0], dataset.ids[39], dataset.ids[40], dataset.ids[64]) == (
        "train-1",
        "train-40",
        "test-1",
        "test-25",
    )
    classes = scipy.io.loadmat(stored / "test_img_lab.mat")["test_img_lab"][:, 0]
    npt.assert_array_equal(dataset.labels[40:].argmax(axis=1), classes)
    npt.assert_array_equal(dataset.labels.sum(axis=1), 1)
    assert dataset.label_names == tuple(f"class-{number}" for number in range(20))
    npt.assert_array_equal(dataset.split.query, np.arange(40, 65))
    npt.assert_array_equal(dataset.split.train, np.arange(40))
    dataset.save(tmp_path / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "x.h5"))


def test_split_kinds(tmp_path):
    pascal(write_v5, tmp_path)
    unseen = load_pascal(tmp_path, "unseen", 3).split
    assert (len(unseen.query), len(unseen.train), len(unseen.database), unseen.seed) == (25, 20, 20, 3)
    assert len(load_pascal(tmp_path, "paired").split.database) == 65
    with pytest.raises(UsageError, match="split kind"):
        load_pascal(tmp_path, "half")


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("name", ["img", "txt", "img_lab"])
def test_a_missing_file_is_named(tmp_path, part, name):
    (pascal(write_v5, tmp_path) / f"{part}_{name}.mat").unlink()
    with pytest.raises(NotFoundError, match=rf"file not found: .*{part}_{name}\.mat"):
        load_pascal(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_txt": np.ones((39, 6))},
            r"train_img 40 x 9, train_txt 39 x 6, .* no number of items in common",
        ),
        ({"test_img": np.ones((25, 8))}, "train_img has 9 columns, test_img 8"),
        ({"test_txt": np.ones((25, 7))}, "train_txt has 6 columns, test_txt 7"),
        ({"test_img_lab": np.full((25, 1), 20)}, r"test_img_lab: expected one class from 0 to 19 an item"),
        ({"test_img_lab": np.full((25, 1), 0.5)}, "expected one class from 0 to 19"),
        ({"train_img_lab": np.ones((40, 2))}, "expected one class from 0 to 19"),
        ({"train_img": "text"}, r"train_img\.mat"),
        ({"train_img": np.full((40, 9), np.inf)}, "image_features row 0 has an infinite value"),
    ],
)
def test_bad_contents(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load_pascal(pascal(write_v5, tmp_path, **changes))


def test_a_file_without_its_variable(tmp_path):
    write_v5(pascal(write_v5, tmp_path) / "test_txt.mat", txt=np.ones((25, 6)))
    with pytest.raises(DataError, match=r"test_txt\.mat: expected the matrices test_txt; test_txt missing"):
        load_pascal(tmp_path)
