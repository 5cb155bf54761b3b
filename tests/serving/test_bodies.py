"""Bodies: bounded while they stream, strict, one picture at most."""

from __future__ import annotations

import asyncio
import io
import json

import pytest
from PIL import Image

PLAIN = {"content-type": "application/json"}


def chunks(total, size=65536, seen=None):
    async def stream():
        for at in range(0, total, size):
            if seen is not None:
                seen.append(at)
            yield b" " * min(size, total - at)

    return stream()


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_only_json_and_forms_are_read(client, told_problem, kind):
    headers = {} if kind is None else {"content-type": kind}
    detail = told_problem(client("POST", "/v1/search", content=b"{}", headers=headers), 415)
    assert detail.startswith("expected content-type application/json or multipart/form-data")


def test_compressed_bodies_are_refused(client, told_problem):
    answer = client("POST", "/v1/search", content=b"x", headers=PLAIN | {"content-encoding": "gzip"})
    assert "not compressed" in told_problem(answer, 415)


@pytest.mark.parametrize(("raw", "status", "detail"), [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b"\xff", 400, "not JSON: 'utf-8' codec"),
    (b'{"text": NaN}', 400, "not JSON: NaN is no JSON number"),
    (b'{"text": "a", "text": "b"}', 400, "not JSON: an object has a key twice"),
    (b'{"k": ' + b"1" * 5000 + b"}", 400, "not JSON: Exceeds the limit"),
    (b"[]", 422, "expected a JSON object, got list"),
    (b'{"a":' + b"[" * 16 + b"]" * 16 + b"}", 422, "JSON nested deeper than 16"),
    (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", 422, "JSON nested deeper than 16"),
    (b"[" * 200_000, 422, "JSON nested deeper than 16"),
])  # fmt: skip
def test_what_is_no_proper_json(client, told_problem, raw, status, detail):
    answer = client("POST", "/v1/search", content=raw, headers=PLAIN)
    assert detail in told_problem(answer, status)


def test_depth_that_is_allowed_is_judged_by_the_schema(client, told_problem):
    raw = b'{"text":' + b"[" * 15 + b"]" * 15 + b"}"
    assert "/text" in told_problem(client("POST", "/v1/search", content=raw, headers=PLAIN), 422)


def test_a_declared_length_is_refused_before_a_byte_is_read(client, told_problem):
    seen = []
    headers = PLAIN | {"content-length": str(300_000)}
    answer = client("POST", "/v1/search", content=chunks(300_000, seen=seen), headers=headers)
    assert told_problem(answer, 413) == "the body is larger than 262,144 bytes"
    assert seen == []


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30])
def test_a_declared_length_is_not_trusted(client, told_problem, length):
    answer = client("POST", "/v1/search", content=chunks(10), headers=PLAIN | {"content-length": length})
    assert "not JSON" in told_problem(answer, 400)


def test_a_chunked_body_is_counted_while_it_streams(client, told_problem):
    seen = []
    answer = client("POST", "/v1/search", content=chunks(150 << 20, seen=seen), headers=PLAIN)
    assert told_problem(answer, 413) == "the body is larger than 262,144 bytes"
    assert len(seen) <= 6


def test_a_chunked_form_is_counted_while_it_streams(client, told_problem):
    seen = []
    headers = {"content-type": "multipart/form-data; boundary=xx"}

    async def stream():
        yield b'--xx\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        async for chunk in chunks(150 << 20, seen=seen):
            yield chunk

    answer = client("POST", "/v1/search", content=stream(), headers=headers)
    assert told_problem(answer, 413) == "the body is larger than 8,388,608 bytes"
    assert len(seen) <= 130


@pytest.mark.parametrize(("given", "status", "detail"), [
    ({"files": [("image", b"a"), ("image", b"b")]}, 413, "Too many files"),
    ({"files": [("image", b"a")], "data": {f"x{n}": "1" for n in range(1001)}}, 413, "Too many fields"),
    ({"files": [("image", b"a")], "data": {"json": "x" * 300_000}}, 413, "Part exceeded"),
    ({"files": [("image", b"a")], "data": {"other": "1"}}, 422, "got also 'other'"),
    ({"files": [("image", b"a")], "data": {"json": ['{"k": 1}', '{"k": 2}']}}, 422, "got also 'json'"),
    ({"files": [("photo", b"a")]}, 422, "got also 'photo'"),
    ({"files": [("json", b"a")]}, 422, "got also 'json'"),
    ({"files": [("image", b"a")], "data": {"json": "{"}}, 400, "not JSON"),
    ({"files": [("image", b"")]}, 422, "not a JPEG, PNG or WebP picture"),
    ({"content": b"--xx\r\n", "headers": {"content-type": "multipart/form-data"}}, 400, "Missing boundary"),
    ({"content": b"nonsense", "headers": {"content-type": "multipart/form-data; boundary=xx"}}, 400, "multipart"),
    ({"content": b"--xx\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n{}\r\n--xx--\r\n",
      "headers": {"content-type": "multipart/form-data; boundary=xx"}}, 422, "expected a file image"),
])  # fmt: skip
def test_forms_that_are_refused(client, told_problem, given, status, detail):
    assert detail in told_problem(client("POST", "/v1/search", **given), status)


@pytest.mark.parametrize(("size", "detail"), [
    ((4001, 4000), "4001x4000 is above 16 megapixels"),
    ((8193, 8), "8193x8 is above 8192 pixels a side"),
])  # fmt: skip
def test_pictures_are_bounded_before_they_are_decoded(client, told_problem, size, detail):
    file = io.BytesIO()
    Image.new("1", size).save(file, "PNG")
    answer = client("POST", "/v1/search", files={"image": file.getvalue()})
    assert detail in told_problem(answer, 422)


def test_a_body_that_comes_too_slowly(serving, told_problem):
    async def stream(begun):
        yield begun
        await asyncio.sleep(30)

    with serving(body_seconds=0.05) as client:
        for kind, begun in (("application/json", b"{"), ("multipart/form-data; boundary=xx", b"--xx")):
            answer = client("POST", "/v1/search", content=stream(begun), headers={"content-type": kind})
            assert told_problem(answer, 408) == "the body did not arrive within 0.05 s"
            assert answer.headers["connection"] == "close"


def test_so_many_pictures_at_once(serving, told_problem, png):
    async def slow():
        yield b'--xx\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        await asyncio.sleep(0.3)
        yield png(0) + b"\r\n--xx--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=xx"}
    with serving(uploads=2) as client:
        requests = [("POST", "/v1/search", {"content": slow(), "headers": headers}) for _ in range(3)]
        answers = client.at_once(*requests, ("POST", "/v1/search", {"json": {"text": "red"}}))
        assert sorted(answer.status_code for answer in answers[:3]) == [200, 200, 503]
        (refused,) = (answer for answer in answers if answer.status_code == 503)
        assert "2 pictures are being received" in told_problem(refused, 503)
        assert answers[3].status_code == 200
        told_problem(client("POST", "/v1/search", files={"image": png(0)}), 200)


def test_a_client_that_leaves(serving, told_problem):
    """ASGI servers say so in place of the rest of the body."""
    sent = []

    async def left():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    with serving() as client:
        app = client._http._transport.app
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/search",
            "raw_path": b"/v1/search",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
        }
        client._runner.run(app(scope, left, send))
    assert sent[0]["status"] == 400
    assert json.loads(sent[1]["body"])["detail"] == "the request ended before its body did"
