import contextlib

import numpy as np
import numpy.testing as npt
import pytest
from made_matlab import PixelExtractor, write_v5, write_v73
from PIL import Image
from scipy import sparse

from spdq.data import matlab_parts
from spdq.data.matlab import open_matlab
from spdq.data.matlab_parts import (
    Variable,
    count_items,
    find_pictures,
    image_rows,
    item_rows,
    label_rows,
    part_of,
    short_names,
    text_rows,
)
from spdq.errors import DataError, UsageError

both = pytest.mark.parametrize("write", [write_v5, write_v73])
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype=np.uint8)
ORIENTATIONS = {"HWCN": (1, 2, 3, 0), "NCWH": (0, 3, 2, 1)}


@contextlib.contextmanager
def variables(path, write=write_v5, **arrays):
    with open_matlab(write(path / "x.mat", **arrays)) as file:
        yield [Variable(file, name) for name in arrays]


@pytest.mark.parametrize(
    ("shapes", "n"),
    [
        ([(20, 7), (20, 5)], 20),
        ([(7, 20), (20, 5)], 20),
        ([(7, 20), (5, 20)], 20),
        ([(20, 7), (20, 1)], 20),
        ([(6, 8, 3, 20), (20, 5)], 20),
        ([(20, 3, 8, 6), (5, 20)], 20),
        ([(7, 6, 3, 7), (7, 5)], 7),
        ([(1, 7), (1, 5)], 1),
    ],
)
def test_the_common_size_is_the_number_of_items(tmp_path, shapes, n):
    with variables(tmp_path, **{f"A{i}": np.zeros(shape) for i, shape in enumerate(shapes)}) as made:
        assert count_items(made) == n


def test_lists_count_too(tmp_path):
    with variables(tmp_path, A=np.zeros((20, 20 - 1))) as made:
        assert count_items(made, {"names.mat": 19}) == 19
        with pytest.raises(DataError, match=r"A 20 x 19, 21 names\.mat: these parts have no number of items"):
            count_items(made, {"names.mat": 21})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(20, 7), (19, 5)], r"x\.mat: A0 20 x 7, A1 19 x 5: these parts have no number of items in common"),
        ([(20, 7), (20, 7)], "cannot tell items from features, more than one size is common to all"),
        ([(20, 20), (20, 7)], "cannot tell items from features, A0 is square"),
        ([(6, 8, 4, 20), (20, 7)], r"A0: expected a matrix, or pixels of height x width x 3 x items"),
        ([(20, 7, 2), (20, 7)], r"A0: expected a matrix, or pixels .* got 20 x 7 x 2"),
    ],
)
def test_sizes_that_do_not_tell(tmp_path, shapes, message):
    made = {f"A{i}": np.zeros(shape) for i, shape in enumerate(shapes)}
    with variables(tmp_path, **made) as found, pytest.raises(DataError, match=message):
        count_items(found)


@both
def test_rows_of_either_orientation(tmp_path, write):
    array = np.random.default_rng(0).random((5, 3))
    with variables(tmp_path, write, A=array, B=array.T, S=sparse.csc_matrix(array.T)) as made:
        for variable in made:
            rows = item_rows(variable, 5, np.float32)
            assert rows.flags.c_contiguous
            npt.assert_array_equal(rows, array.astype(np.float32))


@both
def test_labels(tmp_path, write):
    labels = np.array([[1, 0, 1], [0, 0, 0]])
    made = {"A": labels.astype(bool), "B": labels.T.astype(float), "C": labels * 2.0, "D": labels + np.nan}
    with variables(tmp_path, write, **made) as (a, b, c, d):
        for variable in (a, b):
            found = label_rows(variable, 2)
            assert found.dtype == np.uint8
            npt.assert_array_equal(found, labels)
        with pytest.raises(DataError, match=r"x\.mat: C: expected 0 or 1 for each label, got 2"):
            label_rows(c, 2)
        with pytest.raises(DataError, match="expected 0 or 1 for each label, got nan"):
            label_rows(d, 2)


def test_text_is_sparse_where_that_is_smaller():
    dense = np.ones((4, 4), np.float32)
    assert text_rows(dense) is dense
    dense[:, 1:] = 0
    assert text_rows(dense) is dense
    dense[0] = 0
    found = text_rows(dense)
    assert (found.format, found.dtype, found.nnz) == ("csr", np.float32, 3)
    npt.assert_array_equal(found.toarray(), dense)


@both
@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int16])
def test_pixels_go_through_the_extractor_in_blocks(tmp_path, write, axes, dtype, monkeypatch):
    monkeypatch.setattr(matlab_parts, "PIXEL_BLOCK", 2)
    stored, steps = PIXELS.transpose(ORIENTATIONS[axes]).astype(dtype), []
    extractor = PixelExtractor()
    with variables(tmp_path, write, A=stored) as (variable,):
        assert variable.holds_pixels
        found = image_rows(variable, 5, extractor, lambda *step: steps.append(step))
    npt.assert_array_equal(found, extractor.extract([Image.fromarray(one) for one in PIXELS]))
    assert steps == [(done, 5) for done in range(1, 6)]


def test_pixels_that_are_none(tmp_path):
    for value in (0.5, 256.0, -1.0, np.nan):
        with (
            variables(tmp_path, A=np.full((6, 8, 3, 5), value)) as (variable,),
            pytest.raises(DataError, match="A: expected pixels that are whole numbers from 0 to 255"),
        ):
            image_rows(variable, 5, PixelExtractor())
    with (
        variables(tmp_path, A=np.zeros((3, 3, 3, 3))) as (variable,),
        pytest.raises(DataError, match="A: cannot tell the axes of 3 x 3 x 3 x 3 apart"),
    ):
        image_rows(variable, 3, PixelExtractor())


def test_features_are_taken_as_they_are(tmp_path):
    array = np.random.default_rng(0).random((5, 3))
    with variables(tmp_path, A=array, P=np.zeros((6, 8, 3, 5))) as (features, pixels):
        npt.assert_array_equal(image_rows(features, 5, None), array.astype(np.float32))
        with pytest.raises(UsageError, match="A holds features, which need no extractor: leave it out"):
            image_rows(features, 5, PixelExtractor())
        with pytest.raises(
            UsageError, match=r"P holds pixels: name the extractor .* such as --extractor lite0:224"
        ):
            image_rows(pixels, 5, None)


def test_part_of_progress():
    steps = []
    part_of(lambda *step: steps.append(step), 10, 40)(3, 5)
    assert steps == [(13, 40)]
    assert part_of(None, 10, 40) is None


def test_pictures_are_found_by_path_or_name(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "b/c/3.jpg", "b/4.jpg", "c/4.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_pictures(tmp_path, ["a/1.jpg", "a\\2.jpg"]) == ["a/1.jpg", "a/2.jpg"]
    assert find_pictures(tmp_path, ["/home/me/b/4.jpg", "C:\\me\\c\\4.jpg"]) == ["b/4.jpg", "c/4.jpg"]
    assert find_pictures(tmp_path, ["/home/someone/1.jpg", "3.jpg", "5.jpg", "../a/1.jpg", "", "a"]) == [
        "a/1.jpg",
        "b/c/3.jpg",
        None,
        "a/1.jpg",
        None,
        None,
    ]
    with pytest.raises(DataError, match=r"4\.jpg may be b/4\.jpg or c/4\.jpg; leave one of them there"):
        find_pictures(tmp_path, ["4.jpg"])


def test_short_names():
    assert short_names(["/home/me/1.jpg", "b\\2.jpg"]) == ["1.jpg", "2.jpg"]
    assert short_names(["a/1.jpg", "b/1.jpg"]) == ["a/1.jpg", "b/1.jpg"]
    assert short_names(["a", ""]) == ["a", ""]
