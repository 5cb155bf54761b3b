"""Those who read an index while, or after, another changes it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from changing import LABELLED, holds
from oracles_index import (
    assert_made_up,
    integer_codebooks,
    made_up_codes,
    make_index,
    nearest,
)

from spdq.errors import DamagedError, IncompatibleError, NotFoundError
from spdq.index import Index

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def python(code, *arguments):
    """Start a program."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_refresh(tmp_path):
    path = make_index(tmp_path / "i", attributes=LABELLED)
    with Index.open(path, writable=True) as writer, Index.open(path) as reader:
        assert not writer.refresh()
        assert not reader.refresh()
        changes = (
            lambda: writer.add_codes(made_up_codes([303]), attributes={"label": ["x"]}),
            lambda: writer.remove([0, 303]),
            lambda: writer.update_codes(made_up_codes([7]), [1], {"label": ["y"]}),
            lambda: writer.compact(),
            lambda: writer.remove(writer.ids),
        )
        for change in changes:
            generation, ids, codes = reader.generation, reader.ids.tolist(), reader.codes
            labels = reader.attributes_of(ids)
            change()
            assert (reader.generation, reader.ids.tolist()) == (generation, ids)
            np.testing.assert_array_equal(reader.codes, codes)
            assert reader.attributes_of(ids) == labels
            assert not writer.refresh()
            assert reader.refresh()
            assert not reader.refresh()
            assert reader.generation == writer.generation > generation
            assert reader.ids.tolist() == writer.ids.tolist()
            np.testing.assert_array_equal(reader.codes, writer.codes)
            assert reader.attributes_of(reader.ids) == writer.attributes_of(writer.ids)
    memory = Index(integer_codebooks())
    memory.add_codes(made_up_codes([0]))
    assert memory.refresh() is False


READER = """
import sys
from spdq.index import Index
with Index.open(sys.argv[1]) as index:
    print(index.generation, len(index), flush=True)
    for line in sys.stdin:
        print(index.refresh() if line == "refresh\\n" else None, index.generation, len(index), flush=True)
"""


def test_a_reader_in_another_process(tmp_path):
    path = make_index(tmp_path / "i")
    reader = python(READER, path)

    def ask(line):
        reader.stdin.write(f"{line}\n")
        reader.stdin.flush()
        return reader.stdout.readline().split()

    assert reader.stdout.readline().split() == ["2", "303"]
    with Index.open(path, writable=True) as writer:
        writer.remove([5])
        writer.compact()
        assert ask("look") == ["None", "2", "303"]
        assert ask("refresh") == ["True", "4", "302"]
        assert ask("refresh") == ["False", "4", "302"]
        writer.remove(writer.ids)
        assert ask("look") == ["None", "4", "302"]
        assert ask("refresh") == ["True", "5", "0"]
    assert reader.communicate()[0] == ""
    assert reader.returncode == 0


WRITER = """
import sys, time
from oracles_index import made_up_codes
from spdq.index import Index
with Index.open(sys.argv[1], writable=True) as index:
    print(flush=True)
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        new = len(index)
        index.add_codes(made_up_codes([new]), attributes={"label": [str(new)]})
        index.compact()
"""


def test_readers_open_while_a_writer_compacts(tmp_path):
    path = make_index(tmp_path / "i", adds=(3,), attributes={"label": "str"})
    writer = python(WRITER, path)
    writer.stdout.readline()
    kept = Index.open(path)
    sizes = []
    while writer.poll() is None:
        with Index.open(path) as reader:
            n_items = len(reader)
            assert reader.ids.tolist() == list(range(n_items))
            np.testing.assert_array_equal(reader.codes, made_up_codes(range(n_items)))
            if n_items > 3:
                assert reader.attributes_of([n_items - 1]) == [{"label": str(n_items - 1)}]
        kept.refresh()
        assert_made_up(kept, len(kept))
        assert len(kept) >= n_items
        sizes.append(n_items)
    assert (writer.communicate()[0], writer.returncode) == ("", 0)
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 1


def test_a_missing_file_is_damage_not_a_race(tmp_path):
    for kind in ("safetensors", "db"):
        path = make_index(tmp_path / kind, attributes=LABELLED)
        reader = Index.open(path)
        (file,) = sorted((path / "segments").glob(f"*.{kind}"))[:1]
        file.unlink()
        with pytest.raises(
            DamagedError, match=f'{file}: missing. Run "spdq index repair" or restore the file'
        ):
            Index.open(path)
        with pytest.raises(DamagedError, match="missing"):
            reader.verify()
        assert_made_up_before(reader)


def assert_made_up_before(reader):
    """What was opened before a file went away can still be read."""
    assert reader.ids.tolist() == list(range(303))
    assert reader.attributes_of([0, 302]) == [{"label": None, "tags": None}] * 2
    assert reader.refresh() is False


@pytest.mark.parametrize("moment", ["header", "attributes"])
def test_a_file_that_goes_away_while_it_is_opened(tmp_path, monkeypatch, moment):
    """A writer compacts between two looks at a file: the reader goes on to the next generation."""
    from spdq.index import store

    path = make_index(tmp_path / "i", attributes=LABELLED)
    writer = Index.open(path, writable=True)
    name = {"header": "check_container", "attributes": "map_file"}[moment]
    real, waiting = getattr(store, name), [lambda: writer.compact()]

    def between(file, *rest):
        if moment == "header" and waiting:
            waiting.pop()()
        found = real(file, *rest)
        if moment == "attributes" and waiting and file.suffix == ".db":
            waiting.pop()()
        return found

    monkeypatch.setattr(store, name, between)
    with Index.open(path) as reader:
        assert not waiting
        assert reader.generation == writer.generation == 3
        assert_made_up(reader, 303)
    writer.close()


@pytest.mark.parametrize("other", ["codebooks", "metric", "ids", "attributes"])
def test_another_index_in_the_same_place(tmp_path, other):
    settings = {
        "codebooks": {"quantizer": integer_codebooks(seed=1)},
        "metric": {"metric": "ip"},
        "ids": {"ids": "str"},
        "attributes": {"attributes": LABELLED},
    }
    path = make_index(tmp_path / "i")
    reader = Index.open(path)
    shutil.rmtree(path)
    Index.create(path, **{"quantizer": integer_codebooks()} | settings[other]).close()
    with pytest.raises(IncompatibleError, match=f"{path}: another index has taken its place. Open it anew"):
        reader.refresh()
    assert reader.ids.tolist() == list(range(303))


def test_an_index_made_anew_in_the_same_place(tmp_path):
    path = make_index(tmp_path / "i")
    reader = Index.open(path)
    shutil.rmtree(path)
    make_index(path, adds=(4, 5))
    assert reader.refresh()
    assert_made_up(reader, 9)
    shutil.rmtree(path)
    with pytest.raises(NotFoundError, match=f"index not found: {path}"):
        reader.refresh()
    assert reader.ids.tolist() == list(range(9))


def test_segments_that_did_not_change_are_kept(tmp_path):
    path = make_index(tmp_path / "i", adds=(3, 300, 40))
    with Index.open(path, writable=True) as writer, Index.open(path) as reader:
        for index in (writer, reader):
            old = index._snapshot.segments
            if index is writer:
                writer.remove([4])
                writer.add_codes(made_up_codes([343]))
            else:
                assert reader.refresh()
            new = index._snapshot.segments
            assert [one is other for one, other in zip(old, new, strict=False)] == [True, False, True]
            assert len(new) == 4
            assert np.shares_memory(old[1].blocks, new[1].blocks) == (index is writer)
            assert (len(old[1].ids), len(new[1].ids)) == (300, 299)


def test_threads_that_add_wait_for_each_other(new_index):
    index = new_index()

    def add():
        for _ in range(12):
            index.add_codes([[1, 2, 3]])

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index.verify()
    assert index.ids.tolist() == list(range(48))


def test_threads_search_while_one_changes(new_index):
    index = new_index()
    index.add_codes(made_up_codes(range(600)))
    faults, done = [], threading.Event()

    def search():
        query = np.zeros(6)
        while not done.is_set():
            try:
                _, ids = index.search(query, 999)
                found = ids[0].tolist()
                wrong = nearest(
                    index.codebooks,
                    "l2",
                    made_up_codes(found),
                    found,
                    query[np.newaxis].astype(np.float32),
                    999,
                )
                # Even ids come and go together; odd ones stay.
                evens = sum(one % 2 == 0 for one in found)
                if found != wrong[1][0] or len(found) - evens != 300 or evens not in (0, 300):
                    faults.append(found)
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    evens = range(0, 600, 2)
    for _ in range(8):
        index.remove(evens)
        index.add_codes(made_up_codes(evens), evens)
        index.update_codes(made_up_codes(range(600)), range(600))
        index.compact()
    done.set()
    for thread in threads:
        thread.join()
    assert not faults
    assert holds(index, *range(600))
