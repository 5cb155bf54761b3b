from __future__ import annotations

import errno
import hashlib
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from oracles_index import assert_made_up, forge, integer_codebooks, made_up_codes, make_index
from safetensors.numpy import save

from spdq.errors import DamagedError, DataError, LockedError, NotFoundError, StorageError, UsageError
from spdq.index import Index

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

WRITER = """
import sys
from oracles_index import made_up_codes
from spdq.index import Index
index = Index.open(sys.argv[1], writable=True)
print(len(index), flush=True)
while sys.stdin.readline() if sys.argv[2] == "asked" else True:
    index.add_codes(made_up_codes(range(len(index), len(index) + 7)))
    print(len(index), flush=True)
"""


def start_writer(path, how):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


@pytest.fixture
def path(tmp_path):
    return make_index(tmp_path / "i")


def test_the_layout(path):
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*"))
    assert names[:3] == ["catalog.db", "codebooks.safetensors", "segments"]
    assert names[-1] == "writer.lock"
    assert all(re.fullmatch(r"segments/[0-9a-f]{32}\.safetensors", name) for name in names[3:-1])
    assert sorted(path.parent.iterdir()) == [path]


def test_codebooks_come_back(tmp_path):
    codebooks = integer_codebooks(kind="additive")
    Index.create(tmp_path / "i", codebooks, "ip").close()
    opened = Index.open(tmp_path / "i").codebooks
    assert (opened.kind, opened.fingerprint) == ("additive", codebooks.fingerprint)


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone", "folder"])
def test_damaged_codebooks(path, damage):
    file = path / "codebooks.safetensors"
    content = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage != "gone":
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        file.write_bytes({"flip": flipped, "cut": content[:-1], "longer": content + b"\0"}[damage])
    with pytest.raises(DamagedError, match=r"codebooks\.safetensors: .*Restore the file, from another copy"):
        Index.open(path)


def test_codebooks_of_another_index(path, tmp_path):
    Index.create(tmp_path / "other", integer_codebooks(seed=1)).close()
    (path / "codebooks.safetensors").unlink()
    shutil.copy(tmp_path / "other" / "codebooks.safetensors", path)
    with pytest.raises(DamagedError, match="checksum mismatch"):
        Index.open(path)


@pytest.mark.parametrize("words", [None, np.zeros((3, 5, 2)), np.full((3, 5, 2), np.nan, np.float32)])
def test_hostile_codebooks_with_a_right_checksum(path, words):
    content = (
        b"no container" if words is None else save({"words": words}, {"kind": "product", "fingerprint": ""})
    )
    (path / "codebooks.safetensors").unlink()
    (path / "codebooks.safetensors").write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    forge(path, "UPDATE meta SET value = ? WHERE key = 'codebooks_sha256'", checksum)
    with pytest.raises(DamagedError, match=r"codebooks\.safetensors: cannot be read"):
        Index.open(path)


def test_not_found(tmp_path):
    with pytest.raises(NotFoundError, match=r"index not found: .*nowhere"):
        Index.open(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match=r"is not an index: it has no file catalog\.db"):
        Index.open(tmp_path)
    with pytest.raises(NotFoundError, match=r"directory not found: .*nowhere"):
        Index.create(tmp_path / "nowhere" / "i", integer_codebooks())
    assert list(tmp_path.iterdir()) == []


def test_unreadable_parts(unprivileged):
    path = make_index(unprivileged.folder / "i")
    for name in ("catalog.db", "codebooks.safetensors"):
        (path / name).chmod(0)
        with unprivileged(), pytest.raises(NotFoundError, match=f"permission denied: .*{name}"):
            Index.open(path)
        (path / name).chmod(0o644)


def test_create_takes_no_place_that_is_taken(path, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for taken in (path, tmp_path / "empty", tmp_path / "link"):
        with pytest.raises(UsageError, match=r"already exists: open it with Index.open, or choose another"):
            Index.create(taken, integer_codebooks())
    with Index.open(path) as index:
        assert_made_up(index, 303)


def test_a_reader_does_not_write(path):
    with Index.open(path) as index:
        for add in (lambda: index.add(np.zeros((1, 6))), lambda: index.add_codes([[0, 0, 0]])):
            with pytest.raises(UsageError, match=r"open for reading: use Index.open\(path, writable=True\)"):
                add()


def test_readers_keep_their_snapshot(path):
    with Index.open(path, writable=True) as writer:
        reader = Index.open(path)
        writer.add_codes(made_up_codes(range(303, 400)))
        later = Index.open(path)
        assert_made_up(reader, 303)
        assert_made_up(later, 400)
        assert (reader.stats()["generation"], later.stats()["generation"]) == (2, 3)
        assert reader.search(np.zeros(6), 999)[1].shape == (1, 303)
    shutil.rmtree(path)
    assert reader.search(np.zeros(6), 999)[1].shape == (1, 303)


def test_one_writer_at_a_time(path):
    with (
        Index.open(path, writable=True) as writer,
        pytest.raises(LockedError, match=f"this process is already writing to {path}"),
    ):
        Index.open(path, writable=True)
    del writer
    other = start_writer(path, "asked")
    other.stdout.readline()
    with pytest.raises(LockedError, match=rf"another process \(pid {other.pid}\) is writing to {path}"):
        Index.open(path, writable=True)
    Index.open(path).close()
    other.kill()
    other.communicate()
    Index.open(path, writable=True).close()


def test_a_forgotten_writer_gives_up_its_lock(path):
    Index.open(path, writable=True)
    Index.open(path, writable=True).close()


def test_no_writing_across_a_fork(path):
    index = Index.open(path, writable=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            index.add_codes([[0, 0, 0]])
        except UsageError as error:
            os.write(writing, str(error).encode())
        os.read(reading, 0)
        time.sleep(0.5)
        os._exit(0)
    index.close()
    Index.open(path, writable=True).close()  # The child is alive but does not hold the lock.
    message = os.read(reading, 1000).decode()
    assert f"was opened for writing by process {os.getpid()}: open it anew in this one" in message
    os.waitpid(child, 0)


def test_a_killed_writer_loses_nothing_acknowledged(tmp_path):
    path = make_index(tmp_path / "i", adds=())
    chance = random.Random(5)
    acknowledged = 0
    for _ in range(5):
        writer = start_writer(path, "free")
        for _ in range(chance.randrange(2, 30)):
            acknowledged = int(writer.stdout.readline())
        time.sleep(chance.random() * 0.01)
        writer.kill()
        lines = writer.communicate()[0].split()
        acknowledged = max([acknowledged, *map(int, lines)])
        with Index.open(path) as index:
            assert len(index) in (acknowledged, acknowledged + 7)
            assert_made_up(index, len(index))
        with Index.open(path, writable=True) as index:
            assert_made_up(index, len(index))
            named = {f"{row.name}.safetensors" for row in index._snapshot.state.segments}
            assert {file.name for file in (path / "segments").iterdir()} == named
    assert acknowledged > 0


def test_strays_go_and_foreign_files_stay(path):
    segments = path / "segments"
    strays = [segments / f"{'0' * 32}.safetensors", segments / f"{'f' * 32}.tmp"]
    foreign = [segments / "notes.txt", segments / "0.safetensors", path / "README", path / "catalog.db.bak"]
    for file in strays + foreign:
        file.write_text("x")
    with Index.open(path) as index:
        assert_made_up(index, 303)
    assert all(file.exists() for file in strays)
    with Index.open(path, writable=True) as index:
        assert_made_up(index, 303)
    assert [file.exists() for file in strays + foreign] == [False] * 2 + [True] * 4


def test_a_stray_that_cannot_be_removed(path):
    (path / "segments" / f"{'0' * 32}.tmp").mkdir()
    with pytest.raises(StorageError, match="leftovers of a killed writer stay"):
        Index.open(path, writable=True)
    with Index.open(path) as index:
        assert_made_up(index, 303)


def test_read_only_directory(unprivileged):
    path = make_index(unprivileged.folder / "i")
    for file in [path, *path.rglob("*")]:
        file.chmod(0o555)
    with unprivileged():
        with Index.open(path) as index:
            assert_made_up(index, 303)
        with pytest.raises(
            StorageError, match=r"writer.lock: cannot be locked for writing \(Permission denied\)"
        ):
            Index.open(path, writable=True)
        with pytest.raises(StorageError, match="permission denied; no index was created"):
            Index.create(path / "inner", integer_codebooks())
    path.chmod(0o755)


def add_seven(index):
    index.add_codes(made_up_codes(range(len(index), len(index) + 7)))


def calls_of(monkeypatch, name, action):
    """How often ``action`` calls the function ``name`` of ``os``."""
    real, calls = getattr(os, name), []
    with monkeypatch.context() as patch:
        patch.setattr(os, name, lambda *given, **named: (calls.append(given), real(*given, **named))[1])
        action()
    assert calls
    return len(calls)


@contextmanager
def refused(monkeypatch, name, nth, code):
    """The ``nth`` call of the function ``name`` of ``os`` fails with the error ``code``."""
    real, calls = getattr(os, name), count()

    def refuse(*given, **named):
        if next(calls) == nth:
            raise OSError(code, os.strerror(code))
        return real(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, refuse)
        yield


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "open"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_storage_that_refuses(path, monkeypatch, call, code):
    with Index.open(path, writable=True) as index:
        n_calls = calls_of(monkeypatch, call, lambda: add_seven(index))
    for nth in range(n_calls):
        index = Index.open(path, writable=True)
        message = f"{os.strerror(code).lower()}; nothing was changed, index is at generation 3"
        with refused(monkeypatch, call, nth, code), pytest.raises(StorageError, match=message):
            add_seven(index)
        with pytest.raises(StorageError, match="an earlier write to this index failed: open it anew"):
            add_seven(index)
        if nth % 2:
            index.reopen()
        else:
            index.close()
            index = Index.open(path, writable=True)
        with index:
            assert_made_up(index, 310)
            assert len(list((path / "segments").iterdir())) == 3


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "mkdir"])
def test_storage_that_refuses_a_new_index(tmp_path, monkeypatch, call):
    def create(name):
        Index.create(tmp_path / name, integer_codebooks()).close()

    n_calls = calls_of(monkeypatch, call, lambda: create("good"))
    message = "no space left on device; no index was created"
    for nth in range(n_calls):
        with refused(monkeypatch, call, nth, errno.ENOSPC), pytest.raises(StorageError, match=message):
            create("bad")
        assert [file.name for file in tmp_path.iterdir()] == ["good"]


def test_a_catalogue_that_cannot_grow(path):
    index = Index.open(path, writable=True)
    with index._store.catalogue() as opened:
        opened._run("PRAGMA max_page_count=1")
    index.add_codes(made_up_codes(range(303, 50_000)))
    message = "no space left on device; nothing was changed, index is at generation 3"
    with pytest.raises(StorageError, match=message):
        index.remove([49_000])  # Its bitmap of six kilobytes needs pages of its own.
    index.close()
    with Index.open(path, writable=True) as index:
        assert_made_up(index, 50_000)
        assert index.remove([49_999]) == 1
        assert_made_up(index, 49_999)


def test_an_input_output_error_in_the_catalogue(path):
    index = Index.open(path, writable=True)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((path / "catalog.db").stat().st_size, limit[1]))
    try:
        with pytest.raises(
            StorageError, match="disk I/O error; nothing was changed, index is at generation 2"
        ):
            index.add_codes(made_up_codes(range(303, 900)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    index.close()
    with Index.open(path, writable=True) as index:
        assert_made_up(index, 303)


def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.strip()}")
    try:
        fill_and_go_on(disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill_and_go_on(disk: Path):
    path = make_index(disk / "i", adds=())
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(60_000))
    index = Index.open(path, writable=True)

    def fill():
        while True:
            index.add_codes(made_up_codes(range(len(index), len(index) + 500)))

    with pytest.raises(StorageError, match="no space left on device; nothing was changed, index is at gener"):
        fill()
    held = len(index)
    assert held > 0
    assert_made_up(index, held)
    index.close()
    with Index.open(path) as reader:
        assert_made_up(reader, held)
    ballast.unlink()
    with Index.open(path, writable=True) as index:
        index.add_codes(made_up_codes(range(held, held + 500)))
        assert_made_up(index, held + 500)


def test_bad_input_does_not_end_a_writer(path):
    with Index.open(path, writable=True) as index:
        with pytest.raises(DataError, match="duplicate id 5"):
            index.add_codes([[0, 0, 0]], [5])
        index.add_codes(made_up_codes([303]))
        assert_made_up(index, 304)
