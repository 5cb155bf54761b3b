import dataclasses
import os

import pytest
from made_folder import ROWS, image_folder
from made_sets import GridExtractor, assert_same

from spdq.data import Dataset
from spdq.data.folder import load_folder
from spdq.data.table import load_table
from spdq.errors import DataError, NotFoundError


def load(table, **arguments):
    return load_table(table, GridExtractor(), **arguments)[0]


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path / "mine", "csv")


def test_the_same_as_a_folder_with_metadata(folder):
    expected, found = load_folder(folder, GridExtractor())
    table = (folder / "metadata.csv").rename(folder / "shop 1.csv")
    made, said = load_table(table, GridExtractor())
    assert made.name == "shop 1"
    assert_same(dataclasses.replace(made, name=expected.name), expected)
    assert (made.attributes, said) == (expected.attributes, found)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_table_elsewhere(tmp_path, form):
    folder = image_folder(tmp_path / "mine", "csv" if form == "csv" else "jsonl")
    expected = load_folder(folder, GridExtractor())[0]
    table = tmp_path / "other" / f"table.{form}"
    table.parent.mkdir()
    if form == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is absent")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    else:
        (folder / f"metadata.{form}").rename(table)
    made = load(table, pictures=folder)
    assert_same(dataclasses.replace(made, name=expected.name), expected)
    assert made.attributes == expected.attributes
    assert made.root == folder
    made.save(tmp_path / "x.h5")
    assert Dataset.load(tmp_path / "x.h5").image_path(0).samefile(folder / "cats/1.png")
    with pytest.raises(NotFoundError, match=r"5 of 5 pictures not found, the first: .*other/cats/1\.png"):
        load(table)


def test_the_order_of_the_table_and_its_split(folder):
    table = folder / "rows.jsonl"
    names = ["sea.png", "cats/3.png", "tree.png"]
    table.write_text("".join(f'{{"file_name": "{name}"}}\n' for name in names))
    steps = []
    made = load(table, kind="paired", seed=3, progress=lambda *step: steps.append(step))
    assert made.ids.tolist() == names
    assert (made.split.kind, made.split.seed, len(made.split.database)) == ("paired", 3, 3)
    assert steps[-1] == (3, 3)


def test_bad_pictures(folder):
    table = folder / "metadata.csv"
    (folder / "tree.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"tree\.png: broken picture"):
        load(table)
    made, found = load_table(table, GridExtractor(), skip_bad=True)
    assert len(made) == 4
    assert len(found.skipped) == 1
    assert "tree.png: broken picture" in found.skipped[0]


def test_what_is_no_table(folder, tmp_path):
    with pytest.raises(NotFoundError, match=r"no\.csv: file not found"):
        load(folder / "no.csv")
    with pytest.raises(NotFoundError, match="mine: is no file, expected a table of pictures"):
        load(folder)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(NotFoundError, match=r"pipe\.csv: is no file, expected a table"):
        load(tmp_path / "pipe.csv")
    text = folder / "rows.txt"
    text.write_text("sea.png\n")
    with pytest.raises(
        DataError, match=r"rows\.txt: expected a table that ends in \.csv, \.jsonl, \.parquet"
    ):
        load(text)


def test_what_is_no_folder_of_pictures(folder):
    table = folder / "metadata.csv"
    with pytest.raises(NotFoundError, match="no: folder not found"):
        load(table, pictures=folder / "no")
    with pytest.raises(NotFoundError, match=r"sea\.png: is a file, expected the folder of the pictures"):
        load(table, pictures=folder / "sea.png")


def test_bad_rows_name_the_table(folder):
    table = folder / "rows.csv"
    for content, message in (
        ("file_name\n../sea.png\n", r"rows\.csv line 2: file_name: expected a path inside the folder"),
        ("path\nsea.png\n", r"rows\.csv line 1: expected different columns, one of them file_name"),
        ("file_name\nsea.png\n", r"rows\.csv: one item cannot be split"),
    ):
        table.write_text(content)
        with pytest.raises(DataError, match=message):
            load(table)
