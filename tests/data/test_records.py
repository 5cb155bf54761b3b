import pytest

from spdq.data.records import parse_json, storable, text_field
from spdq.errors import DataError


def test_json_and_its_errors():
    assert parse_json('{"a": ["é", null]}', "here") == {"a": ["é", None]}
    for text in ("", "{", "[1,]", "[" * 100_000, "1" * 5000):
        with pytest.raises(DataError, match=r"^here: not JSON \("):
            parse_json(text, "here")


def test_text_fields():
    record = {"name": "木", "size": 3, "none": None}
    assert text_field(record, "name", "here") == "木"
    for field, got in (("size", "int"), ("none", "nothing"), ("other", "nothing")):
        with pytest.raises(DataError, match=f"here: {field}: expected text, got {got}"):
            text_field(record, field, "here")


def test_what_no_data_set_can_store():
    assert storable("\u2028 \U0001f600", "here") == "\u2028 \U0001f600"
    with pytest.raises(DataError, match="here: a NUL character"):
        storable("a\0", "here")
    with pytest.raises(DataError, match="here: a lone surrogate"):
        storable("a\udfff", "here")
