from __future__ import annotations

import pytest

from spdq.errors import DataError, NotFoundError
from spdq.index.attribute_files import AttributeFile


@pytest.fixture
def read(tmp_path):
    def write(name, content, kind="int", types=None):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return AttributeFile(path, kind, types)

    return write


def test_json_lines(read):
    file = read(
        "a.jsonl",
        '\ufeff{"id": 3, "year": 2020, "score": 1, "tags": ["a", "b"], "label": "cat"}\n\n'
        '{"id": 1, "year": null, "score": 2.5, "tags": [], "label": "dog"}\r\n',
    )
    assert file.types == {"year": "int", "score": "float", "tags": "set", "label": "str"}
    assert file.columns([1, 2, 3]) == {
        "year": [None, None, 2020],
        "score": [2.5, None, 1],
        "tags": [[], None, ["a", "b"]],
        "label": ["dog", None, "cat"],
    }


def test_csv(read):
    file = read("a.csv", 'id,year,score,label\n1,2020,1,"a, b"\n2,,2.5,\n')
    assert file.types == {"year": "int", "score": "float", "label": "str"}
    assert file.columns([2, 1]) == {"year": [None, 2020], "score": [2.5, 1.0], "label": [None, "a, b"]}


def test_known_types_decide(read):
    types = {"year": "str", "tags": "set"}
    file = read("a.csv", "id,year,tags\nx,2020,a|b\ny,1,\n", "str", types)
    assert file.types == types
    assert file.columns(["x", "y"]) == {"year": ["2020", "1"], "tags": [["a", "b"], None]}
    file = read("a.jsonl", '{"id": "x", "more": 1}\n', "str", types)
    assert file.columns(["x"]) == {
        "year": [None],
        "tags": [None],
        "more": [1],
    }  # The index names the unknown one.


def test_nothing_in_it(read):
    file = read("a.jsonl", "")
    assert (file.types, file.columns([1, 2])) == ({}, {})
    assert read("a.csv", "id,a\n").types == {}
    assert read("b.jsonl", '{"id": 1, "a": null}').types == {"a": "str"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", "{", r"a\.jsonl line 1: not JSON"),
        ("a.jsonl", '{"id": 1}\n[1]', 'line 2: expected an object with an "id"'),
        ("a.jsonl", '{"id": "x"}', "line 1: expected \"id\", an integer, got 'x'"),
        ("a.jsonl", '{"id": true}', "an integer, got True"),
        ("a.jsonl", '{"a": 1}', "an integer, got None"),
        ("a.jsonl", '{"id": 1}\n{"id": 1}', "line 2: duplicate id 1"),
        ("a.jsonl", '{"id": 1, "a": 1}\n{"id": 2, "a": "x"}', "the values of a are not all numbers"),
        ("a.jsonl", '{"id": 1, "a": true}', "the values of a are not all numbers"),
        ("a.jsonl", b'{"id": "\xff"}', "line 1: not UTF-8"),
        ("a.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("a.csv", "", "expected a first line with column names, id among them"),
        ("a.csv", "key,a\n1,2\n", "expected a first line with column names"),
        ("a.csv", "id,a\n1\n", "line 2: expected 2 values"),
        ("a.csv", "id,a\n1,2,3\n", "line 2: expected 2 values"),
        ("a.csv", "id,a\nx,2\n", "expected \"id\", an integer, got 'x'"),
        ("a.csv", 'id,a\n1,"2\n', r"a\.csv line 1: unexpected end of data"),
    ],
)
def test_bad_files(read, name, content, message):
    with pytest.raises(DataError, match=message):
        read(name, content)


def test_values_of_another_type_than_the_index_has(read):
    with pytest.raises(DataError, match="line 2: year must be of type int, got 'soon'"):
        read("a.csv", "id,year\n1,soon\n", types={"year": "int"})


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match="file not found"):
        AttributeFile(tmp_path / "no.csv", "int")
    with pytest.raises(NotFoundError, match="cannot read"):
        AttributeFile(tmp_path, "int")
