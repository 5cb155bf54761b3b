"""Repairs that are disturbed, repeated, or meet what is not of this index."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from itertools import count

import numpy as np
import pytest
from damaged import content, copied, cut, expected, file_of, flip, kept_index, put, remove, tree, usable
from oracles_index import made_up_codes, make_index

from spdq.errors import DamagedError, LockedError, NotFoundError, StorageError
from spdq.index import Index

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
CALLS = ("replace", "rename", "link", "mkdir", "unlink", "fsync", "write")


@pytest.fixture
def path(tmp_path):
    return kept_index(tmp_path / "i")


def lose_everything_once(path):
    """One of each: a segment, attributes and the catalogue."""
    flip(file_of(path, 0))
    cut(file_of(path, 1, "db"))
    put(path / "catalog.db", b"no database" * 999)


DAMAGES = {
    "segment": (lambda path: flip(file_of(path, 1)), expected({*range(10, 310)} - {30})),
    "attributes": (lambda path: flip(file_of(path, 2, "db")), expected((), range(310, 350))),
    "catalogue": (lambda path: remove(path / "catalog.db"), expected(removed=())),
    "all": (lose_everything_once, expected(range(10), {*range(10, 310)} - {30}, removed=())),
    "header": (lambda path: flip(path / "catalog.db", 18, 2), expected()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_repair_that_was_killed_is_finished_by_another(path, tmp_path, monkeypatch, damage):
    """What a kill would leave is what lies there before each call that changes files."""
    DAMAGES[damage][0](path)
    before = set(tree(path).values())
    copies = []
    real = {name: getattr(os, name) for name in CALLS}

    def copying(name):
        def call(*given, **named):
            with monkeypatch.context() as plain:
                for one in CALLS:
                    plain.setattr(os, one, real[one])
                copies.append(copied(path, tmp_path / f"{len(copies)} {name}"))
            return real[name](*given, **named)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, copying(name))
    Index.repair(path)
    monkeypatch.undo()
    assert usable(path) == DAMAGES[damage][1]
    assert len(copies) >= 4
    for copy in copies:
        Index.repair(copy)
        assert usable(copy) == DAMAGES[damage][1], copy.name
        assert not list(copy.glob("*.tmp*"))
        assert before <= set(tree(copy).values()) | set(tree(path).values()) | {b""}, copy.name
        shutil.rmtree(copy)


def repair_and_die(path, nth):
    """In a child: end at the nth call that gives a file another name."""
    real, calls = {name: getattr(os, name) for name in ("replace", "rename")}, count()

    def dying(name):
        return lambda *given: os._exit(9) if next(calls) == nth else real[name](*given)

    for name in real:
        setattr(os, name, dying(name))
    try:
        Index.repair(path)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_repair_that_really_is_killed(path):
    DAMAGES["all"][0](path)
    ends = []
    while not ends or ends[-1] == 9:
        child = os.fork()
        if child == 0:
            repair_and_die(path, len(ends) // 2)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert ends == [9] * (len(ends) - 1) + [0]
    assert len(ends) > 3
    assert usable(path) == DAMAGES["all"][1]


@pytest.mark.parametrize("name", ["replace", "rename", "link", "mkdir", "fsync", "write"])
def test_storage_that_refuses(path, tmp_path, monkeypatch, name):
    DAMAGES["all"][0](path)
    real = getattr(os, name)
    for nth in count():
        copy = copied(path, tmp_path / f"{nth}")
        calls = count()

        def refuse(*given, calls=calls, nth=nth, **named):
            if next(calls) == nth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(os, name, refuse)
            try:
                Index.repair(copy)
                break
            except StorageError as error:
                message = str(error)
        assert message == "no space left on device; the repair did not finish: run it again"
        Index.repair(copy)
        assert usable(copy) == DAMAGES["all"][1]
    assert nth >= 1


def test_a_writer_is_not_disturbed(path):
    flip(file_of(path, 1, "db"))
    before = tree(path)
    with (
        Index.open(path, writable=True, verify=False),
        pytest.raises(LockedError, match=f"this process is already writing to {path}"),
    ):
        Index.repair(path)
    code = "import sys; from spdq.index import Index; one = Index.open(sys.argv[1], True, False); print(flush=True)"
    writer = subprocess.Popen(
        [sys.executable, "-c", f"{code}; sys.stdin.read()", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    writer.stdout.readline()
    remove(path / "catalog.db")
    with pytest.raises(LockedError, match=rf"another process \(pid {writer.pid}\) is writing to {path}"):
        Index.repair(path)
    writer.kill()
    writer.communicate()
    assert not (path / "damaged").exists()
    assert tree(path).items() <= before.items()
    assert len(Index.repair(path)) == 3
    assert usable(path) == expected((), {*range(10, 310)} - {30}, removed=())


def test_the_lock_is_given_back(path):
    flip(path / "codebooks.safetensors")
    with pytest.raises(DamagedError, match="codebooks"):
        Index.repair(path)
    flip(path / "codebooks.safetensors")
    Index.open(path, writable=True).close()
    assert Index.repair(path) == []
    Index.open(path, writable=True).close()


def test_readers_go_on_during_a_repair(path):
    reader = Index.open(path)
    assert content(reader) == expected()
    remove(path / "catalog.db")
    with pytest.raises(DamagedError, match=r"catalog\.db: missing"):
        reader.refresh()
    Index.repair(path)
    assert reader.ids.tolist() == list(expected())
    # The removals are lost, and so is how many changes there had been: it is another state all the same.
    assert reader.generation == 5
    assert reader.refresh()
    assert reader.generation == 5
    assert content(reader) == expected(removed=())
    assert not reader.refresh()


def test_what_may_not_be_read_is_no_damage(unprivileged):
    path = kept_index(unprivileged.folder / "i")
    file, attributes = file_of(path, 0), file_of(path, 1, "db")
    for one in (path, path / "segments", path / "writer.lock", path / "catalog.db"):
        one.chmod(0o777)
    for secret, kept in ((file, path / "catalog.db"), (attributes, None), (file, None)):
        held = (path / "catalog.db").read_bytes()
        if kept:
            remove(kept)
        secret.chmod(0)
        with unprivileged(), pytest.raises(NotFoundError, match=f"permission denied: {secret}"):
            Index.repair(path)
        secret.chmod(0o444)
        (path / "catalog.db").write_bytes(held)
        (path / "catalog.db").chmod(0o777)
    assert not (path / "damaged").exists()
    assert usable(path) == expected()


def test_a_catalogue_that_may_not_be_written_is_no_damage(unprivileged):
    """A killed writer's journal cannot be undone: that is no reason to forget what was removed."""
    made = kept_index(unprivileged.folder / "made")
    writer = sqlite3.connect(made / "catalog.db", isolation_level=None)
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    writer.executemany("INSERT INTO meta VALUES (?, 'x')", [(f"more {number}",) for number in range(9000)])
    path = copied(made, unprivileged.folder / "i")
    writer.execute("ROLLBACK")
    writer.close()
    for one in (path, path / "segments", path / "writer.lock"):
        one.chmod(0o777)
    (path / "catalog.db").chmod(0o444)
    (path / "catalog.db-journal").chmod(0o444)
    before = tree(path)
    with unprivileged(), pytest.raises(StorageError, match=r"catalog.db: cannot be written"):
        Index.repair(path)
    assert tree(path) == before
    (path / "catalog.db").chmod(0o644)
    assert Index.repair(path) == []
    assert usable(path) == expected()


def test_a_catalogue_without_the_right_to_write(unprivileged):
    path = make_index(unprivileged.folder / "i")
    for one in (path, path / "segments", path / "writer.lock"):
        one.chmod(0o777)
    (path / "catalog.db").chmod(0o444)
    with unprivileged():
        for opening in (lambda: Index.open(path, writable=True), lambda: Index.repair(path)):
            with pytest.raises(StorageError, match=r"catalog.db: cannot be written"):
                opening()
        with Index.open(path) as index:
            assert len(index) == 303


def test_a_directory_that_may_not_be_written(unprivileged):
    path = kept_index(unprivileged.folder / "i")
    flip(file_of(path, 0))
    for file in [path, *path.rglob("*")]:
        file.chmod(0o555)
    with unprivileged(), pytest.raises(StorageError, match=r"writer.lock: cannot be locked for writing"):
        Index.repair(path)
    path.chmod(0o755)


def test_lost_attributes_of_removed_items_are_not_counted(tmp_path):
    path = make_index(tmp_path / "i", adds=(10,), attributes={"label": "str"})
    with Index.open(path, writable=True) as index:
        index.remove([0, 9])
    file = file_of(path, 0, "db")
    remove(file)
    assert Index.repair(path) == [
        f"the attributes of 8 items are lost ({file}: missing)",
        "the index now has 8 items in 1 segments",
    ]
    with Index.open(path, writable=True) as index:
        np.testing.assert_array_equal(index.codes, made_up_codes(range(1, 9)))
        index.compact()
        assert index.attributes_of([1, 8]) == [{"label": None}] * 2
