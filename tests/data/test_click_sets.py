import dataclasses

import numpy as np
import numpy.testing as npt
import pytest
from made_folder import ROWS, image_folder
from made_sets import GridExtractor, assert_same, assert_same_queries

from spdq.data import Dataset, QueryItems
from spdq.data.click_sets import folder_items, with_clicks, with_image_features
from spdq.data.hold_out import hold_out
from spdq.errors import DataError, NotFoundError, UsageError

CLICKS = QueryItems.from_mapping({f"query {number}": {number: 4, 4 - number: 1} for number in (0, 1, 3, 4)})


class HalvesExtractor(GridExtractor):
    name = "halves"
    regions = 2


@pytest.fixture
def items(tmp_path):
    return folder_items(image_folder(tmp_path / "photos"))


def test_every_picture_of_a_folder_is_an_item(items, tmp_path):
    names = sorted(row["file_name"] for row in ROWS)
    assert (items.name, items.ids.tolist(), items.image_paths) == ("photos", names, tuple(names))
    assert items.root == tmp_path / "photos"
    assert (items.image_features, items.split) == (None, None)
    with pytest.raises(NotFoundError, match="folder not found"):
        folder_items(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no pictures"):
        folder_items(tmp_path / "empty")


def test_clicks_grades_and_split(items):
    made = with_clicks(items, CLICKS, 0.25, 7)
    kept, grades = hold_out(CLICKS, 0.25, 7)
    assert_same_queries(made.clicks, kept)
    assert_same_queries(made.grades, grades)
    assert (made.split.kind, made.split.seed, made.split.query.size) == ("clicks", 7, 0)
    npt.assert_array_equal(made.split.train, np.arange(5))
    npt.assert_array_equal(made.split.database, np.arange(5))
    assert_same(dataclasses.replace(made, clicks=None, grades=None, split=None), items)
    again = with_clicks(made, CLICKS, 0.5, 0)
    assert (len(again.clicks.queries), len(again.grades.queries)) == (2, 2)


def test_clicks_refuse(items):
    with pytest.raises(DataError, match="1 query cannot be split"):
        with_clicks(items, CLICKS.take_queries([0]), 0.5, 0)
    with pytest.raises(UsageError, match="share of queries to hold out"):
        with_clicks(items, CLICKS, 1.0, 0)
    with pytest.raises(DataError, match="item 4 is outside the data set's 2 rows"):
        with_clicks(items.take([0, 1]), CLICKS, 0.5, 0)


def test_image_features(items, tmp_path):
    made = with_image_features(items, GridExtractor())
    expected = GridExtractor().extract([items.image_path(row) for row in range(5)])
    npt.assert_array_equal(made.image_features, expected)
    assert (made.image_extractor, made.image_regions) == ("grid", 1)
    seen = []
    halves = with_image_features(made, HalvesExtractor(), lambda done, total: seen.append((done, total)))
    assert (halves.image_extractor, halves.image_regions, seen[-1]) == ("halves", 2, (5, 5))
    (tmp_path / "photos" / "sea.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"sea\.png: broken picture"):
        with_image_features(items, GridExtractor())
    (tmp_path / "photos" / "sea.png").unlink()
    with pytest.raises(NotFoundError, match=r"1 of 5 pictures not found, the first: .*sea\.png"):
        with_image_features(items, GridExtractor())
    with pytest.raises(DataError, match="names no pictures"):
        with_image_features(Dataset("none", np.arange(2)), GridExtractor())
