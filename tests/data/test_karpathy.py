import json

import numpy.testing as npt
import pytest
from made_karpathy import coco_content, flickr_content, write_set
from made_sets import GridExtractor, assert_same

from spdq.data import Dataset
from spdq.data.karpathy import load_karpathy
from spdq.errors import DataError, NotFoundError, UsageError


def load(folder, content, name="flickr8k", **arguments):
    return load_karpathy(*write_set(folder, content, name), GridExtractor(), **arguments)


def test_items_are_the_photos_but_those_of_val(tmp_path):
    steps = []
    dataset = load(tmp_path, flickr_content(), progress=lambda *step: steps.append(step))
    rows = [0, 1, 3, 4, 6, 7, 8, 9]
    assert dataset.name == "flickr8k"
    assert dataset.ids.tolist() == [f"{1000 + row}_ab.jpg" for row in rows]
    assert dataset.texts[2] == "A dog number 3 .\nPhoto 3 of a dog."
    assert dataset.labels is None
    assert dataset.text_features is None
    assert dataset.image_extractor == "grid"
    npt.assert_array_equal(dataset.image_features[2:3], GridExtractor().extract([dataset.image_path(2)]))
    assert dataset.image_path(2) == tmp_path / "photos" / "1003_ab.jpg"
    assert steps[-1] == (8, 8)


def test_splits(tmp_path):
    content = flickr_content()
    seen = load(tmp_path, content).split
    assert seen.query.tolist() == [2, 4, 7]
    assert seen.train.tolist() == seen.database.tolist() == [0, 1, 3, 5, 6]
    paired = load(tmp_path, content, kind="paired").split
    assert paired.query.tolist() == paired.database.tolist() == [2, 4, 7]
    assert paired.train.tolist() == [0, 1, 3, 5, 6]
    assert not paired.queries_trained
    unseen = load(tmp_path, content, kind="unseen", seed=1).split
    assert sorted([*unseen.train, *unseen.database]) == [0, 1, 3, 5, 6]
    joined = load(tmp_path, content, kind="paired", join_val=True)
    assert len(joined) == 10
    assert joined.split.train.tolist() == [0, 1, 2, 4, 5, 7, 8]
    assert joined.split.database.tolist() == [3, 6, 9]
    with pytest.raises(UsageError, match="split kind"):
        load(tmp_path, content, kind="half")


def test_coco_has_folders_and_restval(tmp_path):
    dataset = load(tmp_path, coco_content(), name="coco")
    assert dataset.name == "coco"
    assert dataset.image_paths[:2] == (
        "train2014/COCO_train2014_000000000000.jpg",
        "val2014/COCO_val2014_000000000001.jpg",
    )
    assert dataset.split.train.tolist() == [0, 1, 3, 5, 6]


def test_round_trip_and_repetition(tmp_path):
    content = coco_content()
    dataset = load(tmp_path, content, name="coco", kind="paired")
    dataset.save(tmp_path / "photos" / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "photos" / "x.h5"))
    assert_same(dataset, load(tmp_path, content, name="coco", kind="paired"))


def test_a_byte_order_mark_and_escapes(tmp_path):
    content = flickr_content()
    content["images"][0]["sentences"][0]["raw"] = "Ein Bär 🐻"
    file, photos = write_set(tmp_path, content)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_karpathy(file, photos, GridExtractor()).texts[0].startswith("Ein Bär 🐻\n")


def test_missing_and_broken_photos(tmp_path):
    file, photos = write_set(tmp_path, flickr_content())
    photo = photos / "1003_ab.jpg"
    photo.write_bytes(photo.read_bytes()[:100])
    with pytest.raises(DataError, match=r"1003_ab\.jpg: broken picture"):
        load_karpathy(file, photos, GridExtractor())
    photo.unlink()
    (photos / "1002_ab.jpg").unlink()
    with pytest.raises(NotFoundError, match=r"1 of 8 pictures not found, the first: .*1003_ab\.jpg"):
        load_karpathy(file, photos, GridExtractor())
    with pytest.raises(NotFoundError, match=r"8 of 8 pictures not found"):
        load_karpathy(file, tmp_path / "nowhere", GridExtractor())
    with pytest.raises(NotFoundError, match=r"file not found: .*dataset_coco\.json"):
        load_karpathy(tmp_path / "dataset_coco.json", photos, GridExtractor())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"dataset_flickr8k\.json: not JSON"),
        (b'{"images": [', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe{}", "not UTF-8 text"),
        (b"[]", 'expected an object with the list "images"'),
        (b'{"images": {}}', 'expected an object with the list "images"'),
        (b'{"images": []}', 'no image has the split "train"'),
    ],
)
def test_not_such_a_file(tmp_path, content, message):
    file, photos = write_set(tmp_path, flickr_content())
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_karpathy(file, photos, GridExtractor())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "dev"}, r"images\[4\]: split: expected train, restval, val, test, got 'dev'"),
        ({"split": None}, r"images\[4\]: split: expected text, got nothing"),
        ({"filename": 7}, r"images\[4\]: filename: expected text, got int"),
        ({"filename": "/photo.jpg"}, r"images\[4\]: expected a path inside the folder, got '/photo.jpg'"),
        ({"filename": ""}, r"images\[4\]: expected a path inside the folder, got ''"),
        ({"filepath": ".."}, r"images\[4\]: expected a path inside the folder, got '\.\./1004_ab.jpg'"),
        ({"filepath": 5}, r"images\[4\]: filepath: expected text, got int"),
        ({"filename": "1003_ab.jpg"}, r"images\[4\]: 1003_ab.jpg is also images\[3\]"),
        ({"sentences": None}, r"images\[4\]: sentences: expected a list of objects"),
        ({"sentences": ["A dog."]}, r"images\[4\]: sentences: expected a list of objects"),
        ({"sentences": []}, r"images\[4\]: sentences: expected one or more with text in them"),
        ({"sentences": [{"raw": " \n"}]}, r"images\[4\]: sentences: expected one or more with text in them"),
        ({"sentences": [{"tokens": []}]}, r"images\[4\] sentences\[0\]: raw: expected text, got nothing"),
        ({"sentences": [{"raw": "a\0b"}]}, r"images\[4\] sentences\[0\]: raw: a NUL character in"),
        ({"sentences": [{"raw": "\ud800"}]}, r"images\[4\] sentences\[0\]: raw: a lone surrogate in"),
    ],
)
def test_bad_images(tmp_path, change, message):
    file, photos = write_set(tmp_path, flickr_content())
    content = flickr_content()
    content["images"][4] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        load_karpathy(file, photos, GridExtractor())


def test_an_image_that_is_no_object_and_no_queries(tmp_path):
    file, photos = write_set(tmp_path, flickr_content())
    content = flickr_content()
    content["images"][2] = "1002_ab.jpg"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"images\[2\]: expected an object, got str"):
        load_karpathy(file, photos, GridExtractor())
    content = flickr_content()
    content["images"] = [image for image in content["images"] if image["split"] != "test"]
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match='no image has the split "test"'):
        load_karpathy(file, photos, GridExtractor())
