from __future__ import annotations

import json

import pytest

from spdq.errors import DamagedError, IncompatibleError, NotFoundError, StorageError
from spdq_benchmarks.record_files import file_name
from spdq_benchmarks.retrieval.records import RETRIEVAL, read_records, record_path, write_record

VERSION = RETRIEVAL.version


def made(**changes):
    record = {
        "key": "abc",
        "dataset": "emoji",
        "training": "half",
        "seed": 2,
        "method": "spdq-paper:no-mmd",
        "bits": 64,
        "coding": "codes",
        "figures": [{"value": None, "each": [0.5, None, 1]}],
    }
    return record | changes


def test_a_record_comes_back(tmp_path):
    path = write_record(tmp_path, made())
    assert path == tmp_path / "records/emoji/half/spdq-paper-no-mmd/s2-64-codes.json"
    assert path == record_path(tmp_path, "emoji", "half", "spdq-paper:no-mmd", 2, 64, "codes")
    assert RETRIEVAL.read(path) == made() | {"format": "spdq-retrieval-record", "version": VERSION}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_all_records_in_order(tmp_path):
    for method in ("b", "a"):
        for bits in (64, 16):
            write_record(tmp_path, made(method=method, bits=bits))
    found = [(record["method"], record["bits"]) for record in read_records(tmp_path)]
    assert found == [("a", 16), ("a", 64), ("b", 16), ("b", 64)]


def test_no_records(tmp_path):
    with pytest.raises(NotFoundError, match=r"no records in .*run `spdq bench retrieval --out` first"):
        list(read_records(tmp_path))
    with pytest.raises(NotFoundError, match=r"none.json: cannot be read"):
        RETRIEVAL.read(tmp_path / "none.json")


def test_another_version_is_refused(tmp_path):
    path = write_record(tmp_path, made())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": VERSION + 1}))
    with pytest.raises(
        IncompatibleError, match=rf"is a record of version {VERSION + 1}, this is version {VERSION}"
    ):
        RETRIEVAL.read(path)
    with pytest.raises(IncompatibleError, match="choose another folder, or delete the old records"):
        list(read_records(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"format":"other"}', "\udcff"])
def test_what_is_no_record(tmp_path, text):
    path = write_record(tmp_path, made())
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DamagedError, match=r"is no record of spdq bench retrieval. Delete it and run again"):
        RETRIEVAL.read(path)


def test_a_record_that_lacks_fields(tmp_path):
    path = write_record(tmp_path, made())
    record = json.loads(path.read_text())
    del record["key"], record["figures"]
    path.write_text(json.dumps(record))
    with pytest.raises(DamagedError, match=r"the record has no key, figures. Delete it and run again"):
        RETRIEVAL.read(path)


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "records").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot make .*records"):
        write_record(tmp_path, made())
    folder = tmp_path / "other"
    record_path(folder, "emoji", "half", "m", 2, 64, "codes").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot write .*s2-64-codes.json"):
        write_record(folder, made(method="m"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spdq-paper:no-mmd", "spdq-paper-no-mmd"),
        ("../a/b c", "-.-a-b-c"),
        ("bücher_2.0", "bücher_2.0"),
        (".", "-"),
    ],
)
def test_names_in_paths(text, expected):
    assert file_name(text) == expected
