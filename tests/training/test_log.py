from __future__ import annotations

import json

import pytest

from spdq.errors import StorageError
from spdq.training.log import LOG, TrainingLog, read_log

ENTRIES = [{"step": step, "loss": 1 / step, "note": "größer"} for step in (50, 100, 150)]


def written(directory):
    log = TrainingLog(directory)
    for entry in ENTRIES:
        log.add(entry)
    return directory / LOG


def test_one_object_a_line(tmp_path):
    path = written(tmp_path)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == ENTRIES
    assert read_log(path) == ENTRIES


def test_without_a_directory_entries_are_only_kept():
    log = TrainingLog(None)
    log.add(ENTRIES[0])
    assert log.entries == ENTRIES[:1]


@pytest.mark.parametrize(("step", "kept"), [(50, 1), (100, 2), (120, 2), (150, 3), (999, 3)])
def test_resuming_drops_later_entries(tmp_path, step, kept):
    path = written(tmp_path)
    log = TrainingLog(tmp_path, from_step=step)
    assert log.entries == ENTRIES[:kept]
    assert read_log(path) == ENTRIES[:kept]
    log.add({"step": 1000})
    assert read_log(path) == [*ENTRIES[:kept], {"step": 1000}]


def test_a_new_run_starts_an_empty_log(tmp_path):
    path = written(tmp_path)
    assert TrainingLog(tmp_path).entries == []
    assert path.read_bytes() == b""


def test_resuming_without_a_log_starts_one(tmp_path):
    assert TrainingLog(tmp_path, from_step=50).entries == []
    assert (tmp_path / LOG).read_bytes() == b""


def test_an_unfinished_last_line_is_dropped(tmp_path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    assert read_log(path) == ENTRIES[:2]
    log = TrainingLog(tmp_path, from_step=150)
    log.add(ENTRIES[2])
    assert read_log(path) == ENTRIES


def test_a_refused_write_is_said(tmp_path):
    (tmp_path / LOG).mkdir()
    with pytest.raises(StorageError, match=rf"cannot write .*{LOG}: "):
        TrainingLog(tmp_path)


def test_a_refused_append_is_said(tmp_path):
    log = TrainingLog(tmp_path)
    (tmp_path / LOG).unlink()
    (tmp_path / LOG).mkdir()
    with pytest.raises(StorageError, match=rf"cannot write .*{LOG}: "):
        log.add(ENTRIES[0])
