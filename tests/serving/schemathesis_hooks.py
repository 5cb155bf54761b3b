"""What schemathesis does beside its own: half of what it asks well is about words, conditions and ids that exist."""

from __future__ import annotations

import zlib

import schemathesis
from schemathesis.generation import GenerationMode

WORDS = ("red", "small blue", "large green n3", "unheard red", "red\nblue")
CONDITIONS = ("number < 20", "colour = 'red' AND has(tags, 'even')", "NOT size = 'large'", "number > 1000")
IDS = ("item 4", "item 8", "a/5", "a/6/image")
ATTRIBUTES = ({}, {"colour": "red", "number": 3, "tags": ["even", "new"]}, {"size": None})
KNOWN = {"text": WORDS, "where": CONDITIONS, "item": IDS, "attributes": ATTRIBUTES}


@schemathesis.hook
def before_call(context, case, kwargs):
    # It judges what is changed anew, which it cannot do beside a file.
    if is_positive(case) and case.media_type == "application/json":
        case.body = sensible(case.body)


@schemathesis.hook
def filter_case(context, case):
    """Leave out lists as the JSON beside a file: they go out as one part an element, [] as none."""
    is_form = case.media_type == "multipart/form-data" and isinstance(case.body, dict)
    return not (is_form and isinstance(case.body.get("json"), list))


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE


def sensible(told):
    """The same with some values, which ones by their own checksums, replaced by ones that the index knows."""
    if isinstance(told, list):
        return [sensible(one) for one in told]
    if not isinstance(told, dict):
        return told
    return {
        name: chosen(KNOWN[name], value)
        if name in KNOWN and isinstance(value, str | dict)
        else sensible(value)
        for name, value in told.items()
    }


def chosen(known, value):
    number = zlib.crc32(repr(value).encode("utf-8", "surrogatepass"))
    return known[number // 2 % len(known)] if number % 2 else value


@schemathesis.check
def what_is_described_is_understood(context, response, case):
    """A request that fits the description is never refused as one that does not: then ``errors`` names the places."""
    if is_positive(case) and response.status_code == 422 and "errors" in response.json():
        raise AssertionError(response.json()["detail"])


@schemathesis.check
def problems_are_told_as_such(context, response, case):
    """In one line; nothing of the server's own is told, and it never fails by a bug."""
    if response.status_code < 400:
        return
    problem = response.json()
    assert problem["status"] == response.status_code
    assert "\n" not in problem["detail"]
    assert "/tmp" not in response.text
    assert response.status_code < 500 or response.status_code in (503, 507)
