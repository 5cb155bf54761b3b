import numpy as np
import numpy.testing as npt
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_matlab import write_v5, write_v73
from made_sets import wikipedia_cnn
from scipy import sparse

from spdq.data import matlab, matlab_hdf5
from spdq.data.matlab import dense, fields, open_matlab, strings
from spdq.data.wikipedia import load_wikipedia
from spdq.errors import DataError, NotFoundError

both = pytest.mark.parametrize("write", [write_v5, write_v73])
EMPTY = np.zeros((0, 0))


def read(path, name):
    with open_matlab(path) as file:
        return file.read(name)


@both
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8, np.int16, np.int64, bool])
def test_numbers_have_matlab_s_orientation(tmp_path, write, dtype):
    array = np.arange(24).reshape(4, 3, 2).astype(dtype)
    with open_matlab(write(tmp_path / "x.mat", A=array, B=array[:, :, 0])) as file:
        assert set(file.names) == {"A", "B"}
        assert (file.shape("A"), file.shape("B")) == ((4, 3, 2), (4, 3))
        stored = np.dtype(np.uint8 if dtype is bool else dtype)
        assert file.read("A").dtype == file.matrix("B").dtype == stored
        npt.assert_array_equal(file.read("A"), array)
        npt.assert_array_equal(file.matrix("B"), array[:, :, 0])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    array=hnp.arrays(
        st.sampled_from([np.float64, np.uint8, np.int32]),
        hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_is_the_same_in_both_versions(tmp_path, array):
    for write in (write_v5, write_v73):
        value = read(write(tmp_path / "x.mat", A=array), "A")
        assert value.shape == array.shape
        npt.assert_array_equal(value, array)


@both
def test_matrix_in_another_type(tmp_path, write, monkeypatch):
    monkeypatch.setattr(matlab_hdf5, "SLAB_BYTES", 40)
    array = np.array([[1.5, 1e300], [-2.0, np.nan], [0.0, 3.0]])
    with open_matlab(write(tmp_path / "x.mat", A=array)) as file:
        value = file.matrix("A", np.float32)
    assert value.dtype == np.float32
    npt.assert_array_equal(value, np.array([[1.5, np.inf], [-2, np.nan], [0, 3]], np.float32))


@both
@pytest.mark.parametrize("matrix", [[[0, 1.5, 0], [2, 0, -1]], [[0.0, 0.0]], [[7.0]]])
def test_sparse(tmp_path, write, matrix):
    with open_matlab(write(tmp_path / "x.mat", S=sparse.csc_matrix(np.array(matrix)))) as file:
        assert file.shape("S") == np.shape(matrix)
        assert file.read("S").format == "csc"
        npt.assert_array_equal(file.matrix("S"), matrix)
        assert file.matrix("S", np.float32).dtype == np.float32


@both
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("im1.jpg", [("im1.jpg",)]),
        (("ab", "c"), [("ab",), ("c",)]),
        (["im1.jpg", "españa 東京", "three "], [("im1.jpg",), ("españa 東京",), ("three ",)]),
        ([["one", "two"], ["three"], ("p", "qq")], [("one", "two"), ("three",), ("p", "qq")]),
        ([[["deep"]], EMPTY], [("deep",), ()]),
        (["only"], [("only",)]),
    ],
)
def test_strings(tmp_path, write, value, expected):
    with open_matlab(write(tmp_path / "x.mat", T=value)) as file:
        assert file.strings("T") == expected


def test_strings_as_scipy_writes_them(tmp_path):
    scipy.io.savemat(tmp_path / "x.mat", {"T": ["im1.jpg", "im22.jpg"], "U": np.array([["a"], ["bb"]])})
    with open_matlab(tmp_path / "x.mat") as file:
        assert file.strings("T") == [("im1.jpg",), ("im22.jpg",)]
        assert file.strings("U") == [("a",), ("bb",)]


@both
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((2, 3)), r"x\.mat: T: expected text or cells of text, got 2 x 3 float64"),
        ({"a": "text"}, "expected text or cells of text, got a struct"),
        (["one", np.ones((1, 2))], "T cell 2: expected text, got 1 x 2 float64"),
        (["one", {"a": "b"}], "T cell 2: expected text, got a struct"),
    ],
)
def test_not_strings(tmp_path, write, value, message):
    with open_matlab(write(tmp_path / "x.mat", T=value)) as file, pytest.raises(DataError, match=message):
        file.strings("T")


@both
def test_structs(tmp_path, write):
    path = write(tmp_path / "x.mat", D={"x": np.ones((2, 3)), "inner": {"names": ["a", "b"]}})
    value = read(path, "D")
    npt.assert_array_equal(fields("D", value, ["x"])["x"], np.ones((2, 3)))
    assert strings("D", fields("D", value["inner"], ["names"])["names"]) == [("a",), ("b",)]
    with pytest.raises(DataError, match="D: expected a struct with x, y; y missing"):
        fields("D", value, ["x", "y"])
    with pytest.raises(DataError, match="D: expected a struct with x; x missing"):
        fields("D", value["x"], ["x"])


@both
@pytest.mark.parametrize(("axis", "step"), [(0, 1), (1, 2), (2, 3), (2, 100)])
def test_blocks(tmp_path, write, axis, step):
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    with open_matlab(write(tmp_path / "x.mat", A=array)) as file:
        blocks = list(file.blocks("A", axis, step))
    assert [block.shape[axis] for block in blocks[:-1]] == [step] * (len(blocks) - 1)
    npt.assert_array_equal(np.concatenate(blocks, axis), array)


@both
@pytest.mark.parametrize("value", ["text", ["cell"], sparse.eye(3, format="csc")])
def test_blocks_are_of_numbers(tmp_path, write, value):
    path = write(tmp_path / "x.mat", A=value)
    with open_matlab(path) as file, pytest.raises(DataError, match="A is not an array of numbers, but"):
        list(file.blocks("A", 0, 1))


@both
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("text", "text"),
        (["cell"], "cells"),
        ({"a": "b"}, "a struct"),
        (np.ones((2, 2, 2)), "2 x 2 x 2 float64"),
    ],
)
def test_not_a_matrix(tmp_path, write, value, found):
    with (
        open_matlab(write(tmp_path / "x.mat", A=value)) as file,
        pytest.raises(DataError, match=rf"x\.mat: A is not a numeric matrix, but {found}"),
    ):
        file.matrix("A")


@both
def test_missing_variables_and_limits(tmp_path, write):
    path = write(tmp_path / "x.mat", A=np.ones((100, 10)), B=np.ones((2, 2)))
    with open_matlab(path) as file:
        for call in (file.read, file.shape, file.matrix, file.strings, lambda name: file.blocks(name, 0, 1)):
            with pytest.raises(DataError, match=r"x\.mat: expected the matrices C; C missing"):
                call("C")
        with pytest.raises(DataError, match="expected the matrices A, C, D; C, D missing"):
            file.require("A", "C", "D")
    with open_matlab(path, max_bytes=7999) as file:
        npt.assert_array_equal(file.matrix("B"), 1)
        with pytest.raises(DataError, match=r"A: 100 x 10 takes 8000 bytes, the limit is 7999"):
            file.read("A")


def test_a_sparse_matrix_too_large_to_be_dense():
    with pytest.raises(DataError, match=r"S: 1000000 x 1000000 takes 8000000000000 bytes"):
        dense("S", sparse.csc_matrix((10**6, 10**6)))


@both
@pytest.mark.parametrize("value", [[[[["too deep"]]]], {"a": {"b": {"c": {"d": "e"}}}}])
def test_deeper_than_anything_known(tmp_path, write, value):
    with pytest.raises(
        DataError, match="expected real numbers, char, a vector of cells or a 1 x 1 struct, at"
    ):
        read(write(tmp_path / "x.mat", A=value), "A")


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1 + 2j]]),
        np.full((2, 2), "x", object),
        np.array([[(1,), (2,)]], dtype=[("a", object)]),
        sparse.csc_matrix(np.array([[1j]])),
    ],
)
def test_v5_values_of_other_kinds(tmp_path, value):
    scipy.io.savemat(tmp_path / "x.mat", {"A": value})
    with pytest.raises(DataError, match=r"x\.mat: A: expected real numbers"):
        read(tmp_path / "x.mat", "A")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(NotFoundError, match=r"file not found: .*x\.mat"), open_matlab(tmp_path / "x.mat"):
        pass
    with pytest.raises(NotFoundError, match="file not found"), open_matlab(tmp_path):
        pass
    for content in (b"", b"text", bytes(200), b"MATLAB 5.0 MAT-file" + bytes(300)):
        (tmp_path / "x.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"x\.mat: (not a MATLAB v5 file|expected the matrices)"):
            read(tmp_path / "x.mat", "A")


def test_a_v5_file_cut_anywhere(tmp_path):
    whole = write_v5(tmp_path / "x.mat", A=np.random.default_rng(0).random((9, 9))).read_bytes()
    for length in range(1, len(whole) - 1, 41):
        (tmp_path / "x.mat").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"x\.mat: (not a MATLAB v5 file|expected the matrices)"):
            read(tmp_path / "x.mat", "A")


def test_the_wikipedia_struct_in_the_other_version(tmp_path):
    file = wikipedia_cnn(tmp_path) / "wiki_cnn.mat"
    expected = load_wikipedia(tmp_path, "cnn")
    content = scipy.io.loadmat(file)["data"][0, 0]
    split = {name: content["split"][0, 0][name] for name in ("ind_train", "ind_test")}
    write_v73(file, data={name: content[name] for name in ("X1", "X2", "Y")} | {"split": split})
    found = load_wikipedia(tmp_path, "cnn")
    npt.assert_array_equal(found.image_features, expected.image_features)
    npt.assert_array_equal(found.labels, expected.labels)
    npt.assert_array_equal(found.split.query, expected.split.query)


@pytest.mark.parametrize(
    ("shape", "expected"), [((1, 3), True), ((3, 1), True), ((1, 1), True), ((0, 0), True), ((2, 2), False)]
)
def test_vectors(shape, expected):
    assert matlab.is_vector(shape) == expected
