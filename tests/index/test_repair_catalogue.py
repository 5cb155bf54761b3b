"""Repairs of an index whose catalogue is damaged, or gone."""

from __future__ import annotations

import sqlite3
import struct

import pytest
from damaged import (
    LAST,
    NOTES,
    aside,
    assert_says,
    content,
    copied,
    damage_any,
    empty,
    expected,
    flip,
    kept_index,
    make_folder,
    put,
    remove,
    segment_files,
    tree,
    usable,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import forge, make_index

from spdq.errors import DamagedError, IncompatibleError
from spdq.index import Index


@pytest.fixture
def path(tmp_path):
    return kept_index(tmp_path / "i")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return kept_index(tmp_path_factory.mktemp("repair") / "i")


CATALOGUE_WAYS = {
    "digest": lambda file: flip(file, file.read_bytes().rindex(b"generation") + len("generation")),
    "garbage": lambda file: put(file, b"no database" * 999),
    "cut": lambda file: put(file, file.read_bytes()[:4096]),
    "empty": empty,
    "gone": remove,
    "folder": make_folder,
}


@pytest.mark.parametrize("way", CATALOGUE_WAYS)
def test_a_lost_catalogue(path, way):
    CATALOGUE_WAYS[way](path / "catalog.db")
    with pytest.raises(DamagedError, match=r'catalog\.db: .*Run "spdq index repair"'):
        Index.open(path)
    assert_says(
        Index.repair(path),
        rf"the catalogue is made anew, items removed before are back \({path / 'catalog.db'}: .*\)",
        "the index now has 350 items in 4 segments",
    )
    assert (path / "damaged").exists() == (way != "gone")
    with Index.open(path) as index:
        assert index.metric == "ip"
        assert {name: index.stats()[name] for name in NOTES} == NOTES
        assert index.generation == 5
        assert index.stats()["removed"] == 1  # The older one of the updated item.
    assert usable(path) == expected(removed=())
    assert Index.open(path)._snapshot.state.meta["largest_id"] == LAST + 1


def test_a_lost_catalogue_of_strings(tmp_path):
    def name(number):
        return f"é{number:04}"

    path = kept_index(tmp_path / "i", "str", name)
    remove(path / "catalog.db")
    assert len(Index.repair(path)) == 2
    with Index.open(path, writable=True) as index:
        assert content(index, name) == expected(removed=())
        index.add_codes([[0, 0, 0]], ["a"])
    assert Index.repair(path) == []


def test_a_lost_catalogue_of_plain_items(tmp_path):
    path = make_index(tmp_path / "i", adds=(1, 300, 40))
    remove(path / "catalog.db")
    foreign = segment_files(path)[0].with_suffix(".db")
    foreign.write_text("attributes of an index that has none")
    Index.repair(path)
    with Index.open(path, writable=True) as index:
        assert index.ids.tolist() == list(range(341))
        assert index.metric == "l2"
        assert index.attributes == {}
        assert index.model_fingerprint is None
        assert index.stats()["error"] is None
        index.add_codes([[0, 0, 0]])
        assert index.ids[-1] == 341
        index.verify()


def test_an_update_of_an_update(tmp_path):
    path = make_index(tmp_path / "i", adds=(300,))
    with Index.open(path, writable=True) as index:
        for value in range(1, 5):
            index.update_codes([[value, 0, 0]] * 2, [7, 8])
        index.update_codes([[0, 0, 1]], [8])
        codes = index.codes
        index.add_codes([[2, 2, 2]])
        index.remove([300])
    # What compaction dropped at once is no longer there; what a killed writer left is.
    assert len(segment_files(path)) == 3
    remove(path / "catalog.db")
    assert_says(
        Index.repair(path), "the catalogue is made anew, .*", "the index now has 300 items in 3 segments"
    )
    with Index.open(path, writable=True) as index:
        assert index.codes.tolist() == codes.tolist()
        index.verify()


def test_what_a_killed_writer_left_behind(path, tmp_path):
    """A writer was killed after the commit of a compaction, before it deleted the old segments."""
    before = copied(path, tmp_path / "before")
    with Index.open(path, writable=True) as index:
        index.compact()
    old = segment_files(before)
    for file in old:
        for kind in ("safetensors", "db"):
            file.with_suffix(f".{kind}").rename(path / "segments" / f"{file.stem}.{kind}")
    remove(path / "catalog.db")
    done = Index.repair(path)
    assert done[0].startswith("the catalogue is made anew")
    assert sorted(done[1:-1]) == ["a segment was set aside (1 items, all of them in newer ones)"]
    assert done[-1] == "the index now has 350 items in 4 segments"
    assert usable(path) == expected(removed=())


def test_a_header_that_says_read_only_loses_nothing(path):
    flip(path / "catalog.db", 18, 2)
    with Index.open(path) as index:
        assert len(index) == 347
    with pytest.raises(DamagedError, match="its header says that it is read-only"):
        Index.open(path, writable=True)
    assert_says(
        Index.repair(path),
        r"the catalogue is written anew, all that it says was saved \(.*its header says that it is read-only\)",
        "the index now has 347 items in 4 segments",
    )
    assert usable(path) == expected()


def test_damage_beside_the_tables_loses_nothing(path):
    flip(path / "catalog.db", 39)  # The number of free pages.
    assert_says(
        Index.repair(path),
        r"the catalogue is written anew, all that it says was saved \(.*Main freelist: .*\)",
        "the index now has 347 items in 4 segments",
    )
    assert usable(path) == expected()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_catalogue_with_any_damage(kept, tmp_path_factory, data):
    path = copied(kept, tmp_path_factory.mktemp("any") / "i")
    damage_any(path / "catalog.db", data)
    try:
        done = Index.repair(path)
    except IncompatibleError:  # The damage made a newer format of it.
        return
    is_lost = any("are back" in line for line in done)
    assert usable(path) == (expected(removed=()) if is_lost else expected())


def test_a_journal_that_names_another_file(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    magic, name = bytes.fromhex("d9d505f920a163d7"), str(victim).encode()
    header = (magic + struct.pack(">IIIII", 0, 1, 2, 512, 4096)).ljust(512, b"\0")
    record = struct.pack(">I", 1 + 2**30 // 4096) + name + struct.pack(">II", len(name), sum(name)) + magic
    (path / "catalog.db-journal").write_bytes(header + record)
    assert_says(
        Index.repair(path),
        r"the catalogue is made anew, .*catalog\.db-journal: not the journal of an index\)",
        "the index now has 350 items in 4 segments",
    )
    assert victim.read_text() == "precious"
    assert aside(path) == {"catalog.db", "catalog.db-journal"}
    assert usable(path) == expected(removed=())


@pytest.mark.parametrize("damaged", [False, True])
def test_a_hot_journal(path, tmp_path, damaged):
    """A writer was killed in the middle of a commit."""
    writer = sqlite3.connect(path / "catalog.db", isolation_level=None)
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE segments SET removed = NULL")
    writer.executemany("INSERT INTO meta VALUES (?, 'x')", [(f"more {number}",) for number in range(9000)])
    killed = copied(path, tmp_path / "killed")
    writer.execute("ROLLBACK")
    writer.close()
    assert (killed / "catalog.db-journal").stat().st_size > 512
    if damaged:
        put(killed / "catalog.db", b"no database" * 999)
        done = Index.repair(killed)
        assert_says(done, "the catalogue is made anew, .*", "the index now has 350 items in 4 segments")
        assert "catalog.db" in aside(killed)
    else:
        assert Index.repair(killed) == []
    assert not (killed / "catalog.db-journal").exists()
    assert usable(killed) == (expected(removed=()) if damaged else expected())


def test_a_newer_format_is_no_damage(path):
    forge(path, "UPDATE meta SET value = ? WHERE key = 'format'", 2)
    before = tree(path)
    with pytest.raises(IncompatibleError, match="writing index format 2 needs a spdq of format 2"):
        Index.repair(path)
    assert tree(path) == before
