from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import ATTRIBUTES, add_made_up, forge, integer_codebooks, made_up_items, make_index, select

from spdq.errors import DamagedError, UsageError
from spdq.index import Index
from spdq.index.attribute_table import pack_attributes
from spdq.index.attributes import shown
from spdq.index.segments import checksum
from spdq.index.store import open_attributes, segment_file


def on_disk(path, n_items=40, n_parts=1):
    with Index.create(path, integer_codebooks(), attributes=ATTRIBUTES) as index:
        add_made_up(index, n_items, n_parts)
    return path


def test_a_path_that_an_address_could_mistake(tmp_path):
    folder = tmp_path / "a?mode=rwc&b#c%20 d'é"
    folder.mkdir()
    path = on_disk(folder / "i?immutable=0")
    with Index.open(path) as index:
        assert select(index, "label = 'l0'") == list(range(0, 40, 3))
        index.verify()


def as_schema(sql):
    return "PRAGMA writable_schema = ON", f"UPDATE sqlite_schema SET sql = '{sql}'"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """An index directory, the bytes of its only file of attributes, and its state."""
    path = on_disk(tmp_path_factory.mktemp("sound") / "i", 300)
    with Index.open(path) as index:
        state = index._snapshot.state
    return path, segment_file(path, state.segments[0].name, "db").read_bytes(), state


@pytest.fixture
def hostile(sound, tmp_path):
    """Open a copy of that index with other attributes and checksums that match them."""

    def put(data):
        path = tmp_path / "hostile"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(sound[0], path)
        overwrite(segment_file(path, sound[2].segments[0].name, "db"), data)
        forge(
            path,
            "UPDATE segments SET attributes_size = ?",
            len(data),
            "UPDATE segments SET attributes_checksum = ?",
            checksum(data),
        )
        return path

    return put


def overwrite(file, data):
    file.unlink()
    file.write_bytes(data)


def edited(data, *statements):
    """A database after some statements."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(data)
    for statement in statements:
        connection.execute(statement)
    changed = connection.serialize()
    connection.close()
    return changed


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE VIEW v AS SELECT * FROM items",),
        ("CREATE TABLE more (x)",),
        ("CREATE INDEX more ON items (year)",),
        ("CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END",),
        ("ALTER TABLE items ADD COLUMN more TEXT",),
        ("ALTER TABLE items RENAME COLUMN year TO jahr",),
        ("ALTER TABLE items RENAME TO more", "CREATE VIEW items AS SELECT * FROM more"),
        ("ALTER TABLE items RENAME TO more",),
        ("DROP TABLE items",),
        ("DROP TABLE items", "CREATE TABLE items (row INTEGER PRIMARY KEY, label, year, score, tags)"),
        as_schema("CREATE VIRTUAL TABLE items USING fts5(label, year, score, tags)"),
        (
            "DROP TABLE items",
            'CREATE VIEW items AS SELECT 1 AS row, 2 AS "label", 3 AS year, 4 AS score, 5 AS tags',
        ),
    ],
)
def test_schemas_that_are_not_ours(sound, hostile, statements):
    path = hostile(edited(sound[1], *statements))
    with pytest.raises(
        DamagedError, match=r"\.db: not the attributes of this index\. Run .spdq index repair. or"
    ):
        Index.open(path)
    with pytest.raises(DamagedError, match="not the attributes of this index"):
        Index.open(path, verify=False)


@pytest.mark.parametrize(
    "data", [b"\0" * 4096, b"not a database " * 400, b"S", b"SQLite format 3\0" + bytes(84)]
)
def test_files_that_are_no_database(hostile, data):
    with pytest.raises(DamagedError, match=r"\.db: .*Run .spdq index repair. or restore the file"):
        Index.open(hostile(data))


MISSING = r"\.db: (a row is missing|expected the rows of 300 items)"


def ask(index):
    index.attributes_of(index.ids)


def compact(index):
    index.remove([0])
    index.compact()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM items",
        "DELETE FROM items WHERE row = 1",
        "DELETE FROM items WHERE row = 300",
        "DELETE FROM items WHERE row = 77",
        "UPDATE items SET row = 301 WHERE row = 300",
        "UPDATE items SET row = row + 1000",
        "UPDATE items SET row = -row",
        "UPDATE items SET row = -9223372036854775807 - 1 WHERE row = 5",
    ],
)
def test_rows_that_are_missing_or_have_other_numbers(sound, hostile, statement):
    path = hostile(edited(sound[1], statement))
    for use in (ask, compact, Index.verify):
        with Index.open(path, writable=True) as index, pytest.raises(DamagedError, match=MISSING):
            use(index)
    index = Index.open(path)
    if "UPDATE" in statement:
        with pytest.raises(DamagedError, match="a row has no item"):
            index.select("1")
    else:
        assert set(index.select("label = 'l1'").tolist()) <= set(range(1, 300, 3))


@pytest.mark.parametrize("row", [0, 301, 2**63 - 1, -(2**63)])
def test_rows_too_many(sound, hostile, row):
    path = hostile(edited(sound[1], f"INSERT INTO items VALUES ({row}, 'l0', 1, 1, '')"))
    with Index.open(path) as index:
        assert index.attributes_of(range(300)) == made_up_items(range(300))
        with pytest.raises(DamagedError, match="a row has no item"):
            index.select("label = 'l0'")
        with pytest.raises(DamagedError, match="expected the rows of 300 items"):
            index.verify()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("year", "'text'"),
        ("year", "x'00'"),
        ("label", "5"),
        ("tags", "5"),
        ("tags", "x'80'"),
        ("score", "x'00'"),
    ],
)
def test_values_of_another_type_than_their_column(sound, hostile, column, value):
    (sql,) = sqlite3_schema(sound[1])
    loose = edited(
        sound[1], *as_schema(sql.replace(" STRICT", "").replace("INTEGER,", ",").replace("TEXT", ""))
    )
    changed = edited(edited(loose, f"UPDATE items SET {column} = {value} WHERE row = 7"), *as_schema(sql))
    path = hostile(changed)
    for use in (ask, compact):
        with (
            Index.open(path, writable=True) as index,
            pytest.raises(DamagedError, match=r"\.db: a row is mis"),
        ):
            use(index)
    for condition in ("has(tags, 'odd')", "label = 'l0'", "year > 5", "score > 5"):
        assert len(Index.open(path).select(condition)) > 50


def sqlite3_schema(data):
    connection = sqlite3.connect(":memory:")
    connection.deserialize(data)
    found = connection.execute("SELECT sql FROM sqlite_schema").fetchone()
    connection.close()
    return found


def test_texts_that_are_not_utf8(sound, hostile):
    data = edited(
        sound[1],
        "UPDATE items SET tags = cast(x'1f80ff1f' as text), label = cast(x'80' as text) WHERE row = 7",
    )
    path = hostile(data)
    with Index.open(path) as index:
        with pytest.raises(DamagedError, match=r"\.db: .*Run .spdq index repair"):
            index.select("has(tags, 'odd')")
        with pytest.raises(DamagedError, match=r"\.db: "):
            index.attributes_of([6])
        assert index.select("label = 'l0'").tolist() == [item for item in range(0, 300, 3) if item != 6]
        with pytest.raises(UsageError, match="no such column"):
            index.select("nowhere")


def test_journals_beside_the_file_are_not_looked_at(sound, tmp_path):
    path = shutil.copytree(sound[0], tmp_path / "i")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name = os.fsencode(victim)
    magic = bytes.fromhex("d9d505f920a163d7")
    file = segment_file(path, sound[2].segments[0].name, "db")
    journal = magic + bytes(504) + len(name).to_bytes(4, "big") + name + len(name).to_bytes(4, "big") + magic
    for kind in ("journal", "wal", "shm"):
        file.with_name(f"{file.name}-{kind}").write_bytes(journal)
    with Index.open(path) as index:
        index.verify()
        assert index.attributes_of(range(300)) == made_up_items(range(300))
    assert victim.read_text() == "precious"
    assert file.read_bytes() == sound[1]


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "gone", "folder", "pipe"])
def test_damaged_files(sound, tmp_path, damage):
    path = shutil.copytree(sound[0], tmp_path / "i")
    file = segment_file(path, sound[2].segments[0].name, "db")
    data = sound[1]
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "pipe":
        os.mkfifo(file)
    elif damage != "gone":
        flipped = data[:-1] + bytes([data[-1] ^ 1])
        file.write_bytes({"flip": flipped, "cut": data[:-1], "longer": data + b"\0", "empty": b""}[damage])
    messages = {
        "flip": "checksum mismatch",
        "gone": "missing",
        "folder": "not a regular file",
        "pipe": "not a regular file",
    }
    message = messages.get(damage, rf"bytes long, expected {len(data)}")
    with pytest.raises(
        DamagedError, match=rf"{file.name}: .*{message}.*Run .spdq index repair. or restore the file"
    ):
        Index.open(path)


def test_files_of_other_segments(tmp_path):
    path = on_disk(tmp_path / "i", 40, 2)
    first, second = sorted((path / "segments").glob("*.db"))
    contents = first.read_bytes(), second.read_bytes()
    overwrite(first, contents[1])
    overwrite(second, contents[0])
    with pytest.raises(DamagedError, match=r"\.db: checksum mismatch"):
        Index.open(path)


def test_verify_finds_damage_that_came_after_opening(tmp_path):
    path = on_disk(tmp_path / "i")
    index = Index.open(path)
    index.verify()
    (file,) = (path / "segments").glob("*.db")
    data = bytearray(file.read_bytes())
    data[-1] ^= 4
    overwrite(file, bytes(data))
    with pytest.raises(DamagedError, match=f"{file.name}: checksum mismatch"):
        index.verify()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found_at_opening(sound, data):
    content = bytearray(sound[1])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path, _, state = sound
    file = segment_file(path, state.segments[0].name, "db")
    overwrite(file, bytes(content))
    try:
        with pytest.raises(DamagedError, match=f"{file.name}: checksum mismatch"):
            Index.open(path)
        read_all(path, state.segments[0], state, False)
    finally:
        overwrite(file, sound[1])


def read_all(path, row, state, verify):
    """Use attributes in every way; only DamagedError may come. Returns the ways that answered."""
    answered = {}

    def attempt(name, use):
        with suppress(DamagedError):
            answered[name] = use()

    attempt("open", lambda: open_attributes(path, row, state, verify))
    if (table := answered.pop("open", None)) is not None:
        for condition in ("label = 'l1'", "year > 2003", "has(tags, 'odd')", "score < 9 or tags like '%x%'"):
            attempt(condition, lambda condition=condition: table.select(condition).shape)
        rows = np.arange(row.n_items)
        attempt("take", lambda: [shown(values, ATTRIBUTES) for values in table.take(rows)])
        attempt("all", lambda: len(pack_attributes(ATTRIBUTES, table.all())) > 0)
        attempt("verify", table.verify)
    return answered


def test_damage_with_checksums_forged_to_match(sound):
    """Nothing but DamagedError comes of it, nothing too short, and what is read keeps to its types."""
    path, content, state = sound
    file = segment_file(path, state.segments[0].name, "db")
    chance = random.Random(4)
    found = 0
    try:
        for _ in range(300):
            changed = bytearray(content)
            page = chance.randrange(len(content) // 4096) * 4096
            at = chance.choice(
                [chance.randrange(len(content)), page + chance.randrange(40), chance.randrange(700)]
            )
            for place in range(at, min(at + chance.choice([1, 1, 4, 60]), len(content))):
                changed[place] = chance.choice([0, 255, changed[place] ^ 1 << chance.randrange(8)])
            overwrite(file, bytes(changed))
            answered = read_all(
                path, replace(state.segments[0], attributes_checksum=checksum(bytes(changed))), state, True
            )
            found += len(answered) < 7
            for name, answer in answered.items():
                if name == "take":
                    assert [type(one) for one in answer] == [dict] * 300
                    for one in answer:
                        for column, kinds in {
                            "label": str,
                            "year": int,
                            "score": float,
                            "tags": list,
                        }.items():
                            assert one[column] is None or type(one[column]) is kinds
                elif name not in ("all", "verify"):
                    assert answer == (300,)
    finally:
        overwrite(file, content)
    assert found > 50


@pytest.mark.parametrize(
    "attributes",
    [
        '{"a\\" INTEGER, \\"b": "int"}',
        '{"a\\"": "int"}',
        '{"row": "int"}',
        '{"a": "int", "A": "int"}',
        '{"\\ud800": "int"}',
        '{"a": ["int"]}',
        '{"": "int"}',
        '["a"]',
        "null",
        "NaN",
        "{",
    ],
)
def test_a_catalogue_that_declares_what_nobody_may(tmp_path, attributes):
    path = make_index(tmp_path / "i", adds=(3,), attributes=ATTRIBUTES)
    forge(path, "UPDATE meta SET value = ? WHERE key = 'attributes'", attributes)
    with pytest.raises(DamagedError, match="unknown metric, kind of ids or attributes"):
        Index.open(path)
    made_without = make_index(tmp_path / "j", adds=())
    forge(made_without, "UPDATE meta SET value = ? WHERE key = 'attributes'", attributes)
    with pytest.raises(DamagedError, match="unknown metric, kind of ids or attributes"):
        Index.open(made_without)
