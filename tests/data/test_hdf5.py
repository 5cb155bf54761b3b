import os
import resource
import shutil

import h5py
import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sets import assert_same, full_dataset
from scipy import sparse

from spdq.data import Dataset, QueryItems, Split, make_split
from spdq.errors import DamagedError, DataError, IncompatibleError, NotFoundError, StorageError

LETTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
TEXT = st.text(LETTERS, max_size=8)
NAME = st.text(LETTERS, min_size=1, max_size=8)


@st.composite
def datasets(draw):
    n = draw(st.integers(1, 6))
    seed = draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    names = ("image", "text", "labels", "texts", "words", "paths", "classes", "clicks", "grades", "split")
    has = {part: draw(st.booleans()) for part in names}
    parts = {}
    if has["image"]:
        dtype = draw(st.sampled_from([np.float16, np.float32]))
        regions = parts["image_regions"] = draw(st.integers(1, 4))
        parts["image_features"] = rng.normal(size=(n, regions * draw(st.integers(1, 5)))).astype(dtype)
        parts["image_extractor"] = draw(st.none() | NAME)
    if has["text"]:
        d = draw(st.integers(1, 4))
        dense = (rng.normal(size=(n, d)) * (rng.random((n, d)) < draw(st.floats(0, 1)))).astype(np.float32)
        parts["text_features"] = draw(st.sampled_from([sparse.csr_matrix, np.asarray]))(dense)
        if has["words"]:
            parts["vocabulary"] = tuple(draw(st.lists(NAME, min_size=d, max_size=d, unique=True)))
    if has["labels"]:
        parts["label_names"] = tuple(draw(st.lists(NAME, min_size=1, max_size=4, unique=True)))
        parts["labels"] = rng.integers(0, 2, (n, len(parts["label_names"])), dtype=np.uint8)
    if has["texts"]:
        parts["texts"] = tuple(draw(st.lists(TEXT, min_size=n, max_size=n)))
        if isinstance(parts.get("text_features"), np.ndarray) and draw(st.booleans()):
            parts["text_extractor"] = draw(NAME)
            lines = sum(len(text.splitlines() or [""]) for text in parts["texts"])
            parts["line_features"] = rng.normal(size=(lines, parts["text_features"].shape[1])).astype(
                np.float32
            )
    if has["paths"]:
        parts["image_paths"] = tuple(
            f"p/{name.replace('/', '')}" for name in draw(st.lists(NAME, min_size=n, max_size=n))
        )
    if has["classes"]:
        parts["classes"] = rng.integers(-1, 3, n)
    queries = draw(st.lists(NAME, min_size=2, max_size=6, unique=True))
    for part, some in (("clicks", queries[::2]), ("grades", queries[1::2])):
        if has[part]:
            found = {
                query: {int(item): int(rng.integers(1, 4)) for item in rng.integers(0, n, 3)}
                for query in some
            }
            parts[part] = QueryItems.from_mapping(found)
    if has["split"] and seed % 3 == 0:
        every = np.arange(n)
        parts["split"] = Split(every[:0], every, every, "clicks", seed)
    elif has["split"] and n > 3 and seed % 3 == 1:
        parts["split"] = Split(np.array([0]), np.array([1, 2]), np.arange(2, n), "matched", seed)
    elif has["split"] and n > 3:
        kind = draw(st.sampled_from(["seen", "unseen", "paired"]))
        parts["split"] = make_split(
            n, [0, n - 1], kind, seed, train_on_queries=kind == "paired" and seed % 2 == 0
        )
    ids = st.lists(NAME, min_size=n, max_size=n, unique=True).map(np.array)
    numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n, unique=True)
    return Dataset(draw(NAME), draw(ids | numbers.map(lambda x: np.array(x, np.int64))), **parts)


@given(datasets())
@settings(max_examples=25, deadline=None)
def test_round_trip(tmp_path_factory, dataset):
    folder = tmp_path_factory.mktemp("trip")
    dataset.save(folder / "x.h5")
    loaded = Dataset.load(folder / "x.h5")
    assert_same(dataset, loaded)
    assert loaded.root == folder
    loaded.save(folder / "y.h5")
    assert (folder / "x.h5").read_bytes() == (folder / "y.h5").read_bytes()


def small(**parts):
    return Dataset("small", np.arange(3), np.eye(3, 4, dtype=np.float32), **parts)


def test_zeros_that_compress_too_well_still_load(tmp_path):
    dataset = Dataset("zeros", np.arange(3000), np.zeros((3000, 1000), np.float32))
    dataset.save(tmp_path / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "x.h5"))


def test_rows_wider_than_a_chunk(tmp_path):
    dataset = Dataset("wide", np.arange(2), np.ones((2, 300_000), np.float32))
    dataset.save(tmp_path / "x.h5")
    assert_same(dataset, Dataset.load(tmp_path / "x.h5"))


def test_other_byte_order_and_missing_checksums_are_read(tmp_path):
    small().save(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        del file["image/features"], file.attrs["sha256"], file["ids"]
        file["image/features"] = np.eye(3, 4).astype(">f4")
        file["ids"] = np.arange(3).astype(">i8")
    loaded = Dataset.load(tmp_path / "x.h5")
    assert_same(small(), loaded)
    assert loaded.ids.dtype.isnative


def test_attributes(tmp_path):
    given = {
        "year": (2020, None, -3),
        "Price_2": (1.5, 2, None),
        "shop": ("Köln", "", None),
        "tags": (("a", "b c"), (), None),
        "nothing": (None, None, None),
    }
    small(attributes=given).save(tmp_path / "x.h5")
    loaded = Dataset.load(tmp_path / "x.h5").attributes
    assert loaded == given
    assert list(loaded) == list(given)


def test_paths_follow_the_file(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "sets").mkdir()
    dataset = small(image_paths=("a.png", "b/c.png", "d.png"), root=tmp_path / "photos")
    dataset.save(tmp_path / "x.h5")
    assert Dataset.load(tmp_path / "x.h5").image_paths == ("photos/a.png", "photos/b/c.png", "photos/d.png")
    dataset.save(tmp_path / "sets" / "x.h5")
    moved = Dataset.load(tmp_path / "sets" / "x.h5")
    assert moved.image_paths[1] == "../photos/b/c.png"
    assert moved.image_path(1).resolve() == tmp_path.resolve() / "photos" / "b" / "c.png"
    moved.save(tmp_path / "photos" / "x.h5")
    assert Dataset.load(tmp_path / "photos" / "x.h5").image_paths == dataset.image_paths


def test_save_replaces_and_leaves_nothing_else(tmp_path):
    small().save(tmp_path / "x.h5")
    full_dataset().save(tmp_path / "x.h5")
    assert_same(full_dataset(), Dataset.load(tmp_path / "x.h5"))
    assert os.listdir(tmp_path) == ["x.h5"]


def test_save_to_a_missing_folder(tmp_path):
    with pytest.raises(NotFoundError, match=r"folder not found: .*missing"):
        small().save(tmp_path / "missing" / "x.h5")


def test_save_over_a_folder(tmp_path):
    (tmp_path / "x.h5").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*x.h5: Is a directory"):
        small().save(tmp_path / "x.h5")
    assert os.listdir(tmp_path) == ["x.h5"]


def test_storage_that_fills_up_changes_nothing(tmp_path):
    small().save(tmp_path / "x.h5")
    before = (tmp_path / "x.h5").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*: File too large"):
            full_dataset().save(tmp_path / "x.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "x.h5").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.h5"]


def test_load_names_what_cannot_be_opened(tmp_path):
    with pytest.raises(NotFoundError, match=r"data set not found: .*x\.h5"):
        Dataset.load(tmp_path / "x.h5")
    with pytest.raises(DataError, match="not a file"):
        Dataset.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"not a file: .*pipe"):
        Dataset.load(tmp_path / "pipe")
    with pytest.raises(NotFoundError, match=r"cannot read .*: File name too long"):
        Dataset.load(tmp_path / ("x" * 300))


def test_load_of_a_file_this_process_has_open_in_another_way(tmp_path):
    small().save(tmp_path / "x.h5")
    opened = h5py.File(tmp_path / "x.h5", "r", locking=False)
    with opened, pytest.raises(StorageError, match=r"cannot open .*x\.h5: "):
        Dataset.load(tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5", "r"):
        assert_same(small(), Dataset.load(tmp_path / "x.h5"))


def test_load_without_permission(tmp_path):
    small().save(tmp_path / "x.h5")
    (tmp_path / "x.h5").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(NotFoundError, match=r"cannot read .*: Permission denied"):
            Dataset.load(tmp_path / "x.h5")
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("content", [b"", b"name,tags\n1,cat\n", bytes(5000)])
def test_not_an_hdf5_file(tmp_path, content):
    (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"not an HDF5 file: .*x\.h5"):
        Dataset.load(tmp_path / "x.h5")


def test_a_child_that_cannot_start_or_dies_is_an_error(tmp_path, monkeypatch):
    small().save(tmp_path / "x.h5")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONHOME", str(tmp_path))
        with pytest.raises(DamagedError, match=r"checking it ended with .*"):
            Dataset.load(tmp_path / "x.h5")
    for name, message in (("SIGALRM", "no answer within 30 s"), ("SIGSEGV", "ended with SIGSEGV")):
        (tmp_path / "dies.py").write_text(f"import signal, os; os.kill(os.getpid(), signal.{name})")
        monkeypatch.setattr("spdq.data.checker.__file__", str(tmp_path / "dies.py"))
        with pytest.raises(DamagedError, match=message):
            Dataset.load(tmp_path / "x.h5")


def rewrite(path, changes, removed=()):
    """A data set file as others may write it: without checksums, with the given objects and attributes."""
    full_dataset().save(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["sha256"]
        for where in removed:
            if "@" in where:
                node, name = where.split("@")
                del file[node].attrs[name]
            else:
                del file[where]
        for where, value in changes.items():
            if "@" in where:
                node, name = where.split("@")
                file[node].attrs[name] = value
                continue
            if where in file:
                del file[where]
            file[where] = value
        file.visititems(lambda _, node: node.attrs.pop("sha256", None) and None)


def nan_at(row):
    features = np.ones((40, 32), np.float32)
    features[row, 3] = np.nan
    return features


def one_column(text):
    """A text in place of the only column of attributes."""
    return {
        "attributes/utf8": np.frombuffer(text, np.uint8),
        "attributes/offsets": np.array([0, len(text)]),
    }


CONTENTS = [
    ({}, ("attributes/names",), "/attributes needs names, and utf8 and offsets of as many columns"),
    ({"attributes/names": np.array([b"a", b"b"])}, (), "/attributes needs names"),
    (one_column(b"[1,2,"), (), "/attributes year: not JSON"),
    (one_column(b'"abc"'), (), "/attributes year: expected a JSON list, got str"),
    (one_column(b"[1,2]"), (), "attributes: year: expected a tuple of 40 values"),
    (one_column(b"[{}" + 39 * b",1" + b"]"), (), "attributes: year row 0: expected a number"),
    ({"image/features": nan_at(17)}, (), r"x\.h5: image_features row 17 has NaN"),
    ({"image/features": np.ones((39, 32), np.float32)}, (), r"expected \(40, d\)"),
    ({"image/features": np.ones((40, 32))}, (), "got .* float64"),
    ({}, ("ids",), "/ids is missing"),
    ({"ids": np.zeros((40, 2), "S4")}, (), r"/ids: expected \(n,\) fixed-length UTF-8 strings"),
    ({"ids": np.array([b"\xff"] * 40)}, (), "/ids: not UTF-8"),
    ({"ids": np.zeros(40, np.int64)}, (), 'duplicate id "0"'),
    ({"label_names": np.arange(5)}, (), "/label_names: expected"),
    ({}, ("label_names",), "label_names: expected 5, got 0"),
    ({"labels": np.full((40, 5), 2, np.uint8)}, (), "labels row 0 has 2"),
    ({}, ("text/features/indptr",), "a CSR group needs data, indices, indptr and the attribute shape"),
    ({}, ("text/features@shape",), "a CSR group needs"),
    ({"text/features@shape": 40}, (), "a CSR group needs"),
    ({"text/features@shape": np.array([40, 20, 2])}, (), "/text/features: not a CSR matrix"),
    ({"text/features@shape": np.array([-40, 20])}, (), "/text/features: not a CSR matrix"),
    ({"text/features/indptr": np.arange(5)}, (), "not a CSR matrix"),
    ({"text/features/indices": np.full(160, 20)}, (), "not a CSR matrix"),
    ({"text/features/indices": np.full(160, -1)}, (), "not a CSR matrix"),
    ({}, ("text/offsets",), "raw text needs /text/utf8 .* and /text/offsets"),
    ({}, ("text/utf8",), "raw text needs"),
    ({"text/offsets": np.arange(41, dtype=np.int32)}, (), "raw text needs"),
    ({"text/offsets": np.arange(41)}, (), r"/text/offsets: expected \(n \+ 1,\) from 0 to"),
    ({"text/offsets": np.array([0, 5, 2, 6]), "text/utf8": np.full(6, 65, np.uint8)}, (), "must not descend"),
    ({"text/offsets": np.array([0, 1]), "text/utf8": np.full(1, 255, np.uint8)}, (), "/text/utf8: not UTF-8"),
    (
        {"text/offsets": np.array([0, 1]), "text/utf8": np.full(1, 65, np.uint8)},
        (),
        "texts: expected 40, got 1",
    ),
    ({"classes": np.zeros((40, 2), np.int64)}, (), r"classes: expected \(40,\) int64, got \(40, 2\)"),
    ({"classes": np.full(40, b"x")}, (), r"classes: expected \(40,\) int64, got \(40,\)"),
    ({"image@regions": 5}, (), "image_regions: 32 features cannot be cut into 5 parts"),
    ({"image@regions": -1}, (), "image_regions: expected an int of 1 or more, got -1"),
    ({"image@regions": np.array([2, 2])}, (), r"image_regions: expected an int of 1 or more, got \(2, 2\)"),
    ({"image@regions": np.bytes_(b"2")}, (), "image_regions: expected an int of 1 or more, got '2'"),
    ({}, ("clicks/count",), "/clicks needs query, item, count, queries"),
    ({}, ("clicks/queries",), "/clicks needs query, item, count, queries"),
    ({}, ("grades/grade",), "/grades needs query, item, grade, queries"),
    (
        {},
        ("grades/query", "grades/item", "grades/grade", "grades/queries"),
        "/grades needs query, item, grade",
    ),
    ({}, ("clicks/queries/utf8",), "raw text needs /clicks/queries/utf8"),
    (
        {"clicks/queries/offsets": np.array([0, 1])},
        (),
        r"/clicks/queries/offsets: expected \(n \+ 1,\) from 0 to",
    ),
    ({"grades/queries/utf8": np.full(15, 255, np.uint8)}, (), "/grades/queries/utf8: not UTF-8"),
    ({"grades/queries/offsets": np.array([0, 15])}, (), "/grades: query: expected each of 0 to 0"),
    ({"grades/queries/offsets": np.array([0, 0, 15])}, (), "/grades: queries row 0 is empty"),
    ({"grades/query": np.arange(3, dtype=np.int32)}, (), r"/grades: query: expected .* got \(3,\) int32"),
    ({"grades/item": np.array([8, 3, 0])}, (), "/grades: pairs must ascend .* pair 1 does not"),
    ({"grades/item": np.array([3, 40, 0])}, (), "grades: item 40 is outside the data set's 40 rows"),
    ({"grades/grade": np.array([3, 4, 1])}, (), "grades: expected 1 to 3, got 4"),
    ({"clicks/count": np.zeros(60, np.int64)}, (), "/clicks: value of pair 0: expected 1 or more, got 0"),
    ({"clicks/count": np.ones(60)}, (), r"/clicks: value: .* got \(60,\) float64"),
    ({"clicks/count": np.full(60, b"7")}, (), "/clicks: value: expected"),
    ({"clicks": np.ones(3)}, (), r"/clicks must be a group"),
    ({"clicks/queries": np.ones(3)}, (), r"/clicks/queries must be a group"),
    ({"clicks/more": np.ones(3)}, (), r"/clicks holds 5 objects, the format has 4"),
    ({"image/regions": np.ones(3)}, ("image/paths",), r"/image/regions is not part of the data set format"),
    ({}, ("split@kind",), "/split needs the attributes kind and seed"),
    ({}, ("split@seed",), "/split needs the attributes kind and seed"),
    (
        {"split@kind": np.bytes_(b"both")},
        (),
        "split kind: expected seen, unseen, paired, matched, clicks, got 'both'",
    ),
    ({}, ("split/train",), "split train: expected .* got NoneType"),
    ({"split/query": np.array([1, 99])}, (), "split query: row 99 is outside"),
    ({}, ("/@name",), "name: expected str, got NoneType"),
]


@pytest.mark.parametrize(("changes", "removed", "message"), CONTENTS, ids=[entry[2] for entry in CONTENTS])
def test_contents_that_break_the_contract(tmp_path, changes, removed, message):
    rewrite(tmp_path / "x.h5", changes, removed)
    with pytest.raises(DataError, match=message):
        Dataset.load(tmp_path / "x.h5")


def test_newer_version(tmp_path):
    rewrite(tmp_path / "x.h5", {"/@version": 2, "new_things": np.ones(3)})
    with pytest.raises(
        IncompatibleError, match=r"data set format 2 is from a newer version, .* reads up to 1"
    ):
        Dataset.load(tmp_path / "x.h5")


def test_same_content_gives_the_same_bytes(tmp_path):
    full_dataset().save(tmp_path / "x.h5")
    full_dataset().save(tmp_path / "y.h5")
    assert (tmp_path / "x.h5").read_bytes() == (tmp_path / "y.h5").read_bytes()
    shutil.copy(tmp_path / "x.h5", tmp_path / "z.h5")
    npt.assert_array_equal(Dataset.load(tmp_path / "z.h5").ids, full_dataset().ids)
