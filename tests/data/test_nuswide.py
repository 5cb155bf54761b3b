import shutil
from collections import Counter

import numpy as np
import numpy.testing as npt
import pytest
from made_nuswide import CONCEPTS, made_release, write_photos, write_release
from made_sets import GridExtractor, assert_same

from spdq.data import Dataset, number_lines
from spdq.data.nuswide import TC21_CONCEPTS, load_nuswide
from spdq.errors import NotFoundError, UsageError

MADE = made_release()


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The whole release, every part in both forms; not to be changed."""
    return write_release(tmp_path_factory.mktemp("nuswide"), MADE)


@pytest.fixture
def whole(tmp_path):
    """A release of whole files, which may be changed."""
    return write_release(tmp_path / "nuswide", MADE, pairs=False)


def kept_rows(concepts, needs_tags):
    columns = [CONCEPTS.index(name) for name in concepts]
    has_tags = MADE.tags.any(axis=1) | (not needs_tags)
    return [row for row in range(len(MADE.photos)) if MADE.labels[row, columns].any() and has_tags[row]]


def check_rows(dataset, rows):
    """Every part of the data set is what was made of these photos."""
    assert dataset.ids.tolist() == [MADE.photos[row].removesuffix(".jpg") for row in rows]
    columns = [CONCEPTS.index(name) for name in dataset.label_names]
    npt.assert_array_equal(dataset.labels, MADE.labels[np.ix_(rows, columns)])
    npt.assert_array_equal(dataset.text_features.toarray(), MADE.tags[rows])
    assert dataset.text_features.has_sorted_indices
    assert dataset.vocabulary == tuple(MADE.tag_names)


def test_tc10_keeps_tagged_photos_of_the_ten_most_frequent_concepts(release):
    dataset = load_nuswide(release)
    counts = Counter({name: MADE.labels[:, column].sum() for column, name in enumerate(CONCEPTS)})
    tenth = sorted(counts.values())[-10]
    assert counts[min(dataset.label_names, key=counts.get)] == tenth
    assert len(dataset.label_names) == 10
    assert list(dataset.label_names) == sorted(dataset.label_names)
    rows = kept_rows(dataset.label_names, needs_tags=True)
    check_rows(dataset, rows)
    assert 0 < len(rows) < len(kept_rows(dataset.label_names, needs_tags=False))
    npt.assert_array_equal(dataset.image_features, MADE.bow[rows])
    assert dataset.image_features.dtype == np.float32
    assert dataset.texts == tuple(MADE.texts[row] for row in rows)
    assert dataset.name == "nuswide_tc10"
    assert dataset.image_paths is None
    assert len(dataset.split.query) == 1


def test_ties_go_to_the_concept_listed_first(tmp_path):
    made = made_release(6)
    made.labels[:] = 0
    made.labels[1:, 3:20] = 1
    made.tags[:, 0] = 1
    assert load_nuswide(write_release(tmp_path, made)).label_names == tuple(CONCEPTS[3:13])


@pytest.mark.parametrize(("concepts", "names"), [(21, TC21_CONCEPTS), (81, tuple(CONCEPTS))])
def test_tc21_and_all_keep_photos_without_tags(release, concepts, names):
    dataset = load_nuswide(release, concepts=concepts)
    assert dataset.label_names == names
    rows = kept_rows(names, needs_tags=False)
    check_rows(dataset, rows)
    assert (dataset.text_features.sum(axis=1) == 0).any()
    assert dataset.name == {21: "nuswide_tc21", 81: "nuswide_81"}[concepts]


def test_low_level_features_side_by_side(release):
    steps = []
    dataset = load_nuswide(release, image="lowlevel", progress=lambda *step: steps.append(step))
    rows = kept_rows(dataset.label_names, needs_tags=True)
    expected = np.concatenate([MADE.low_level[kind] for kind in ("CH", "CORR", "EDH", "WT", "CM55")], axis=1)
    npt.assert_array_equal(dataset.image_features, expected[rows].astype(np.float32))
    assert dataset.image_features.shape[1] == 634
    assert steps == [(40 * files, 200) for files in range(1, 6)]
    assert dataset.name == "nuswide_tc10_lowlevel"


@pytest.mark.parametrize("image", ["bow", "lowlevel"])
def test_pairs_give_the_same_as_whole_files(release, tmp_path, image):
    pairs = write_release(tmp_path, MADE, whole=False)
    shutil.copy(release / "ImageList" / "Imagelist.txt", pairs / "ImageList")
    shutil.copy(release / "NUS_WID_Tags" / "All_Tags.txt", pairs / "NUS_WID_Tags")
    assert_same(load_nuswide(pairs, image), load_nuswide(release, image))


def test_whole_files_alone_and_mixed_forms(release, whole):
    assert_same(load_nuswide(whole), load_nuswide(release))
    write_release(whole, MADE)
    (whole / "NUS_WID_Tags" / "AllTags1k.txt").unlink()
    (whole / "Low_Level_Features" / "BoW_Test_int.dat").unlink()
    (whole / "Groundtruth" / "AllLabels" / "Labels_sky.txt").unlink()
    assert_same(load_nuswide(whole), load_nuswide(release))


def test_without_the_whole_list_items_follow_the_other_two(tmp_path):
    dataset = load_nuswide(write_release(tmp_path, MADE, whole=False), concepts=81)
    order = [*np.flatnonzero(MADE.train), *np.flatnonzero(~MADE.train)]
    kept = set(kept_rows(CONCEPTS, needs_tags=False))
    rows = [row for row in order if row in kept]
    check_rows(dataset, rows)
    npt.assert_array_equal(dataset.image_features, MADE.bow[rows])
    assert dataset.texts is None


def test_blocks_of_any_size_give_the_same(release, monkeypatch):
    expected = load_nuswide(release)
    for numbers in (1, 1700, 7000):
        monkeypatch.setattr(number_lines, "BLOCK_NUMBERS", numbers)
        assert_same(load_nuswide(release), expected)


def test_raw_texts_may_be_absent(whole):
    (whole / "NUS_WID_Tags" / "All_Tags.txt").unlink()
    assert load_nuswide(whole).texts is None


def test_queries_of_each_protocol(tmp_path):
    """TC10 one in a hundred, TC21 a tenth of each class in small sets, 81 a tenth."""
    made = made_release(400, seed=1)
    folder = write_release(tmp_path, made, pairs=False)
    ten, all_concepts = load_nuswide(folder), load_nuswide(folder, concepts=81)
    assert len(ten.split.query) == round(len(ten) / 100) == 3
    assert len(all_concepts.split.query) == len(all_concepts) // 10 == 34
    dataset = load_nuswide(folder, concepts=21, kind="unseen", seed=3)
    queries = dataset.labels[dataset.split.query]
    wanted = [-(-int(column.sum()) // 10) for column in dataset.labels.T]
    assert (queries.sum(axis=0) >= np.minimum(wanted, 100)).all()
    assert len(queries) == sum(wanted)
    assert dataset.split.kind == "unseen"
    again = load_nuswide(folder, concepts=21, kind="unseen", seed=3)
    assert_same(dataset, again)
    assert not np.array_equal(load_nuswide(folder, concepts=21, seed=4).split.query, again.split.query)


def test_photos_through_an_extractor(whole):
    with pytest.raises(
        NotFoundError, match=r"(\d+) of \1 pictures not found, the first: .*Flickr/animal/0000_"
    ):
        load_nuswide(whole, GridExtractor())
    write_photos(whole, MADE)
    dataset = load_nuswide(whole, GridExtractor(), concepts=21)
    assert dataset.image_extractor == "grid"
    npt.assert_array_equal(dataset.image_features[2:3], GridExtractor().extract([dataset.image_path(2)]))
    dataset.image_path(2).unlink()
    with pytest.raises(NotFoundError, match=rf"1 of {len(dataset)} pictures not found, the first: .*\.jpg"):
        load_nuswide(whole, GridExtractor(), concepts=21)


def test_round_trip(whole, tmp_path):
    write_photos(whole, MADE)
    dataset = load_nuswide(whole)
    dataset.save(tmp_path / "x.h5")
    loaded = Dataset.load(tmp_path / "x.h5")
    assert loaded.image_path(0).is_file()
    assert loaded.image_paths[0] == f"nuswide/Flickr/{dataset.ids[0]}.jpg"
    dataset.save(whole / "x.h5")
    assert_same(dataset, Dataset.load(whole / "x.h5"))


def test_unknown_arguments(release):
    with pytest.raises(UsageError, match="image: expected bow, lowlevel or an image extractor, got 'vgg'"):
        load_nuswide(release, "vgg")
    with pytest.raises(UsageError, match="concepts: expected 10, 21 or 81, got 20"):
        load_nuswide(release, concepts=20)
    with pytest.raises(UsageError, match="split kind"):
        load_nuswide(release, kind="half")
    with pytest.raises(UsageError, match="split seed: expected 0 or more, got -1"):
        load_nuswide(release, concepts=21, seed=-1)
