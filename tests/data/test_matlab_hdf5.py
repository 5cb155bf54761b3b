import h5py
import numpy as np
import numpy.testing as npt
import pytest
from made_matlab import write_v73

from spdq.data import matlab_hdf5
from spdq.data.matlab import open_matlab
from spdq.errors import DamagedError, DataError


def read(path, name="A", **options):
    with open_matlab(path, **options) as file:
        return file.read(name)


def change(path, edit, **variables):
    write_v73(path, **variables)
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def set_class(file, name, matlab_class, **attributes):
    file[name].attrs["MATLAB_class"] = np.bytes_(matlab_class)
    for key, value in attributes.items():
        file[name].attrs[key] = value


def external_storage(file):
    file.create_dataset("A", (3, 3), "f8", external=[("/etc/hostname", 0, 72)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 3), "f8")
    layout[:] = h5py.VirtualSource("/etc/hostname.h5", "x", (3, 3))
    file.create_virtual_dataset("A", layout)


def links(make):
    def edit(file):
        file["A"] = make()

    return edit


def cycle(file):
    cells = file.create_dataset("A", (1, 2), h5py.ref_dtype)
    cells[0] = [cells.ref, cells.ref]
    set_class(file, "A", "cell")


def struct_in_itself(file):
    group = file.create_group("A")
    group["inner"] = group
    set_class(file, "A", "struct")


def null_reference(file):
    file.create_dataset("A", (1, 2), h5py.ref_dtype)
    set_class(file, "A", "cell")


def lone_surrogate(file):
    file["A"] = np.array([[0xD800]], np.uint16)
    set_class(file, "A", "char")


def char_of_floats(file):
    file["A"] = np.ones((2, 1))
    set_class(file, "A", "char")


def sizes_of_empty(*sizes):
    def edit(file):
        file["A"] = np.array(sizes, np.uint64)
        set_class(file, "A", "double", MATLAB_empty=np.uint8(1))

    return edit


def sparse_parts(rows=3, **parts):
    def edit(file):
        group = file.create_group("A")
        group.attrs["MATLAB_sparse"] = rows
        for name, value in parts.items():
            group[name] = value
        set_class(file, "A", "double")

    return edit


def sparse_link(file):
    sparse_parts(jc=np.array([0, 1], np.uint64), ir=np.array([0], np.uint64))(file)
    file["A/data"] = h5py.ExternalLink("/etc/hostname", "x")


def of_class(matlab_class):
    def edit(file):
        file["A"] = np.ones((1, 6), np.uint32)
        set_class(file, "A", matlab_class)

    return edit


def object_group(file):
    file.create_group("A")
    set_class(file, "A", "table")


READABLE = "expected real numbers, char, a vector of cells or a 1 x 1 struct"


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (links(lambda: h5py.ExternalLink("/etc/hostname", "x")), DataError, r"links are not allowed .*A\)"),
        (links(lambda: h5py.SoftLink("/B")), DataError, "links are not allowed"),
        (external_storage, DataError, "external storage is not allowed"),
        (virtual, DataError, "virtual data sets are not allowed"),
        (lambda f: f.create_dataset("A", data=np.ones((9, 9)), compression="lzf"), DataError, "HDF5 filter"),
        (
            lambda f: f.create_dataset("A", (10**6, 10**6), "f4"),
            DataError,
            "declares 4000000000000 bytes but stores 0",
        ),
        (lambda f: f.create_dataset("A", data="text"), DataError, READABLE),
        (lambda f: f.create_dataset("A", data=np.ones(2, [("a", "f4")])), DataError, READABLE),
        (lambda f: f.create_dataset("A", data=np.ones((2, 2), complex)), DataError, READABLE),
        (of_class("function_handle"), DataError, READABLE),
        (of_class("cell"), DataError, READABLE),
        (object_group, DataError, READABLE),
        (cycle, DataError, READABLE),
        (struct_in_itself, DataError, READABLE),
        (null_reference, DamagedError, r"x\.mat: A cannot be read"),
        (lone_surrogate, DataError, "A: not UTF-16 text"),
        (char_of_floats, DataError, READABLE),
        (sizes_of_empty(2, 3), DataError, r"A: marked as empty, but has the sizes \(2, 3\)"),
        (sizes_of_empty(0), DataError, r"expected the sizes of an empty array, got \(1,\)"),
        (sparse_parts(rows=-1, jc=np.zeros(3, int)), DataError, "expected its number of rows and jc"),
        (sparse_parts(), DataError, "expected its number of rows and jc"),
        (
            sparse_parts(jc=np.array([0, 1]), ir=np.array([9]), data=np.ones(1)),
            DataError,
            "not a sparse matrix",
        ),
        (
            sparse_parts(jc=np.array([0, 2]), ir=np.array([0]), data=np.ones(1)),
            DataError,
            "not a sparse matrix",
        ),
        (
            sparse_parts(jc=np.array([0, 1]), ir=np.ones((2, 2), int), data=np.ones(1)),
            DataError,
            r"A\.ir: expected \(n,\) numbers of a sparse matrix",
        ),
        (sparse_link, DataError, r"links are not allowed \(.*A\.data\)"),
    ],
)
def test_hostile_and_broken_variables(tmp_path, edit, error, message):
    path = change(tmp_path / "x.mat", edit, B=np.ones((2, 2)))
    with pytest.raises(error, match=message):
        read(path)
    npt.assert_array_equal(read(path, "B"), 1)


def test_a_class_that_is_no_fixed_string(tmp_path):
    def edit(file):
        file["A"].attrs["MATLAB_class"] = "double"

    path = change(tmp_path / "x.mat", edit, A=np.ones((2, 2)))
    with pytest.raises(DataError, match="attribute MATLAB_class must be a fixed-length string"):
        read(path)


def test_blocks_follow_the_same_rules(tmp_path):
    path = change(tmp_path / "x.mat", external_storage)
    with open_matlab(path) as file, pytest.raises(DataError, match="external storage is not allowed"):
        next(file.blocks("A", 0, 1))


def test_cells_and_their_contents_count(tmp_path, monkeypatch):
    path = write_v73(tmp_path / "x.mat", A=["x" * 300] * 20)
    assert len(read(path, max_bytes=20 * (256 + 600) + 1000)) == 20
    with pytest.raises(DataError, match=r"A cell 12: the variable takes more than 10000 bytes, the limit"):
        read(path, max_bytes=10_000)


def test_files_of_other_programs(tmp_path):
    with h5py.File(tmp_path / "x.mat", "w") as file:
        file["A"], file["B"], file["C"] = np.arange(3.0), 5.0, np.arange(6, dtype=">i4").reshape(3, 2)
    with open_matlab(tmp_path / "x.mat") as file:
        assert [file.shape(name) for name in "ABC"] == [(3, 1), (1, 1), (2, 3)]
        npt.assert_array_equal(file.matrix("A"), [[0], [1], [2]])
        npt.assert_array_equal(file.matrix("B"), [[5]])
        npt.assert_array_equal(file.matrix("C"), [[0, 2, 4], [1, 3, 5]])
        assert file.matrix("C").dtype.isnative
        assert all(block.dtype.isnative for block in file.blocks("C", 1, 2))


def test_the_contents_of_cells_are_not_variables(tmp_path):
    with open_matlab(write_v73(tmp_path / "x.mat", A=["a"])) as file:
        assert file.names == ("A",)


def test_shapes_without_reading(tmp_path, monkeypatch):
    path = write_v73(tmp_path / "x.mat", A={"a": "b"}, B=np.zeros((0, 4)), C=np.ones((2, 5)))
    monkeypatch.setattr(matlab_hdf5.HDF5Variables, "read", None)
    with open_matlab(path) as file:
        assert [file.shape(name) for name in "ABC"] == [(1, 1), (0, 4), (2, 5)]


def test_cut_and_damaged_files(tmp_path):
    path = tmp_path / "x.mat"
    whole = write_v73(path, A=np.random.default_rng(0).random((40, 40))).read_bytes()
    for length in range(600, len(whole) - 1, 997):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=r"x\.mat is truncated or damaged"):
            read(path)
    spoiled = bytearray(whole)
    spoiled[-8000:] = bytes(8000)
    path.write_bytes(spoiled)
    with pytest.raises((DamagedError, DataError), match=r"x\.mat"):
        read(path)
