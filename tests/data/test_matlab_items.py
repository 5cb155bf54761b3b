import numpy as np
import numpy.testing as npt
import pytest
from made_matlab import PixelExtractor, blocks, items, write_v5, write_v73
from PIL import Image

from spdq.data.matlab_releases import find_release, load_matlab
from spdq.errors import DataError, UsageError

both = pytest.mark.parametrize("write", [write_v5, write_v73])
MADE = items(30)


def rows_of(dataset):
    """The row of ``MADE`` that each item is."""
    wanted = MADE["features"].astype(np.float32)
    return [int(np.flatnonzero((wanted == row).all(axis=1))[0]) for row in dataset.image_features]


@both
def test_blocks_keep_their_split(tmp_path, write):
    file = blocks(write, tmp_path / "mir_cnn.mat", MADE)
    dataset = load_matlab(file)
    assert dataset.name == "mir_cnn"
    assert (dataset.ids[0], dataset.ids[24], dataset.ids[25], len(dataset)) == ("db-1", "db-25", "te-1", 30)
    assert rows_of(dataset) == [*range(5, 30), *range(5)]
    npt.assert_array_equal(dataset.text_features.toarray(), MADE["tags"][rows_of(dataset)])
    npt.assert_array_equal(dataset.labels, MADE["labels"][rows_of(dataset)])
    split = dataset.split
    assert split.query.tolist() == list(range(25, 30))
    assert split.database.tolist() == list(range(25))
    trained = sorted(np.random.default_rng(1).permutation(np.arange(5, 30))[:9].tolist())
    assert [rows_of(dataset)[row] for row in split.train] == trained
    assert find_release(file).describe()["parts"] == "blocks tr, te, db"


@pytest.mark.parametrize(("n_train", "sizes"), [(9, (5, 9, 16)), (25, (5, 12, 13))])
def test_unseen_and_paired_blocks(tmp_path, n_train, sizes):
    file = blocks(write_v5, tmp_path / "mir_cnn.mat", MADE, n_train=n_train)
    unseen = load_matlab(file, kind="unseen").split
    assert (len(unseen.query), len(unseen.train), len(unseen.database)) == sizes
    paired = load_matlab(file, kind="paired").split
    assert (len(paired.query), len(paired.train), len(paired.database)) == (5, n_train, 30)
    assert not paired.queries_trained


def split_apart(tmp_path, tr):
    """A file whose training rows are these rows of MADE; queries are 0 to 4, the database 5 to 19."""
    kept = {"te": np.arange(5), "db": np.arange(5, 20), "tr": np.array(tr)}
    parts = {"I": MADE["features"], "T": MADE["tags"], "L": MADE["labels"]}
    arrays = {f"{p}_{b}": part[rows] for p, part in parts.items() for b, rows in kept.items()}
    return write_v5(tmp_path / "x.mat", **arrays)


def test_training_rows_that_are_not_in_the_database_follow(tmp_path):
    dataset = load_matlab(split_apart(tmp_path, [25, 7, 22, 21, 8, 7]))
    assert rows_of(dataset) == [*range(5, 20), *range(5), 25, 22, 21, 7]
    assert dataset.ids[-4:].tolist() == ["tr-1", "tr-3", "tr-4", "tr-6"]
    assert dataset.split.train.tolist() == [2, 3, 20, 21, 22, 23]
    assert dataset.split.database.tolist() == [*range(15), 20, 21, 22, 23]
    unseen = load_matlab(tmp_path / "x.mat", kind="unseen").split
    assert unseen.train.tolist() == [2, 3, 20, 21, 22, 23]
    assert unseen.database.tolist() == [row for row in range(15) if row not in (2, 3)]


def test_equal_database_rows_are_each_found_once(tmp_path):
    made = {key: np.concatenate([part, part[5:7]]) for key, part in MADE.items()}
    kept = {"te": [0], "db": [5, 6, 30, 31, 9], "tr": [30, 5, 6]}
    parts = {"I": made["features"], "T": made["tags"], "L": made["labels"]}
    arrays = {f"{p}_{b}": part[rows] for p, part in parts.items() for b, rows in kept.items()}
    dataset = load_matlab(write_v5(tmp_path / "x.mat", **arrays))
    assert len(dataset) == 6
    assert dataset.split.train.tolist() == [0, 1, 2]


@both
def test_blocks_of_pixels(tmp_path, write):
    made = MADE | {"stored": MADE["pixels"].transpose(0, 3, 2, 1)}
    file = blocks(write, tmp_path / "raw_mir.mat", made, image="stored")
    steps = []
    dataset = load_matlab(file, PixelExtractor(), lambda *step: steps.append(step))
    expected = PixelExtractor().extract([Image.fromarray(one) for one in MADE["pixels"]])
    npt.assert_array_equal(dataset.image_features, expected[[*range(5, 30), *range(5)]])
    assert (dataset.image_extractor, len(dataset), len(dataset.split.train)) == ("pixels", 30, 9)
    assert steps == [(done, 39) for done in range(1, 40)]
    with pytest.raises(UsageError, match=r"raw_mir\.mat: I_db holds pixels: name the extractor"):
        load_matlab(file)


@both
def test_iapr(tmp_path, write):
    names = {"VDatabase": "features", "YDatabase": "tags", "databaseL": "labels"}
    arrays = {name: MADE[key][5:] for name, key in names.items()}
    names = {"VTest": "features", "YTest": "tags", "testL": "labels"}
    arrays |= {name: MADE[key][:5] for name, key in names.items()}
    dataset = load_matlab(write(tmp_path / "iapr-tc12-rand.mat", **arrays))
    assert dataset.name == "iapr-tc12-rand"
    assert (dataset.ids[0], dataset.ids[29]) == ("database-1", "test-5")
    assert rows_of(dataset) == [*range(5, 30), *range(5)]
    assert (dataset.split.query.tolist(), len(dataset.split.train)) == (list(range(25, 30)), 25)
    unseen = load_matlab(tmp_path / "iapr-tc12-rand.mat", kind="unseen", seed=3).split
    assert (len(unseen.train), len(unseen.database), unseen.seed) == (12, 13, 3)
    del arrays["testL"]
    file = write(tmp_path / "half.mat", **arrays)
    with pytest.raises(DataError, match=r"half\.mat: variables not found: testL \(expected VDatabase"):
        load_matlab(file)


def test_blocks_transposed(tmp_path):
    file = blocks(write_v5, tmp_path / "a.mat", MADE)
    expected = load_matlab(file)

    def write(path, **arrays):
        return write_v73(
            path, **{name: array.T if name.startswith("T") else array for name, array in arrays.items()}
        )

    found = load_matlab(blocks(write, tmp_path / "b.mat", MADE))
    npt.assert_array_equal(found.text_features.toarray(), expected.text_features.toarray())
    npt.assert_array_equal(found.split.train, expected.split.train)


def changed(tmp_path, **changes):
    def write(path, **arrays):
        return write_v5(path, **(arrays | changes))

    return blocks(write, tmp_path / "x.mat", MADE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"T_te": np.zeros((5, 11))}, "as many columns in each block, got T_db 12, T_te 11, T_tr 12"),
        ({"L_tr": np.zeros((9, 3))}, "L_db 4, L_te 4, L_tr 3"),
        (
            {"T_te": np.zeros((6, 12))},
            "T_te 6 x 12, L_te 5 x 4: these parts have no number of items in common",
        ),
        ({"L_db": np.full((25, 4), 2.0)}, "L_db: expected 0 or 1"),
        ({"I_te": np.zeros((5, 5))}, "cannot tell items from features"),
    ],
)
def test_blocks_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load_matlab(changed(tmp_path, **changes))
