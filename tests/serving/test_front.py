"""Hosts, pages of other sites, tokens, headers, and what becomes of bugs."""

from __future__ import annotations

import asyncio

import pytest

from spdq.errors import (
    DamagedError,
    IncompatibleError,
    LockedError,
    MissingExtraError,
    NotFoundError,
    StorageError,
)
from spdq.serving import Settings
from spdq.serving.front import Front
from spdq.serving.metrics import Metrics

TOKEN = "0123456789abcdef"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:8080", "LocalHost", "[::1]:8080", "photos.example:1"]
)
def test_hosts_it_answers_to(serving, told_problem, host):
    with serving(allowed_hosts=("Photos.example",)) as client:
        told_problem(client("GET", "/healthz", headers={"host": host}), 200)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost:x", "localhost:80:80", "[::1", "x" * 500],
)
@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/v1/items/100", "/nowhere"])
def test_hosts_it_does_not_know(client, told_problem, host, path):
    assert told_problem(client("GET", path, headers={"host": host}), 400).startswith("unknown host")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:8081", "", "http://[", "127.0.0.1:8080"]
)
def test_pages_of_other_sites_are_not_answered(client, told_problem, origin):
    answer = client("POST", "/v1/search", json={"text": "red"}, headers={"origin": origin})
    assert "are not answered" in told_problem(answer, 403)
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_is_answered(client, told_problem):
    headers = {"origin": "http://127.0.0.1:8080"}
    told_problem(client("POST", "/v1/search", json={"text": "red"}, headers=headers), 200)
    told_problem(client("OPTIONS", "/v1/search", headers=headers), 405)


def test_every_answer_has_the_security_headers(client):
    for method, path in (
        ("GET", "/healthz"),
        ("GET", "/nowhere"),
        ("POST", "/v1/search"),
        ("GET", "/openapi.json"),
    ):
        headers = client(method, path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/nowhere", 404), ("GET", "/docs", 404), ("GET", "/redoc", 404), ("POST", "/v1/items", 405),
    ("DELETE", "/v1/items/100", 405), ("GET", "/v1/search", 405),
])  # fmt: skip
def test_routes_that_are_not_there(client, told_problem, method, path, status):
    told_problem(client(method, path), status)


def test_a_method_that_nobody_knows(client, told_problem):
    told_problem(client("BREW", "/healthz"), 405)


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("PUT", "/v1/items", "GET, POST"), ("PUT", "/v1/items/100", "DELETE, GET"),
    ("DELETE", "/v1/items/100/image", "GET"), ("POST", "/healthz", "GET"),
])  # fmt: skip
def test_all_methods_of_a_path_are_told(serving, own_index, told_problem, method, path, allowed):
    with serving(own_index, allow_writes=True, token=TOKEN, headers=BEARER) as client:
        answer = client(method, path)
        wanted = " or ".join(allowed.split(", "))
        assert told_problem(answer, 405) == f"expected {wanted}, got {method}"
        assert answer.headers["allow"] == allowed


def test_an_address_that_others_reach_asks_for_the_token(serving, told_problem):
    with serving(host="0.0.0.0", token=TOKEN) as client:
        for headers in (
            {},
            {"authorization": "Bearer 0123456789abcdeX"},
            {"authorization": f"Basic {TOKEN}"},
            {"authorization": TOKEN},
            {"authorization": "Bearer \u00e9".encode("latin-1")},
        ):
            for method, path in (
                ("POST", "/v1/search"),
                ("GET", "/v1/items/100"),
                ("GET", "/metrics"),
                ("GET", "/openapi.json"),
            ):
                answer = client(method, path, headers=headers)
                assert "Authorization: Bearer TOKEN" in told_problem(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
        told_problem(client("GET", "/healthz"), 200)
        told_problem(client("GET", "/readyz"), 200)
        told_problem(client("POST", "/v1/search", json={"text": "red"}, headers=BEARER), 200)
        told_problem(client("GET", "/v1/items/100", headers={"authorization": f"bearer  {TOKEN}"}), 200)


@pytest.mark.parametrize(("error", "status", "detail"), [
    (IncompatibleError("/secret"), 409, "do not belong together"),
    (LockedError("/secret"), 503, "another process is writing"),
    (DamagedError("/secret"), 503, "a file of the index is damaged"),
    (StorageError("/secret"), 507, "the storage refused; nothing was changed"),
    (NotFoundError("/secret"), 500, "internal error"),
    (KeyError("/secret"), 500, "internal error"),
    (MissingExtraError("pip install"), 422, "pip install"),
])  # fmt: skip
def test_what_is_wrong_with_the_server_stays_in_its_log(serving, told_problem, caplog, error, status, detail):
    """What the storage does cannot be had at will: the error is raised where the index would raise it."""

    def broken(service):
        def fail(*_):
            raise error

        service.item = fail

    with serving(change=broken) as client:
        answer = client("GET", "/v1/items/100")
        assert detail in told_problem(answer, status)
        assert "secret" not in answer.text
        assert ("secret" in caplog.text) == (status != 422)


def test_a_request_that_holds_up_the_end_is_told_so(serving, told_problem):
    with serving() as client:

        async def cancelled():
            async def slow():
                yield b"{"
                await asyncio.sleep(30)

            headers = {"content-type": "application/json"}
            asking = asyncio.create_task(
                client._http.request("POST", "/v1/search", content=slow(), headers=headers)
            )
            await asyncio.sleep(0.05)
            asking.cancel()
            return await asking

        assert told_problem(client._runner.run(cancelled()), 503) == "the server is shutting down"


def test_an_answer_that_breaks_off_is_not_called_whole(serving):
    """What has been sent cannot be taken back: the server below closes the connection."""
    sent = []

    async def broken(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("lost")

    async def send(message):
        sent.append(message)

    with serving() as client:
        front = Front(broken, client.service, Settings(), Metrics(client.service, []))
        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [(b"host", b"localhost")]}
        with pytest.raises(KeyError, match="lost"):
            client._runner.run(front(scope, None, send))
    assert [message["type"] for message in sent] == ["http.response.start"]


def test_while_draining_nothing_new_is_begun(serving, told_problem):
    with serving() as client:
        client.service.draining = True
        answer = client("POST", "/v1/search", json={"text": "red"})
        assert told_problem(answer, 503) == "the server is shutting down"
        assert answer.headers["connection"] == "close"
        told_problem(client("GET", "/healthz"), 200)
        told_problem(client("GET", "/readyz"), 503)
