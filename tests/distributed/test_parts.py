from __future__ import annotations

import json
import os
from dataclasses import asdict, replace

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.distributed.parts import LOCK, MANIFEST, Run, read_part, working_folder, write_part
from spdq.errors import DamagedError, IncompatibleError, LockedError, StorageError, UsageError
from spdq.index.lock import WriterLock
from spdq.models.encoding import Missing

RUN = Run("aa" * 32, 1500, "bb" * 32, "cc" * 32, "unit", 1024, 3)
CODES = np.arange(1500 * 3).astype(np.uint8).reshape(-1, 3)
PARTS = (slice(0, 1024), slice(1024, 1500))
MISSING = Missing(3, 2, 1)


@pytest.fixture
def folder(tmp_path):
    """A folder of a run of which both parts are done."""
    with working_folder(tmp_path / "w", RUN, resume=False):
        for rows in PARTS:
            write_part(tmp_path / "w", RUN, rows.start, CODES[rows], MISSING)
    return tmp_path / "w"


def test_parts_come_back(folder):
    assert sorted(os.listdir(folder)) == ["000000000000.part", "000000001024.part", MANIFEST, LOCK]
    with working_folder(folder, RUN, resume=True):
        for rows in PARTS:
            codes, missing = read_part(folder, RUN, rows)
            npt.assert_array_equal(codes, CODES[rows])
            assert missing == MISSING


def test_a_part_that_is_not_there(folder):
    (folder / "000000001024.part").unlink()
    assert read_part(folder, RUN, PARTS[1]) is None


def test_a_part_of_another_run_or_place_is_none(folder):
    assert read_part(folder, replace(RUN, model="dd" * 32), PARTS[0]) is None
    assert read_part(folder, RUN, slice(0, 1023)) is None
    os.replace(folder / "000000000000.part", folder / "000000001024.part")
    assert read_part(folder, RUN, PARTS[1]) is None


@settings(max_examples=200)
@given(data=st.data())
def test_no_damage_to_a_part_is_overlooked(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    write_part(folder, RUN, 1024, CODES[1024:], MISSING)
    (file,) = folder.iterdir()
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1), "at") :]
    else:
        content[data.draw(st.integers(0, len(content) - 1), "at")] ^= data.draw(st.integers(1, 255), "flip")
    file.unlink()
    file.write_bytes(content)
    assert read_part(folder, RUN, PARTS[1]) is None
    file.unlink()


def test_a_folder_is_not_taken_up_unasked(folder):
    with pytest.raises(
        UsageError, match=r"w holds an encoding that was not finished: go on with --resume, or remove"
    ):
        working_folder(folder, RUN, resume=False).__enter__()


@pytest.mark.parametrize(("name", "value"), [
    ("input", "00" * 32), ("model", "00" * 32), ("codebooks", "00" * 32), ("modality", "text"), ("items", 1501),
    ("chunk", 512), ("code_bytes", 4),
])  # fmt: skip
def test_another_run_is_refused_and_the_folder_stays(folder, name, value):
    with pytest.raises(
        IncompatibleError, match=rf"w is of another run \(other {name}\): give what was given then"
    ):
        working_folder(folder, replace(RUN, **{name: value}), resume=True).__enter__()
    assert len(os.listdir(folder)) == 4


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"{}", json.dumps({**asdict(RUN), "format": "spdq-encoding"}).encode()],
)
def test_a_damaged_manifest(folder, content):
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(DamagedError, match=r"manifest\.json: cannot be read\. Remove its folder"):
        working_folder(folder, RUN, resume=True).__enter__()


def test_a_manifest_of_another_version(folder):
    found = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_text(json.dumps(found | {"version": 2}))
    with pytest.raises(
        IncompatibleError, match=r"manifest\.json: of another version of spdq\. Remove its folder"
    ):
        working_folder(folder, RUN, resume=True).__enter__()


def test_two_processes_do_not_run_one_encoding(folder):
    lock = WriterLock(folder / LOCK)
    with pytest.raises(LockedError, match="already writing to"):
        working_folder(folder, RUN, resume=True).__enter__()
    lock.release()


def test_drafts_of_killed_workers_go(folder):
    (folder / "0123.tmp").touch()
    with working_folder(folder, RUN, resume=True):
        assert not (folder / "0123.tmp").exists()


def test_a_folder_without_parts_goes_with_the_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), working_folder(tmp_path / "w", RUN, resume=False):  # noqa: PT012
        assert (tmp_path / "w" / MANIFEST).exists()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_start_that_was_killed_is_begun_again(tmp_path):
    (tmp_path / "w").mkdir()
    with working_folder(tmp_path / "w", RUN, resume=True):
        assert (tmp_path / "w" / MANIFEST).exists()


def test_a_storage_that_refuses(folder, tmp_path):
    (folder / "000000000000.part").unlink()
    (folder / "000000000000.part").mkdir()
    with pytest.raises(StorageError, match=r"cannot read .*000000000000\.part"):
        read_part(folder, RUN, PARTS[0])
    with pytest.raises(StorageError, match=r"directory; what is in .*w stays: go on with --resume"):
        write_part(folder, RUN, 0, CODES[:1024], MISSING)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="nothing was encoded"):
        working_folder(tmp_path / "file" / "w", RUN, resume=False).__enter__()
