from __future__ import annotations

import os
import resource

import h5py
import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.data import Dataset
from spdq.data.codes import Codes, NotCodesError
from spdq.errors import DamagedError, DataError, IncompatibleError, NotFoundError, StorageError

MODEL, BOOKS = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def made(n=5, **changes):
    codes = np.random.default_rng(n).integers(0, 256, (n, 8), dtype=np.uint8)
    return Codes(
        **{**dict(zip(PARTS, (np.arange(n), codes, 64, MODEL, BOOKS, "image"), strict=True)), **changes}
    )


PARTS = ("ids", "codes", "bits", "model_fingerprint", "codebook_fingerprint", "modality")
LETTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\0")


def assert_same(a, b):
    for part in PARTS[:2]:
        npt.assert_array_equal(getattr(a, part), getattr(b, part))
    assert a.ids.dtype.kind == b.ids.dtype.kind
    assert a.codes.dtype == b.codes.dtype
    assert [getattr(a, part) for part in PARTS[2:]] == [getattr(b, part) for part in PARTS[2:]]


@given(
    ids=st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=1, max_size=9, unique=True).map(np.array)
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=9, unique=True).map(
        lambda ids: np.array(ids, np.int64)
    ),
    modality=st.sampled_from(["image", "text", "unit"]),
)
@settings(max_examples=12, deadline=None)
def test_round_trip(tmp_path_factory, ids, modality):
    folder = tmp_path_factory.mktemp("trip")
    codes = made(len(ids), ids=ids, modality=modality)
    codes.save(folder / "x.h5")
    loaded = Codes.load(folder / "x.h5")
    assert_same(codes, loaded)
    assert len(loaded) == len(ids)
    loaded.save(folder / "y.h5")
    assert (folder / "x.h5").read_bytes() == (folder / "y.h5").read_bytes()


def test_codes_that_are_all_alike_are_no_attack(tmp_path):
    zeros = made(300_000, codes=np.zeros((300_000, 8), np.uint8))
    zeros.save(tmp_path / "x.h5")
    assert_same(zeros, Codes.load(tmp_path / "x.h5"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array([1, 1, 2, 3, 4])}, 'duplicate id "1"'),
        ({"ids": np.array([], np.int64), "codes": np.empty((0, 8), np.uint8)}, "at least one item"),
        ({"ids": [1, 2, 3, 4, 5]}, "ids: expected .* got list"),
        ({"codes": [[1]]}, r"codes: expected \(n, M\) uint8, got list"),
        ({"codes": np.zeros((5, 8), np.int64)}, r"uint8, got \(5, 8\) int64"),
        ({"codes": np.zeros((4, 8), np.uint8)}, r"expected \(5, M\) .* got \(4, 8\)"),
        ({"codes": np.zeros((5, 0), np.uint8)}, r"expected \(5, M\) .* got \(5, 0\)"),
        ({"bits": 65}, "bits: expected 1 to 64, got 65"),
        ({"bits": "64"}, "bits: expected 1 to 64, got '64'"),
        ({"model_fingerprint": "xyz"}, "model_fingerprint: expected 64 hex digits, got 'xyz'"),
        ({"codebook_fingerprint": None}, "codebook_fingerprint: expected 64 hex digits, got None"),
        ({"modality": "sound"}, "modality: expected image, text, unit, got 'sound'"),
    ],
)
def test_what_is_no_codes(changes, message):
    with pytest.raises(DataError, match=message):
        made(**changes)


def tampered(tmp_path, change, kind="spdq-codes", version=1, checksums=False):
    """A codes file after ``change(file)``; without checksums, as another program would write it."""
    path = tmp_path / "x.h5"
    made().save(path)
    with h5py.File(path, "r+") as file:
        if not checksums:
            for node in (file, file["ids"], file["codes"]):
                del node.attrs["sha256"]
        file.attrs.create("format", kind, dtype=h5py.string_dtype("utf-8", len(kind)))
        file.attrs["version"] = version
        change(file)
    return path


def replace(name, array):
    def change(file):
        del file[name]
        file[name] = array

    return change


def test_files_of_other_programs_need_no_checksums(tmp_path):
    assert_same(Codes.load(tampered(tmp_path, lambda file: None)), made())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.__delitem__("codes"), DataError, "/codes is missing"),
        (lambda f: f.__delitem__("ids"), DataError, "/ids is missing"),
        (lambda f: f.attrs.__delitem__("bits"), DataError, "bits: expected 1 to 64, got None"),
        (replace("codes", np.zeros((5, 8), np.float32)), DataError, r"uint8, got \(5, 8\) float32"),
        (replace("ids", np.zeros(5, np.int64)), DataError, 'duplicate id "0"'),
        (replace("ids", np.array([b"\xff", b"b", b"c", b"d", b"e"])), DataError, "/ids: not UTF-8"),
        (
            replace("codes", h5py.ExternalLink("other.h5", "/x")),
            DataError,
            "external links are not allowed .*/codes",
        ),
        (replace("codes", h5py.SoftLink("/ids")), DataError, "soft links are not allowed .*/codes"),
        (lambda f: f.create_group("more"), DataError, "holds 3 objects, the codes format has 2"),
        (lambda f: f.move("codes", "kodes"), DataError, "/kodes is not part of the codes format, version 1"),
        (lambda f: (f.__delitem__("codes"), f.create_group("codes")), DataError, "/codes must be a data set"),
        (
            lambda f: (
                f.__delitem__("codes"),
                f.create_dataset("codes", (1 << 40, 8), "u1", chunks=(1 << 20, 8)),
            ),
            DataError,
            "declares 8796093022208 bytes but stores 0",
        ),
        (replace("ids", np.array(["a"] * 5, h5py.string_dtype())), DataError, "variable-length strings"),
    ],
)
def test_hostile_and_broken_files(tmp_path, change, error, message):
    path = tampered(tmp_path, change)
    with pytest.raises(error, match=message) as caught:
        Codes.load(path)
    assert str(path) in str(caught.value)


def test_more_than_the_limit(tmp_path):
    made().save(tmp_path / "x.h5")
    with pytest.raises(DataError, match="declares 80 bytes, the limit is 79"):
        Codes.load(tmp_path / "x.h5", max_bytes=79)


def test_other_formats_and_versions(tmp_path):
    Dataset("d", np.arange(3)).save(tmp_path / "d.h5")
    with pytest.raises(NotCodesError, match='is not a codes file: its attribute format is not "spdq-codes"'):
        Codes.load(tmp_path / "d.h5")
    with pytest.raises(IncompatibleError, match="codes format 2 is from a newer version"):
        Codes.load(tampered(tmp_path, lambda file: None, version=2))
    with pytest.raises(DataError, match="attribute version must be 1, got 0"):
        Codes.load(tampered(tmp_path, lambda file: None, version=0))


def test_damage_is_found(tmp_path):
    with pytest.raises(DamagedError, match="/codes: checksum mismatch"):
        Codes.load(
            tampered(tmp_path, lambda f: f["codes"].write_direct(np.ones((5, 8), np.uint8)), checksums=True)
        )
    with pytest.raises(DamagedError, match="checksum of names, sizes and attributes"):
        Codes.load(tampered(tmp_path, lambda f: f.attrs.modify("bits", 32), checksums=True))
    made().save(tmp_path / "t.h5")
    whole = (tmp_path / "t.h5").read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 100):
        (tmp_path / "t.h5").write_bytes(whole[:length])
        with pytest.raises(DamagedError, match=r"t\.h5"):
            Codes.load(tmp_path / "t.h5")


def test_what_is_no_file_of_codes(tmp_path):
    with pytest.raises(NotFoundError, match=r"not found: .*no\.h5"):
        Codes.load(tmp_path / "no.h5")
    (tmp_path / "text.h5").write_text("text\n" * 300)
    with pytest.raises(DataError, match="not an HDF5 file"):
        Codes.load(tmp_path / "text.h5")
    with pytest.raises(NotFoundError, match="folder not found"):
        made().save(tmp_path / "no" / "x.h5")


def test_a_full_disk_changes_nothing(tmp_path):
    made().save(tmp_path / "x.h5")
    before = (tmp_path / "x.h5").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write"):
            made(4000).save(tmp_path / "x.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["x.h5"]
    assert (tmp_path / "x.h5").read_bytes() == before
