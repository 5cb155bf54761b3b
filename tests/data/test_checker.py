"""Hostile files: each is refused by name, none is followed, none ends the reading process."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from spdq.data import Dataset, checker
from spdq.errors import DamagedError, DataError

N = 3


@pytest.fixture
def path(tmp_path):
    """A good file without checksums and without image features, which the tests put in."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = np.bytes_(b"spdq-dataset")
        file.attrs["version"] = 1
        file.attrs["name"] = np.bytes_(b"made")
        file["ids"] = np.arange(N)
        file.create_group("image")
    return path


@pytest.fixture
def secret(tmp_path):
    """Another file of this user, of the right type and shape."""
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["features"] = np.ones((N, 2), np.float32)
    np.ones((N, 2), np.float32).tofile(tmp_path / "secret.raw")
    return tmp_path


def refused(path, message, error=DataError):
    with pytest.raises(error, match=message):
        Dataset.load(path)


def test_the_file_is_good_before_anything_is_put_in(path):
    with h5py.File(path, "r+") as file:
        file["image/features"] = np.ones((N, 2), np.float32)
    assert Dataset.load(path).image_features.shape == (N, 2)


def test_external_link(path, secret):
    with h5py.File(path, "r+") as file:
        file["image/features"] = h5py.ExternalLink(str(secret / "secret.h5"), "features")
    refused(path, r"external links are not allowed \(.*x\.h5:/image/features\)")


@pytest.mark.parametrize("where", ["image/features", "attributes", "labels", "clicks", "grades/queries"])
def test_soft_link(path, where):
    with h5py.File(path, "r+") as file:
        file[where] = h5py.SoftLink("/ids")
    refused(path, rf"soft links are not allowed \(.*:/{where}\)")


def test_external_storage(path, secret):
    with h5py.File(path, "r+") as file:
        place = [(str(secret / "secret.raw"), 0, N * 8)]
        file.create_dataset("image/features", (N, 2), np.float32, external=place)
    refused(path, r"external storage is not allowed \(.*:/image/features\)")


def test_virtual_data_set(path, secret):
    layout = h5py.VirtualLayout((N, 2), np.float32)
    layout[:] = h5py.VirtualSource(str(secret / "secret.h5"), "features", (N, 2))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("image/features", layout)
    refused(path, r"virtual data sets are not allowed \(.*:/image/features\)")


def test_variable_length_strings(path):
    with h5py.File(path, "r+") as file:
        file["label_names"] = ["a", "b"]
    refused(path, r"variable-length strings are not allowed, use fixed-length UTF-8 \(.*:/label_names\)")


@pytest.mark.parametrize(
    "dtype",
    [
        h5py.vlen_dtype(np.float32),
        h5py.ref_dtype,
        h5py.regionref_dtype,
        np.dtype([("a", np.float32)]),
        np.dtype(bool),
        np.dtype("V4"),
        np.dtype((np.float32, (2,))),
        np.dtype(np.complex64),
    ],
    ids=str,
)
def test_other_types(path, dtype):
    with h5py.File(path, "r+") as file:
        file.create_dataset("image/features", (N, 2), dtype)
    refused(path, r"only integers, floats and fixed-length strings are allowed \(.*:/image/features\)")


def test_a_type_with_a_name(path):
    with h5py.File(path, "r+") as file:
        file["labels"] = np.dtype("u1")
    refused(path, ":/labels must be a data set")


@pytest.mark.parametrize("options", [{"compression": "lzf"}, {"scaleoffset": 2}])
def test_other_filters(path, options):
    with h5py.File(path, "r+") as file:
        file.create_dataset("image/features", data=np.ones((N, 2), np.float32), **options)
    refused(path, r"HDF5 filter \d+ is not allowed, only gzip, shuffle, fletcher32 are")


@pytest.mark.parametrize("options", [{}, {"chunks": (9, 9)}, {"chunks": (9, 9), "compression": "gzip"}])
def test_terabytes_in_a_small_file(path, options):
    with h5py.File(path, "r+") as file:
        file.create_dataset("image/features", (10**6, 10**6), np.float32, **options)
    assert path.stat().st_size < 10_000
    refused(path, "declares 4000000000000 bytes but stores")


def test_very_many_queries_in_a_small_file(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("clicks/queries/offsets", (10**12,), np.int64, chunks=(9,))
    refused(path, r"declares 8000000000000 bytes but stores .*x\.h5:/clicks/queries/offsets")


def test_many_wide_strings(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("label_names", (1 << 20,), "S100000")
    refused(path, "declares 104857600000 bytes but stores")


def test_more_than_the_caller_wants_to_read(path):
    with pytest.raises(DataError, match="declares 24 bytes, the limit is 23: raise max_bytes"):
        Dataset.load(path, max_bytes=23)
    assert len(Dataset.load(path, max_bytes=24)) == N


def test_no_shape_and_scalar(path):
    with h5py.File(path, "r+") as file:
        file["labels"] = h5py.Empty("u1")
    refused(path, r"the data set has no shape \(.*:/labels\)")
    with h5py.File(path, "r+") as file:
        del file["labels"]
        file["labels"] = np.uint8(1)
    refused(path, r"labels: expected \(3, c\) uint8, got \(\) uint8")


@pytest.mark.parametrize(
    "where", ["new", "image/depth", "split/validation", "clicks/grade", "grades/queries/more"]
)
def test_unknown_objects(path, where):
    with h5py.File(path, "r+") as file:
        file[where] = np.ones(N)
    refused(path, f":/{where} is not part of the data set format, version 1")


def test_a_group_of_very_many(path):
    with h5py.File(path, "r+") as file:
        for number in range(50):
            file[f"image/x{number}"] = 1
    refused(path, ":/image holds 50 objects, the format has 2")


def test_group_and_data_set_exchanged(path):
    with h5py.File(path, "r+") as file:
        file.create_group("labels")
    refused(path, ":/labels must be a data set")
    with h5py.File(path, "r+") as file:
        del file["labels"]
        file["text"] = np.ones(N)
    refused(path, ":/text must be a group")


def test_a_group_inside_itself(path):
    with h5py.File(path, "r+") as file:
        file["image/features"] = file["image"]
        file["text/features/data"] = np.ones(3)
        file["text/features/indices"] = file["text"]
    refused(path, ":/image/features must be a data set")
    with h5py.File(path, "r+") as file:
        del file["image/features"]
    refused(path, ":/text/features/indices must be a data set")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", None, 'is not a data set: its attribute format is not "spdq-dataset"'),
        ("format", np.bytes_(b"other"), "is not a data set"),
        ("format", "spdq-dataset", "attribute format must be a fixed-length string or an integer"),
        ("version", None, "attribute version must be 1, got None"),
        ("version", 0, "attribute version must be 1, got 0"),
        ("version", np.bytes_(b"1"), "attribute version must be 1, got '1'"),
        ("version", 1.0, "attribute version must be a fixed-length string or an integer"),
        ("name", h5py.Empty("S4"), "attribute name has 0 values of 4 bytes"),
        ("name", np.array([b"a", b"b"]), "attribute name has 2 values of 1 bytes"),
        ("name", h5py.Reference(), "attribute name must be a fixed-length string"),
    ],
)
def test_attributes(path, name, value, message):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    refused(path, message)


def test_an_attribute_of_megabytes(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = np.bytes_(b"x" * (2 << 20))
    refused(tmp_path / "x.h5", "attribute format has 1 values of 2097152 bytes")


def test_unreadable_chunk(path):
    with h5py.File(path, "r+") as file:
        data_set = file.create_dataset("image/features", (N, 2), "f4", chunks=(N, 2), compression="gzip")
        data_set.id.write_direct_chunk((0, 0), b"this is no deflate stream")
    refused(path, r":/image/features cannot be read: .*", DamagedError)


def test_broken_utf8_in_an_attribute(path):
    with h5py.File(path, "r+") as file:
        file.attrs.create("name", b"\xff\xfe", dtype=h5py.string_dtype("utf-8", 2))
    with pytest.raises((DamagedError, DataError), match=r"x\.h5"):
        Dataset.load(path)


def child(code):
    """Run code in a fresh interpreter that has the checker's limits."""
    setup = "import sys, runpy; checker = runpy.run_path(sys.argv[1]); limit = checker['_limit'];"
    command = [sys.executable, "-c", setup + code, checker.__file__]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_child_dies_after_its_time():
    done = child("limit.__globals__['SECONDS'] = 1; limit(sys.argv[1])\nwhile True: pass")
    assert done.returncode == -14


def test_the_child_has_no_more_than_its_memory_and_no_plugins():
    done = child("limit(sys.argv[1]); import h5py; print(h5py.h5pl.size()); bytearray(3 << 30)")
    assert done.stdout == "0\n"
    assert "MemoryError" in done.stderr


def test_out_of_memory_is_an_answer(path):
    with h5py.File(path, "r+") as file:  # one row is one block: 3 GiB at once
        file.create_dataset("labels", (1, 3 << 30), np.uint8, chunks=(1, 1 << 30), compression="gzip")
        file["labels"].id.write_direct_chunk((0, 0), bytes(4 << 20))
    refused(path, r"x\.h5 needs more than 2 GiB to check")
