from __future__ import annotations

import os
import shutil
import sqlite3
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import ATTRIBUTES, assert_made_up, forge, made_up_codes, make_index

from spdq.errors import DamagedError, IncompatibleError, LockedError, SpdqError, StorageError
from spdq.index import Index, catalogue
from spdq.index.catalogue import MEMORY, Catalogue, Change


def sql(path, *statements):
    connection = sqlite3.connect(path / "catalog.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


@pytest.fixture
def path(tmp_path):
    return make_index(tmp_path / "i")


def test_durable_settings(path):
    with Index.open(path, writable=True) as index, index._store.catalogue() as opened:
        pragmas = ("journal_mode", "synchronous", "trusted_schema", "cell_size_check", "query_only")
        assert [opened._run(f"PRAGMA {name}")[0][0] for name in pragmas] == ["delete", 3, 0, 1, 0]
    with Index.open(path)._store.catalogue() as opened:
        assert opened._run("PRAGMA query_only") == [(1,)]
        with pytest.raises(StorageError, match="cannot be written"):
            opened.commit(Change())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("catalogue") / "i", adds=(3, 300, 40))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_bit_is_found_or_harmless(kept, data):
    """Readers never answer wrongly; writers add or refuse; verify finds what is left."""
    file = kept / "catalog.db"
    content = file.read_bytes()
    changed = bytearray(content)
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        changed[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        changed[at : at + 512] = bytes(len(changed[at : at + 512]))
    file.write_bytes(changed if data.draw(st.integers(0, 5)) else changed[:at])
    try:
        try:
            with Index.open(kept) as index:
                assert index.ids.tolist() == list(range(343))
                np.testing.assert_array_equal(index.codes, made_up_codes(range(343)))
                assert (index.metric, index.stats()["generation"]) == ("l2", 3)
        except SpdqError:
            pass
        try:
            with Index.open(kept, writable=True) as index:
                index.verify()
                index.add_codes(made_up_codes([343, 344]))
                assert_made_up(index, 345)
        except SpdqError:
            pass
    finally:
        file.write_bytes(content)
        (kept / "catalog.db-journal").unlink(missing_ok=True)
        with Index.open(kept, writable=True) as index:
            assert_made_up(index, 343)


def test_a_writer_checks_every_page(path):
    connection = sqlite3.connect(path / "catalog.db")
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'segments'").fetchone()
    connection.close()
    content = bytearray((path / "catalog.db").read_bytes())
    gap = (root - 1) * 4096 + 1  # The page says that it has free bytes where it has none.
    content[gap : gap + 2] = b"\x0f\xf0"
    (path / "catalog.db").write_bytes(content)
    with pytest.raises(DamagedError, match=r"catalog\.db: "):
        Index.open(path, writable=True)
    with pytest.raises(DamagedError, match=r"catalog\.db: "):
        Index.open(path).verify()


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER t AFTER INSERT ON segments BEGIN DELETE FROM meta; END",
        "CREATE VIEW v AS SELECT * FROM meta",
        "CREATE TABLE more (x)",
        "CREATE INDEX more ON segments (size)",
        "ALTER TABLE segments ADD COLUMN more TEXT",
        "DROP TABLE segments",
    ],
)
def test_a_schema_that_is_not_ours(path, change):
    sql(path, change)
    for writable in (False, True):
        with pytest.raises(DamagedError, match=r"catalog.db: its tables are not those of an index"):
            Index.open(path, writable)


def test_a_view_in_the_place_of_the_settings(path):
    sql(path, "ALTER TABLE meta RENAME TO m", "CREATE VIEW meta AS SELECT * FROM m")
    with pytest.raises(DamagedError, match="not a catalogue of an index"):
        Index.open(path)
    (path / "catalog.db").unlink()
    sql(path, "CREATE TABLE other (x)")
    with pytest.raises(DamagedError, match="not a catalogue of an index"):
        Index.open(path)
    (path / "catalog.db").write_bytes(b"not a database " * 100)
    with pytest.raises(DamagedError, match=r"catalog.db: file is not a database. Run .spdq index repair"):
        Index.open(path)


def test_a_change_without_its_digest(path):
    sql(path, "UPDATE meta SET value = 'ip' WHERE key = 'metric'")
    with pytest.raises(DamagedError, match="digest mismatch"):
        Index.open(path)


@pytest.mark.parametrize(
    ("change", "value", "message"),
    [
        ("UPDATE segments SET name = ?", "../../../../etc/passwd", "segment row is not sane"),
        ("UPDATE segments SET n_items = ?", 0, "segment row is not sane"),
        ("UPDATE segments SET size = ?", -1, "segment row is not sane"),
        ("UPDATE segments SET n_items = ?", 2**50, "codes and ids of this index"),
        ("UPDATE segments SET size = ?", 2**50, "bytes long, expected"),
        (
            "UPDATE meta SET value = ? WHERE key = 'generation'",
            "many",
            "setting is missing or of the wrong type",
        ),
        ("UPDATE meta SET value = ? WHERE key = 'ids'", 5, "setting is missing or of the wrong type"),
        ("DELETE FROM meta WHERE key = 'dim'", None, "setting is missing or of the wrong type"),
        (
            "UPDATE meta SET value = ? WHERE key = 'metric'",
            "cosine",
            "unknown metric, kind of ids or attributes",
        ),
        ("UPDATE meta SET value = ? WHERE key = 'attributes'", '{"a": "blob"}', "kind of ids or attributes"),
        ("UPDATE meta SET value = ? WHERE key = 'attributes'", "[" * 5000, "kind of ids or attributes"),
        ("UPDATE meta SET value = ? WHERE key = 'attributes'", '{"a": "int"}', "segment row is not sane"),
        ("UPDATE segments SET number = ?", 2, "segment row is not sane"),
        ("UPDATE segments SET n_measured = ?", -1, "segment row is not sane"),
        ("UPDATE meta SET value = ? WHERE key = 'n_words'", 6, "not the codebooks the catalogue names"),
        (
            "UPDATE meta SET value = ? WHERE key = 'n_codebooks'",
            2**40,
            "not the codebooks the catalogue names",
        ),
    ],
)
def test_a_hostile_catalogue_with_a_right_digest(tmp_path, change, value, message):
    path = make_index(tmp_path / "i", adds=(3,))
    forge(path, change, value)
    with pytest.raises(DamagedError, match=message):
        Index.open(path)


@pytest.mark.parametrize(
    "attributes",
    ['{"label": "str"}', "{}", '{"label": "str", "year": "float", "score": "float", "tags": "set"}'],
)
def test_a_catalogue_that_declares_something_else(tmp_path, attributes):
    path = make_index(tmp_path / "i", adds=(3,), attributes=ATTRIBUTES)
    forge(path, "UPDATE meta SET value = ? WHERE key = 'attributes'", attributes)
    with pytest.raises(DamagedError, match=r"not the attributes of this index|a segment row is not sane"):
        Index.open(path)


@pytest.mark.parametrize(
    "removed", [b"", b"\1", b"\1" * 39, b"\0" * 38, b"\xff" * 37 + b"\x0f", b"\0" * 37 + b"\x10"]
)
def test_bitmaps_that_are_none_of_ours(path, removed):
    forge(path, "UPDATE segments SET removed = ? WHERE number = 2", b"\1" + bytes(37))
    assert len(Index.open(path)) == 302
    forge(path, "UPDATE segments SET removed = ? WHERE number = 2", removed)
    with pytest.raises(DamagedError, match="a segment row is not sane"):
        Index.open(path)


def test_newer_formats(path):
    forge(path, "UPDATE meta SET value = ? WHERE key = 'format'", 2, "CREATE TEMP TABLE x (x)", None)
    with Index.open(path) as index:
        assert_made_up(index, 303)
    with pytest.raises(
        IncompatibleError, match="writing index format 2 needs a spdq of format 2, this one has format 1"
    ):
        Index.open(path, writable=True)
    forge(path, "UPDATE meta SET value = ? WHERE key = 'min_reader'", 2, "CREATE TABLE news (x)", None)
    with pytest.raises(
        IncompatibleError, match="reading index format 2 needs a spdq of format 2, this one has format 1"
    ):
        Index.open(path)


def test_an_old_sqlite(monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 0))
    with pytest.raises(IncompatibleError, match=r"needs SQLite 3\.37"):
        Catalogue.create(MEMORY, {})


def test_a_busy_catalogue(path, monkeypatch):
    monkeypatch.setattr(catalogue, "_BUSY_SECONDS", 0.05)
    index = Index.open(path, writable=True)
    other = sqlite3.connect(path / "catalog.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LockedError, match=r"another process is writing to .*catalog\.db"):
        Index.open(path)
    other.execute("ROLLBACK")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockedError, match="another process is writing"):
        index.add_codes(made_up_codes([303]))
    other.close()
    with pytest.raises(StorageError, match="an earlier write to this index failed: open it anew"):
        index.add_codes(made_up_codes([303]))
    index.close()
    with Index.open(path, writable=True) as index:
        assert len(list((path / "segments").iterdir())) == 2
        index.add_codes(made_up_codes([303]))
        assert_made_up(index, 304)


def hot(path, folder):
    """A copy of the index as a writer killed in the middle of a commit leaves it."""
    writer = sqlite3.connect(path / "catalog.db", isolation_level=None)
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE meta SET value = 99 WHERE key = 'generation'")
    writer.executemany(
        "INSERT INTO meta VALUES (?, ?)", [(f"more {number}", "x" * 50) for number in range(9000)]
    )
    copy = shutil.copytree(path, folder / "hot")
    writer.execute("ROLLBACK")
    writer.close()
    assert (copy / "catalog.db").stat().st_size > (path / "catalog.db").stat().st_size
    return copy


def test_a_reader_undoes_what_a_killed_writer_left(path, tmp_path):
    copy = hot(path, tmp_path)
    with Index.open(copy) as index:
        assert_made_up(index, 303)
    assert not (copy / "catalog.db-journal").exists()


def test_a_killed_writer_on_read_only_storage(unprivileged):
    copy = hot(make_index(unprivileged.folder / "i"), unprivileged.folder)
    for file in [copy, *copy.rglob("*")]:
        file.chmod(0o555)
    with unprivileged(), pytest.raises(StorageError, match=r"cannot be written. If a writer was killed"):
        Index.open(copy)
    copy.chmod(0o755)


def test_a_journal_that_would_delete_another_file(path, tmp_path):
    # With this journal plain SQLite (3.40) does delete the file, whatever is in it.
    victim = tmp_path / "victim"
    victim.write_text("precious")
    magic = bytes.fromhex("d9d505f920a163d7")
    name = os.fsencode(victim)
    header = (magic + struct.pack(">IIIII", 0, 1, 2, 512, 4096)).ljust(512, b"\0")
    record = struct.pack(">I", 1 + 2**30 // 4096) + name + struct.pack(">II", len(name), sum(name)) + magic
    journal = path / "catalog.db-journal"
    journal.write_bytes(header + record)
    for writable in (False, True):
        with pytest.raises(DamagedError, match=r"catalog.db-journal: not the journal of an index"):
            Index.open(path, writable)
    assert victim.exists()
