"""Repairs without a catalogue that meet segments of other indexes, or none at all."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from damaged import expected, file_of, kept_index, put, remove, tree, usable
from oracles_index import integer_codebooks, made_up_codes

from spdq.index import Index
from spdq.index.segments import own_checksum


@pytest.fixture
def path(tmp_path):
    return kept_index(tmp_path / "i")


def put_in(path, other):
    """Copy another index's segments into this one."""
    for file in (other / "segments").iterdir():
        shutil.copy(file, path / "segments")
    return sorted(file.stem for file in (other / "segments").glob("*.safetensors"))


OTHERS = {
    "codebooks": lambda path: make_other(path, integer_codebooks(seed=7)),
    "metric": lambda path: make_other(path, integer_codebooks(), metric="l2"),
    "ids": lambda path: make_other(path, integer_codebooks(), ids="str"),
    "attributes": lambda path: make_other(path, integer_codebooks(), attributes={"label": "int"}),
    "model": lambda path: make_other(path, integer_codebooks(), model_fingerprint="77ab"),
}


def make_other(path, codebooks, **settings):
    usual = {
        "metric": "ip",
        "attributes": {"label": "str"},
        "model_fingerprint": "9c1e",
        "model_path": "models/a",
    }
    with Index.create(path, codebooks, **usual | settings) as index:
        for number in range(1000, 1009):
            index.add_codes([[4, 4, 4]], [f"{number}" if index.id_kind == "str" else number])
    return path


@pytest.mark.parametrize("kind", OTHERS)
def test_segments_of_another_index(path, tmp_path, kind):
    other = OTHERS[kind](tmp_path / "other")
    names = put_in(path, other)
    before = tree(path)
    assert Index.repair(path) == []
    assert tree(path) == before
    remove(path / "catalog.db")
    done = Index.repair(path)
    assert done[0].startswith("the catalogue is made anew")
    assert sorted(done[1:-1]) == [
        f"{path / 'segments' / name}.safetensors was set aside (a segment of another index)" for name in names
    ]
    assert done[-1] == "the index now has 350 items in 4 segments"
    assert usable(path) == expected(removed=())


def test_segments_of_an_index_alike(path, tmp_path):
    """No one can tell them from its own: they are as if merged."""
    put_in(path, make_other(tmp_path / "other", integer_codebooks()))
    remove(path / "catalog.db")
    assert Index.repair(path)[1:] == ["the index now has 359 items in 13 segments"]
    alike = dict.fromkeys(range(1000, 1009), ((4, 4, 4), None))
    assert usable(path) == expected(removed=()) | alike
    with Index.open(path, writable=True) as index:
        index.add_codes(made_up_codes([0]))
        index.compact()
    remove(path / "catalog.db")
    Index.repair(path)
    with Index.open(path) as index:
        assert len(index) == 360


def with_header(file, change):
    """Write a segment's header anew; returns the header and the rest."""
    raw = file.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    change(header)
    text = json.dumps(header).encode().ljust(end - 8)
    put(file, len(text).to_bytes(8, "little") + text + raw[end:])
    return header, raw[end:]


def said(**values):
    return lambda header: header["__metadata__"].update(values)


def unsaid(name):
    return lambda header: header["__metadata__"].pop(name)


SENSELESS = {
    "nothing": lambda header: header.clear(),
    "no text": lambda header: header.update(__metadata__=[]),
    **{
        f"no {name}": unsaid(name)
        for name in ("metric", "ids", "attributes", "n_items", "generation", "checksum")
    },
    "metric": said(metric="cosine"),
    "ids": said(ids="uuid"),
    "type": said(attributes='{"label": "blob"}'),
    "name": said(attributes='{"id": "int"}'),
    "list": said(attributes="[]"),
    "null": said(attributes="null"),
    "deep": said(attributes="[" * 9000),
    "number": said(generation=3),
    **{f"generation {text!r}": said(generation=text) for text in ("", "-1", "0", "x", "1" * 30, "1" * 5000)},
    **{f"items {text!r}": said(n_items=text) for text in ("", "0", "-9", "2.5", "9" * 30)},
}


@pytest.mark.parametrize("change", SENSELESS.values(), ids=SENSELESS)
def test_headers_that_make_no_sense(path, change):
    file = file_of(path, 0)
    with_header(file, change)
    remove(path / "catalog.db")
    done = Index.repair(path)
    why = "its header is damaged: its items are lost, how many is not known"
    assert done[1:] == [f"{file} was set aside ({why})", "the index now has 340 items in 3 segments"]
    assert usable(path) == expected(range(10), removed=())


@pytest.mark.parametrize(
    "change",
    [
        said(n_items="11"),
        said(n_items="9"),
        said(generation="9"),
        said(model_path="models/b"),
        said(attributes_checksum="0" * 32),
        said(checksum="0" * 32),
    ],
)
def test_headers_that_were_changed(path, change):
    """They make sense, but are not what was written."""
    file = file_of(path, 0)
    with_header(file, change)
    remove(path / "catalog.db")
    done = Index.repair(path)
    assert any("items of a segment are lost" in line or "a segment of another index" in line for line in done)
    assert usable(path) == expected(range(10), removed=())


def lying(**values):
    """Change the header of a segment as an attacker would: the checksum fits."""

    def change(file):
        header, rest = with_header(file, said(**values))
        with_header(file, said(checksum=own_checksum(header["__metadata__"], rest)))

    return change


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"n_items": "9000"},
            "9000 items of a segment are lost .* expected 9000 codes and ids of this index",
        ),
        ({"ids": "str"}, "was set aside .a segment of another index."),
        ({"attributes_checksum": "0" * 32}, "the attributes of 10 items are lost .* checksum mismatch"),
    ],
)
def test_headers_that_lie(path, values, line):
    file = file_of(path, 0)
    lying(**values)(file)
    remove(path / "catalog.db")
    assert any(re.search(line, done) for done in Index.repair(path))
    unlabelled = range(10) if "attributes_checksum" in values else ()
    assert usable(path) == expected(() if unlabelled else range(10), unlabelled, removed=())


def test_a_generation_that_lies(path):
    """Then the wrong one of two items with one id is taken for the newer one, and nothing else happens."""
    lying(generation="40")(file_of(path, 1))
    remove(path / "catalog.db")
    done = Index.repair(path)
    assert done[1:] == [
        "a segment was set aside (1 items, all of them in newer ones)",
        "the index now has 350 items in 3 segments",
    ]
    found = usable(path)
    assert found.pop(30) == (tuple(made_up_codes([30])[0].tolist()), "n30")
    assert found == {number: item for number, item in expected(removed=()).items() if number != 30}


def test_what_is_no_segment(path):
    folder = path / "segments"
    names = [f"{digit * 32}.safetensors" for digit in "0123"]
    (folder / names[0]).write_text("x")
    (folder / names[1]).symlink_to("nowhere")
    (folder / names[2]).mkdir()
    (folder / names[3]).write_bytes((2**63).to_bytes(8, "little") + b"{}")
    others = ["notes.txt", f"{'4' * 31}.safetensors", f"{'A' * 32}.safetensors", f"{'5' * 32}.tmp"]
    for name in others:
        (folder / name).write_text("x")
    remove(path / "catalog.db")
    done = Index.repair(path)
    assert [line.split(" was set aside")[0] for line in done[1:-1]] == [str(folder / name) for name in names]
    assert all((folder / name).exists() for name in others)
    assert usable(path) == expected(removed=())
