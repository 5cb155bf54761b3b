"""An index to be damaged, and ways to do it."""

from __future__ import annotations

import re
import shutil
import sqlite3

import numpy as np
from hypothesis import strategies as st
from oracles_index import integer_codebooks, made_up_codes

from spdq.index import Index

COLUMNS = {"label": "str"}
NOTES = {"model_fingerprint": "9c1e", "model_path": "models/a", "attributes": COLUMNS}
REMOVED = (5, 20, 349)
UPDATED = 30
LAST = 349


def kept_index(path, ids="int", name=lambda number: number):
    """A closed index of four segments: 0-9, 10-309, 310-349, and 30 updated; without REMOVED."""
    with Index.create(path, integer_codebooks(), "ip", ids, **NOTES) as index:
        for numbers in (range(10), range(10, 310), range(310, LAST + 1)):
            labels = [f"n{number}" for number in numbers]
            index.add_codes(made_up_codes(numbers), list(map(name, numbers)), {"label": labels})
        index.update_codes(made_up_codes([UPDATED + 1]), [name(UPDATED)], {"label": ["new"]})
        index.remove(list(map(name, REMOVED)))
    return path


def content(index, name=lambda number: number):
    """Code and label by number."""
    index.verify()
    assert len(index) == len(index.ids)
    number_of = {name(number): number for number in range(2000)}
    labels = [item.get("label") for item in index.attributes_of(index.ids)]
    pairs = zip(map(tuple, index.codes.tolist()), labels, strict=True)
    return dict(zip([number_of[one] for one in index.ids.tolist()], pairs, strict=True))


def expected(lost=(), unlabelled=(), removed=REMOVED):
    """What ``content`` must be, without some items or their labels."""
    left = [number for number in range(LAST + 1) if number not in removed and number not in lost]
    codes = made_up_codes([number + (number == UPDATED) for number in left]).tolist()
    labels = [
        None if number in unlabelled else "new" if number == UPDATED else f"n{number}" for number in left
    ]
    return dict(zip(left, zip(map(tuple, codes), labels, strict=True), strict=True))


def file_of(path, place, kind="safetensors"):
    """The file of the segment at a place."""
    connection = sqlite3.connect(path / "catalog.db")
    ((name,),) = connection.execute("SELECT name FROM segments ORDER BY number LIMIT 1 OFFSET ?", (place,))
    connection.close()
    return path / "segments" / f"{name}.{kind}"


def put(file, data):
    """Replace a file's content in place."""
    file.chmod(0o644)
    file.write_bytes(data)


def flip(file, at=-1, mask=1):
    data = bytearray(file.read_bytes())
    data[at] ^= mask
    put(file, data)


def cut(file):
    put(file, file.read_bytes()[:-9])


def empty(file):
    put(file, b"")


def remove(file):
    file.unlink()


def make_folder(file):
    file.unlink()
    file.mkdir()


def tree(path):
    """The names of all files with their bytes."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "writer.lock"
    }


def copied(path, to):
    return shutil.copytree(path, to, symlinks=True)


def usable(path):
    """Open the index for writing, go through everything, and add an item; returns what was there before."""
    with Index.open(path, writable=True) as index:
        found = content(index)
        index.search(np.zeros(6), 5)
        index.add_codes([[0, 0, 0]], attributes={"label": ["more"]})
        assert index.ids[-1] == max(index.ids)
        assert index.attributes_of(index.ids[-1:]) == [{"label": "more"}]
        index.remove(index.ids[-1:])
        assert content(index) == found
    assert Index.repair(path) == []
    return found


def damage_any(file, data):
    """A flipped bit, zeros, or an end, wherever hypothesis likes."""
    raw = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    way = data.draw(st.sampled_from(["flip", "flip", "zeros", "cut"]))
    if way == "flip":
        raw[at] ^= 1 << data.draw(st.integers(0, 7))
    elif way == "zeros":
        raw[at : at + 100] = bytes(len(raw[at : at + 100]))
    put(file, raw[:at] if way == "cut" else raw)


def segment_files(path):
    return sorted((path / "segments").glob("*.safetensors"))


def assert_says(done, *lines):
    """What a repair says, line by line; no line sends to where one comes from."""
    assert len(done) == len(lines), done
    for line, pattern in zip(done, lines, strict=True):
        assert re.fullmatch(pattern, line), line
        assert "spdq index repair" not in line


def aside(path):
    """What was set aside, without the letters that make the names new."""
    names = [re.sub("^[0-9a-f]{8}-", "", file.name) for file in (path / "damaged").iterdir()]
    assert len(set(names)) == len(names)
    return set(names)
