"""Errors as answers: application/problem+json (RFC 9457), never a traceback, never a path of the server."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from spdq.errors import (
    DamagedError,
    DataError,
    IncompatibleError,
    LockedError,
    MissingExtraError,
    SpdqError,
    StorageError,
    UnavailableError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 10
SECURITY = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""Headers of every answer that does not set them itself."""

_log = logging.getLogger("spdq.serving")

# What the client got wrong is told in full; of what is wrong with the server's files the log has the rest.
_THEIRS: tuple[type[SpdqError], ...] = (UsageError, DataError, MissingExtraError)
_OURS: tuple[tuple[type[SpdqError], int, str], ...] = (
    (IncompatibleError, 409, "the index and the request do not belong together; the server's log says more"),
    (LockedError, 503, "another process is writing to the index"),
    (DamagedError, 503, "a file of the index is damaged; the server's log names it"),
    (UnavailableError, 503, "a part of the service does not answer; the server's log says more"),
    (StorageError, 507, "the storage refused; nothing was changed"),
)


class Problem(Exception):
    """A request that is not answered as asked: its HTTP status, one line for people, more headers."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        detail = " ".join(detail.splitlines())  # It may quote what was asked.
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    def response(self) -> Response:
        """The answer to send."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return Response(json.dumps(body), self.status, SECURITY | self.headers, MEDIA_TYPE)

    def as_bytes(self) -> bytes:
        """The same as it goes over the wire, for what is answered before the app is asked."""
        response = self.response()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in response.raw_headers]
        return b"\r\n".join([*lines, b"", bytes(response.body)])


def busy(detail: str, seconds: int = 1) -> Problem:
    """503: try again after some seconds."""
    return Problem(503, detail, {"Retry-After": str(seconds)})


def of_error(error: SpdqError) -> Problem:
    """What an error of the library is over HTTP."""
    if isinstance(error, _THEIRS):
        return Problem(422, str(error))
    for kind, status, detail in _OURS:
        if isinstance(error, kind):
            _log.error("%s", error)
            return busy(detail, 10) if status == 503 else Problem(status, detail)
    return of_bug(error)


def of_bug(error: Exception) -> Problem:
    """500: what happened stays in the log."""
    _log.error("internal error", exc_info=error)
    return Problem(500, "internal error; the server's log says more")


def of_validation(error: ValidationError) -> Problem:
    """422: each place of the JSON that is not as it should be, as a JSON pointer."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {"pointer": "".join(f"/{part}" for part in one["loc"])[:200], "detail": _plain(one["msg"])}
        for one in found[:MAX_ERRORS]
    ]
    first = errors[0]
    return Problem(422, f"{first['pointer'] or 'the request'}: {first['detail']}", errors=errors)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def of_any(error: Exception) -> Problem:
    """What any error is over HTTP."""
    match error:
        case Problem():
            return error
        case SpdqError():
            return of_error(error)
        case HTTPException():
            return Problem(error.status_code, str(error.detail), error.headers)
        case ClientDisconnect():
            return Problem(400, "the request ended before its body did")
        case _:
            return of_bug(error)


def install(app: FastAPI) -> None:
    """Make every error on purpose that leaves a route of the app a problem; ``Front`` sees to the others."""

    async def told(_: Request, error: Exception) -> Response:
        return of_any(error).response()

    async def not_allowed(request: Request, _: Exception) -> Response:
        # Each method is a route of its own, and the error names that of the first.
        path = request.scope["route"].path
        known = sorted(
            method for route in request.app.routes if route.path == path for method in route.methods
        )
        detail = f"expected {' or '.join(known)}, got {request.method[:20]}"
        return Problem(405, detail, {"Allow": ", ".join(known)}).response()

    for kind in (Problem, SpdqError, HTTPException, ClientDisconnect):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(HTTPStatus.METHOD_NOT_ALLOWED, not_allowed)
