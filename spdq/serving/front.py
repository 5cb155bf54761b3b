"""What stands before every route: who may ask, under which name, and what every answer says to a browser."""

from __future__ import annotations

import asyncio
import hmac
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spdq.serving.metrics import Metrics
from spdq.serving.paths import as_sent
from spdq.serving.problems import SECURITY, Problem, busy, of_any
from spdq.serving.service import Service
from spdq.serving.settings import Settings

OPEN_PATHS = ("/", "/healthz", "/readyz")
"""What anybody gets without a token: the page holds nothing of the index, and asks for the token itself."""


class Front:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, service: Service, settings: Settings, metrics: Metrics) -> None:
        self._app = app
        self._service = service
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = as_sent(scope)
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        self._metrics.under_way += 1
        try:
            self._check(scope)
            await self._app(scope, receive, answer)
        except (Exception, asyncio.CancelledError) as error:
            # What a client got a part of cannot be taken back.
            if status:
                raise
            await _problem(error).response()(scope, receive, answer)
        finally:
            self._metrics.under_way -= 1
        route = getattr(scope.get("route"), "path_format", "other")
        self._metrics.answered(scope["method"], route, status, time.perf_counter() - began)

    def _check(self, scope: Scope) -> None:
        """Raise the problem of a request that no route shall see."""
        headers = Headers(scope=scope)
        check_host(headers, self._settings)
        if scope["path"].removeprefix(scope.get("root_path", "")) in OPEN_PATHS:
            return
        if not self._settings.is_local:
            check_token(headers, self._settings)
        if self._service.draining:
            refused = busy("the server is shutting down")
            refused.headers["Connection"] = "close"
            raise refused


def _problem(error: Exception | asyncio.CancelledError) -> Problem:
    # Requests are cancelled when they hold up the end of the server.
    return of_any(error) if isinstance(error, Exception) else busy("the server is shutting down")


def check_host(headers: Headers, settings: Settings) -> None:
    """Raise Problem unless the request names this server, and comes from no other site's page.

    A page on another name that resolves to this address (DNS rebinding) names itself in Host; one that sends a form
    here names itself in Origin.
    """
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name.lower() not in settings.hosts:
        raise Problem(400, f"unknown host {name[:200]!r}: start the server with --allow-host for it")
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != host.lower():
        raise Problem(403, f"requests from pages of {origin[:200]!r} are not answered")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def check_token(headers: Headers, settings: Settings) -> None:
    """Raise Problem 401 unless the request names the server's token."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    # In constant time: how long it takes must not tell how much of it is right.
    same = hmac.compare_digest(token.strip().encode(), (settings.token or "").encode())
    if kind.lower() != "bearer" or settings.token is None or not same:
        raise Problem(
            401, "expected the server's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
