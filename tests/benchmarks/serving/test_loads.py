"""Loads against small servers of known manners."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from spdq_benchmarks.serving.connections import Connections, post
from spdq_benchmarks.serving.loads import Answers, Log, closed_loop, open_loop, summary

REQUEST = post("/v1/search", b'{"text": "a"}')
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"


@asynccontextmanager
async def answering(*pieces_of):
    """A server whose n-th request gets the n-th pieces, over and over; it counts requests and connections."""
    seen = {"requests": 0, "connections": 0, "bodies": []}
    serving = []

    async def serve(reader, writer):
        seen["connections"] += 1
        serving.append(asyncio.current_task())
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                seen["bodies"].append(await reader.readexactly(length))
                pieces = pieces_of[seen["requests"] % len(pieces_of)]
                seen["requests"] += 1
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)
                if not pieces or b"close" in pieces[0]:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        await asyncio.gather(*serving)


def test_statuses_and_kept_connections():
    async def inside():
        async with answering([OK], [BUSY], [OK[:20], OK[20:44], OK[44:]], [CLOSE], []) as (port, seen):
            connections = Connections(port, 1)
            assert [await connections.ask(REQUEST) for _ in range(5)] == [200, 503, 200, 200, 0]
            assert seen["connections"] == 2
            assert set(seen["bodies"]) == {b'{"text": "a"}'}
            connections.close()

    asyncio.run(inside())


def test_nobody_listens():
    async def inside():
        async with answering([OK]) as (port, _):
            pass
        assert await Connections(port, 3).ask(REQUEST) == 0

    asyncio.run(inside())


def test_an_open_loop_sends_all_and_does_not_wait():
    async def inside():
        async with answering([OK], [BUSY]) as (port, seen):
            log = await open_loop(port, [REQUEST, post("/v1/search", b"{}")], rate=200, seconds=0.25)
        assert seen["requests"] == len(log.planned) == 50
        assert sorted(log.planned) == [number / 200 for number in range(50)]
        assert sorted(log.status) == [200] * 25 + [503] * 25
        assert seen["connections"] > 1
        assert all(
            planned - 0.002 <= began <= done
            for planned, began, done in zip(log.planned, log.began, log.done, strict=True)
        )
        assert seen["bodies"].count(b"{}") == 25

    asyncio.run(inside())


def test_a_closed_loop_has_as_many_connections_as_clients():
    async def inside():
        async with answering([OK], [BUSY]) as (port, seen):
            began = time.perf_counter()
            rate = await closed_loop(port, [REQUEST], clients=3, seconds=0.2)
            most = time.perf_counter() - began
        assert seen["connections"] == 3
        # Every other request is answered 200; the time that the rate is of lies between the two.
        answered = (seen["requests"] + 1) // 2
        assert answered / most <= rate <= answered / 0.2

    asyncio.run(inside())


def test_a_summary_counts_from_the_plan():
    log = Log()
    for planned, began, done, status in (
        (0.0, 0.0, 0.010, 200), (0.1, 0.1, 0.110, 200), (0.2, 0.3, 0.400, 200), (0.3, 0.3, 0.305, 503),
        (0.4, 0.4, 0.5, 0),
    ):  # fmt: skip
        log.note(planned, began, done, status)
    found = summary(log, rate=10, seconds=0.5, slow=50)
    assert (found.rate, found.seconds, found.errors) == (10, 0.5, 1)
    assert (found.accepted.count, found.accepted.p50, found.accepted.most) == (
        3,
        pytest.approx(10),
        pytest.approx(200),
    )
    assert found.refused == Answers(1, pytest.approx(5), pytest.approx(5), pytest.approx(5))
    assert found.late_p99 == pytest.approx(96)
    assert found.trouble_until == 0.4
    assert summary(log, 10, 0.5, slow=500).trouble_until == 0.4


def test_a_summary_of_no_trouble():
    log = Log([0.0], [0.0], [0.001], [200])
    found = summary(log, 1, 1, 50)
    assert found.trouble_until == 0
    assert found.refused == Answers(0, None, None, None)
