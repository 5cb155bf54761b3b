"""Searches that there is no place for: refused before they are parsed, as the route would refuse them."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from spdq.serving.pool import Pool
from spdq.serving.protocol import timed
from spdq.serving.shedding import Shedding, searched

BODY = b'{"text": "red"}'


def request(path="/v1/search", body=BODY, extra="", length=None, method="POST"):
    length = len(body) if length is None else length
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{extra}\r\n"
    return head.encode() + body


class Counted:
    """What is told to the figures."""

    def __init__(self):
        self.told = []

    def answered(self, method, route, status, seconds):
        assert 0 <= seconds < 1
        self.told.append((method, route, status))


def shedding(taken):
    pool = Pool("tried", 1, 2)
    pool.close()
    pool.taken = taken
    return Shedding(pool, Counted())


def parsed(raw):
    """Status, headers and JSON of the bytes of one answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    response = connection.next_event()
    content = connection.next_event().data
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
    return response.status_code, dict(response.headers), json.loads(content)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/search/batch"])
def test_a_search_is_refused_while_all_places_are_taken(path):
    assert searched(request(path)) == path
    assert shedding(2).refusal(path) is None
    full = shedding(3)
    status, headers, problem = parsed(full.refusal(path))
    assert (status, problem["status"]) == (503, 503)
    assert problem["detail"] == "3 requests are under way or waiting, which is the most"
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert int(headers[b"retry-after"]) > 0
    assert full._metrics.told == [("POST", path, 503)]


@pytest.mark.parametrize("data", [
    request("/v1/items"), request("/v1/searches"), request(method="GET"), request(length=3), request(length=99),
    request()[:-1], request()[:40], request() + request(), b"", b"\x16\x03\x01", request(length="+15"),
    request(extra="Content-Length: 15\r\n"), request(extra="CONNECTION: close\r\n"),
    request(extra="Transfer-Encoding: chunked\r\n"),
])  # fmt: skip
def test_all_else_is_read_as_ever(data):
    assert searched(data) is None


def test_searches_on_their_way_to_a_place_count():
    some = shedding(0)
    some.under_way = 2
    assert some.refusal("/v1/search") is None
    some.under_way = 3
    assert parsed(some.refusal("/v1/search"))[0] == 503
    some.under_way = 0
    assert some.refusal("/v1/search") is None


def on_a_connection(tried, **given):
    """Run ``tried(reader, writer, state)`` on a connection to an app that answers "ok"."""
    state = SimpleNamespace(shedding=shedding(0), seen=[])

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        state.seen.append(state.shedding.under_way)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def inside():
        given_all = {"header_seconds": 5, "body_seconds": 5, "send_seconds": 5, "most": 9} | given
        protocol = timed(**given_all, shedding=state.shedding)
        config = uvicorn.Config(app, http=protocol, timeout_keep_alive=1, log_config=None)
        config.load()
        server_state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=server_state, app_state={}), "127.0.0.1", 0
        )
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            async with asyncio.timeout(20):
                await tried(reader, writer, state)
            writer.close()
            await writer.wait_closed()

    asyncio.run(inside())


async def status(reader):
    """The status of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return int(head.split()[1])


def test_a_connection_goes_on_after_refusals():
    async def tried(reader, writer, state):
        for full in (True, True, False, False, True, False):
            state.shedding._pool.taken = 3 if full else 0
            writer.write(request())
            assert await status(reader) == (503 if full else 200)
        assert state.seen == [1, 1, 1]
        assert state.shedding.under_way == 0

    on_a_connection(tried)


def test_after_a_refusal_a_connection_is_idle():
    """Neither is the time for a head running, nor is it kept for ever."""

    async def tried(reader, writer, state):
        state.shedding._pool.taken = 3
        writer.write(request())
        assert await status(reader) == 503
        await asyncio.sleep(0.5)
        writer.write(request())
        assert await status(reader) == 503
        assert await reader.read() == b""

    on_a_connection(tried, header_seconds=0.3)


def test_a_request_in_pieces_is_read():
    async def tried(reader, writer, state):
        state.shedding._pool.taken = 3
        writer.write(request()[:30])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(request()[30:])
        assert await status(reader) == 200
        assert state.seen == [0]

    on_a_connection(tried)
