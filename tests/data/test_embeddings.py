import sys

import numpy as np
import numpy.testing as npt
import pytest

from spdq.data import Dataset
from spdq.data.embeddings import load_embeddings
from spdq.errors import DataError, MissingExtraError, NotFoundError

ROWS = {"0": 3, "2": 2, "10": 4}


def write(folder, name, array):
    file = folder / name.rpartition("_")[0] / f"{name}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, array)
    return file


def write_metadata(folder, number, **columns):
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is absent")
    from pyarrow import parquet

    file = folder / "metadata" / f"metadata_{number}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), file)
    return file


@pytest.fixture
def folder(tmp_path):
    """Shards 0, 2 and 10: 9 rows, image features float16 but for one shard, captions."""
    source = tmp_path / "mine"
    first = 0
    for number, n in ROWS.items():
        rows = np.arange(first, first + n)
        write(source, f"img_emb_{number}", np.outer(rows, np.ones(4)).astype(np.float16))
        write(source, f"text_emb_{number}", np.outer(-rows, np.ones(3)).astype(np.float16))
        write_metadata(
            source,
            number,
            image_path=[f"/p/{row}.jpg" for row in rows],
            caption=[f" item {row}\n" if row else None for row in rows],
            width=rows.tolist(),
        )
        first += n
    return source


def test_parts(folder, tmp_path):
    made = load_embeddings(folder, "paired", 3)
    assert made.name == "mine"
    assert made.ids.tolist() == [f"/p/{row}.jpg" for row in range(9)]
    assert (made.image_features.dtype, made.text_features.dtype) == (np.float16, np.float32)
    npt.assert_array_equal(made.image_features, np.outer(np.arange(9), np.ones(4)))
    npt.assert_array_equal(made.text_features, np.outer(-np.arange(9), np.ones(3)))
    assert made.texts == ("", *(f"item {row}" for row in range(1, 9)))
    assert made.attributes == {"width": tuple(range(9))}
    assert (made.image_extractor, made.image_paths) == (None, None)
    assert (made.split.kind, made.split.seed, len(made.split.query)) == ("paired", 3, 1)
    made.save(tmp_path / "x.h5")
    npt.assert_array_equal(Dataset.load(tmp_path / "x.h5").image_features, made.image_features)


def test_types_and_orders_of_bytes(folder):
    expected = load_embeddings(folder).image_features
    write(folder, "img_emb_2", np.asfortranarray(expected[3:5].astype(">f4")))
    made = load_embeddings(folder).image_features
    assert made.dtype == np.float32
    assert made.dtype.isnative
    npt.assert_array_equal(made, expected)


def test_paths_that_are_no_ids_are_an_attribute(folder):
    write_metadata(folder, 2, image_path=["/p/0.jpg", None], licence=["BY", "CC0"])
    made = load_embeddings(folder)
    assert made.ids.tolist() == list(range(9))
    assert made.attributes["image_path"][:5] == ("/p/0.jpg", "/p/1.jpg", "/p/2.jpg", "/p/0.jpg", None)
    assert made.attributes["licence"] == (None, None, None, "BY", "CC0", None, None, None, None)
    assert made.texts[2:5] == ("item 2", "", "")


@pytest.mark.parametrize("part", ["img_emb", "text_emb"])
def test_parts_may_be_absent(tmp_path, part):
    write(tmp_path, f"{part}_00", np.ones((2, 3), np.float32))
    write(tmp_path, f"{part}_01", np.zeros((1, 3), np.float32))
    (tmp_path / part / f"{part}_x.npy").write_text("another file")
    made = load_embeddings(tmp_path)
    there, absent = made.image_features, made.text_features
    if part == "text_emb":
        there, absent = absent, there
    npt.assert_array_equal(there[:, 0], [1, 1, 0])
    assert (absent, made.texts, dict(made.attributes)) == (None, None, {})
    assert made.ids.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("img_emb_2", np.ones((3, 4), np.float16), r"text_emb shard 2: expected 3 rows, got 2"),
        ("img_emb_3", np.ones((3, 4), np.float16), "shard 3 is not in all of img_emb, text_emb and metadata"),
        ("img_emb_02", np.ones((2, 4), np.float16), r"img_emb_2\.npy: img_emb_02\.npy has the same number"),
        ("img_emb_2", np.ones((2, 5), np.float16), r"img_emb: expected shards of one width, got \[4, 5\]"),
        ("img_emb_2", np.ones((2, 4)), r"expected \(n, d\) float16 or float32, got \(2, 4\) float64"),
        ("img_emb_2", np.ones(2, np.float32), r"expected \(n, d\) float16 or float32, got \(2,\) float32"),
        ("img_emb_2", np.array([[{}]], object), r"img_emb_2\.npy: not a readable \.npy file"),
        ("img_emb_2", np.full((2, 4), np.nan, np.float32), "image_features row 3 has NaN"),
    ],
)
def test_bad_arrays(folder, name, array, message):
    write(folder, name, array)
    with pytest.raises(DataError, match=message):
        load_embeddings(folder)


def test_damaged_files(folder):
    file = folder / "img_emb" / "img_emb_2.npy"
    whole = file.read_bytes()
    for content in (b"", b"PK\x03\x04", whole[:100], whole[:-1], whole.replace(b"(2, 4)", b"(9, 4)")):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"img_emb_2\.npy: not a readable \.npy file"):
            load_embeddings(folder)
    file.write_bytes(whole)
    table = folder / "metadata" / "metadata_2.parquet"
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"metadata_2\.parquet: not a readable Parquet file"):
        load_embeddings(folder)


def test_bad_metadata(folder):
    write_metadata(folder, 2, caption=["a"])
    with pytest.raises(DataError, match="metadata shard 2: expected 2 rows, got 1"):
        load_embeddings(folder)
    write_metadata(folder, 2, caption=[1, 2])
    with pytest.raises(DataError, match=r"metadata_2\.parquet row 1: caption: expected text, got int"):
        load_embeddings(folder)
    write_metadata(folder, 2, width=["wide", "narrow"])
    with pytest.raises(DataError, match=r"metadata_2\.parquet row 1: width: expected whole numbers"):
        load_embeddings(folder)


def test_two_columns_of_one_name(folder):
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is absent")
    from pyarrow import parquet

    table = pyarrow.Table.from_arrays([pyarrow.array([1, 2])] * 2, names=["a", "a"])
    parquet.write_table(table, folder / "metadata" / "metadata_2.parquet")
    with pytest.raises(DataError, match=r"metadata_2\.parquet: expected different columns, got \['a', 'a'\]"):
        load_embeddings(folder)


def test_metadata_needs_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'Parquet needs pyarrow: pip install "spdq\[parquet\]"'):
        load_embeddings(folder)


def test_no_folder(tmp_path):
    with pytest.raises(NotFoundError, match="no: folder not found"):
        load_embeddings(tmp_path / "no")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFoundError, match="file: is a file, expected a folder of embeddings"):
        load_embeddings(tmp_path / "file")
    with pytest.raises(DataError, match=r"expected img_emb/img_emb_0\.npy or text_emb/text_emb_0\.npy"):
        load_embeddings(tmp_path)
    write(tmp_path, "img_emb_0", np.ones((1, 3), np.float32))
    with pytest.raises(DataError, match="one item cannot be split"):
        load_embeddings(tmp_path)
