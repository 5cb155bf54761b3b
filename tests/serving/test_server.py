"""A real server in a process of its own: slow clients, pipelines, ports, and its end."""

from __future__ import annotations

import json
import select
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress

import httpx
import numpy as np
import pytest
from served import server

from spdq.errors import DataError, IncompatibleError, LockedError, NotFoundError, UsageError
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq.serving import Settings, serve
from spdq.serving.server import listen

BODY = b'{"text": "red"}'


def head(length, extra=""):
    lines = f"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}"
    return f"{lines}{extra}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def impatient(made):
    with server(made.index, made.data, header_seconds=0.6, body_seconds=0.6, send_seconds=0.6) as process:
        yield process


def connect(process):
    made = socket.create_connection(("127.0.0.1", process.port), 10)
    made.settimeout(10)
    return made


def rest(connection):
    """All that comes until the other side closes."""
    got = b""
    while chunk := connection.recv(65536):
        got += chunk
    return got


def answer(connection):
    """The status and JSON of one answer with a content-length."""
    got = b""
    while b"\r\n\r\n" not in got:
        chunk = connection.recv(65536)
        assert chunk, got
        got += chunk
    top, _, content = got.partition(b"\r\n\r\n")
    (length,) = (
        int(line.partition(b":")[2])
        for line in top.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(content) < length:
        content += connection.recv(65536)
    return int(top.split()[1]), json.loads(content)


def test_a_real_answer(impatient):
    found = httpx.post(f"{impatient.url}/v1/search", json={"text": "red", "k": 3})
    assert found.status_code == 200
    assert len(found.json()["hits"]) == 3
    assert "server" not in found.headers
    assert httpx.get(f"{impatient.url}/v1/items/100/image").headers["content-type"] == "image/webp"
    assert "process_resident_memory_bytes" in httpx.get(f"{impatient.url}/metrics").text


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_head_that_does_not_end(impatient, begun):
    with connect(impatient) as slow:
        slow.sendall(begun)
        got = rest(slow)
    assert got.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"application/problem+json" in got
    assert b"the head of the request did not arrive within 0.6 s" in got


def test_a_byte_now_and_then_does_not_help(impatient):
    with connect(impatient) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        ended = threading.Event()

        def drip():
            while not ended.wait(0.1):
                try:
                    slow.sendall(b"X: y\r\n")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        got = rest(slow)
        ended.set()
        dripping.join()
    assert got.startswith(b"HTTP/1.1 408 ")


def test_a_head_after_an_answer_has_its_time_too(impatient):
    with connect(impatient) as slow:
        slow.sendall(head(len(BODY)) + BODY)
        assert answer(slow)[0] == 200
        slow.sendall(b"GET / HT")
        assert rest(slow).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_does_not_end(impatient):
    with connect(impatient) as slow:
        slow.sendall(head(100) + b"{")
        got = rest(slow)
    assert got.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 0.6 s" in got


def send_for_ever(connection):
    while True:
        connection.sendall(b" " * 1000)
        time.sleep(0.05)


def test_a_body_that_nobody_wants_is_not_taken_for_ever(impatient):
    with connect(impatient) as slow:
        slow.sendall(head(10**9))
        assert answer(slow)[0] == 413
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            send_for_ever(slow)


def test_answers_that_nobody_takes(impatient):
    """100 answers of a third of a megabyte: more than the buffers between the two hold."""
    query = {"text": "red", "k": 60, "explain": True, "attributes": True}
    asked = json.dumps({"queries": [query] * 32}).encode()
    batch = head(len(asked)).replace(b"/v1/search", b"/v1/search/batch") + asked
    with connect(impatient) as lazy:
        lazy.sendall(batch)
        whole = len(json.dumps(answer(lazy)[1]))
        asking = threading.Thread(target=send_all, args=(lazy, batch * 100))
        asking.start()
        time.sleep(3)
        taken = drained(lazy)
        asking.join()
    assert taken < 50 * whole
    assert httpx.get(f"{impatient.url}/healthz").status_code == 200


def wait_until_reset(connection):
    ended = select.poll()
    ended.register(connection, select.POLLRDHUP)
    assert ended.poll(30_000), "it still waits"


def send_all(connection, content):
    with suppress(OSError):
        connection.sendall(content)


def drained(connection):
    """How many bytes come until the connection ends, one way or the other."""
    taken = 0
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 20):
            taken += len(chunk)
    return taken


def test_a_large_chunked_body(impatient):
    def chunks():
        for _ in range(64):
            yield b" " * 65536

    found = httpx.post(
        f"{impatient.url}/v1/search", content=chunks(), headers={"content-type": "application/json"}
    )
    assert found.status_code == 413
    assert found.json()["detail"] == "the body is larger than 262,144 bytes"


def test_requests_one_after_the_other_and_all_at_once(impatient):
    with connect(impatient) as connection:
        for _ in range(3):
            connection.sendall(head(len(BODY)) + BODY)
            assert answer(connection)[0] == 200
            time.sleep(0.3)
        time.sleep(0.8)  # Longer than a head or a body may take: nothing is being read.
        connection.sendall((head(len(BODY)) + BODY) * 4 + head(len(BODY), "\r\nConnection: close") + BODY)
        assert rest(connection).count(b"HTTP/1.1 200 ") == 5


def test_a_large_head(impatient):
    with connect(impatient) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 17000 + b"\r\n\r\n")
        status, problem = answer(connection)
        assert (status, problem["detail"]) == (400, "not HTTP/1.1")
        assert rest(connection) == b""


def test_more_connections_than_it_takes(made):
    with server(made.index, made.data, connections=2) as process, ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(process)) for _ in range(3))
        third.sendall(head(len(BODY)) + BODY)
        assert answer(third) == (503, {
            "type": "about:blank", "title": "Service Unavailable", "status": 503,
            "detail": "2 connections are open, which is the most",
        })  # fmt: skip
        assert rest(third) == b""
        for connection in (first, second):
            connection.sendall(head(len(BODY)) + BODY)
            assert answer(connection)[0] == 200


def test_two_hosts_are_no_request(impatient):
    with connect(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 400 ")


def test_no_websockets(impatient):
    with connect(impatient) as connection:
        connection.sendall(
            b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        )
        assert rest(connection).startswith(b"HTTP/1.1 404 ")


def wait_until_refused(process):
    for _ in range(100):
        try:
            connect(process).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    pytest.fail("still accepting")


def wait_until_under_way(process, count):
    """Until the server has the heads of so many requests beside the one that asks for that."""
    for _ in range(500):
        if f"spdq_http_requests_under_way {count + 1}.0" in httpx.get(f"{process.url}/metrics").text:
            return
        time.sleep(0.02)
    pytest.fail("they never arrived")


def test_sigterm_lets_requests_under_way_finish(made):
    """All of them, also where there are more than places: nothing new can come."""
    with (
        server(made.index, made.data, threads=1, queue=0) as process,
        connect(process) as idle,
        connect(process) as half,
        ExitStack() as stack,
    ):
        late = [stack.enter_context(connect(process)) for _ in range(6)]
        idle.sendall(head(len(BODY)) + BODY)
        assert answer(idle)[0] == 200
        for connection in late:
            connection.sendall(head(len(BODY)) + BODY[:5])
        half.sendall(b"GET / HT")
        wait_until_under_way(process, 6)
        process.send_signal(signal.SIGTERM)
        wait_until_refused(process)
        assert rest(idle) == b""
        assert rest(half) == b""
        for connection in late:
            connection.sendall(BODY[5:])
        for connection in late:
            got = rest(connection)
            assert got.startswith(b"HTTP/1.1 200 ")
            assert b'"hits"' in got
        assert process.wait(20) == -signal.SIGTERM
        assert process.stderr.read() == ""


def test_sigterm_does_not_wait_for_the_hung(made):
    with server(made.index, made.data, drain_seconds=1) as process, connect(process) as hung:
        hung.sendall(head(100) + b"{")
        wait_until_under_way(process, 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        got = rest(hung)
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"the server is shutting down" in got
        assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_or_none():
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"cannot listen on 127\.0\.0\.1 port {port} \(Address already in use\): choose"
        ):
            listen("127.0.0.1", port)
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1 port 0 \(Cannot assign"):
        listen("192.0.2.1", 0)
    with pytest.raises(UsageError, match=r"port 70000 \(bind\(\): port must be 0-65535"):
        listen("127.0.0.1", 70000)


def test_answers_are_not_held_back():
    """asyncio sets TCP_NODELAY on accepted sockets that say they are TCP, and they say what the listener says."""
    with listen("127.0.0.1", 0) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP


def test_what_keeps_it_from_starting(made, own_index, tmp_path):
    free = Settings(port=0)
    with pytest.raises(NotFoundError, match="none"):
        serve(tmp_path / "none", settings=free)
    with pytest.raises(NotFoundError, match="none"):
        serve(made.index, tmp_path / "none", settings=free)
    with pytest.raises(NotFoundError, match=r"none\.h5"):
        serve(made.index, pictures=tmp_path / "none.h5", settings=free)
    with Index.open(own_index, writable=True), pytest.raises(LockedError, match="writing"):
        serve(own_index, settings=Settings(port=0, allow_writes=True, token="x" * 16))
    words = np.zeros((2, 4, 4), np.float32)
    Index.create(tmp_path / "other", Codebooks(words, "product")).close()
    with pytest.raises(IncompatibleError, match="index was built without a model"):
        serve(tmp_path / "other", made.model, settings=free)
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(DataError, match="not an HDF5 file"):
        serve(made.index, pictures=tmp_path / "text.h5", settings=free)
