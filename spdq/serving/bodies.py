"""Reading the body of a request: counted while it streams, timed, strict JSON, at most one picture."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message

from spdq.serving.problems import Problem, busy
from spdq.serving.settings import Settings

MAX_DEPTH = 16
MAX_FIELDS = 8
JSON, MULTIPART = "application/json", "multipart/form-data"


class Body(NamedTuple):
    """What a request brought."""

    content: dict[str, Any]
    """The JSON object, empty where there is a picture alone."""
    upload: bytes | None
    """The picture of a multipart request."""


class Bodies:
    """Reads bodies, at most some with a picture at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._uploads = 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Body]:
        """The body, whose picture counts as one under way as long as the context is open.

        Raises Problem: 400 malformed, 408 too slow, 413 too large, 415 of another kind, 503 too many pictures.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem(415, "expected a body that is not compressed")
        if kind == JSON:
            counted = _Counted(request, self._settings.json_bytes)
            yield Body(read_object(await self._timely(_all(counted))), None)
        elif kind == MULTIPART:
            if self._uploads >= self._settings.uploads:
                raise busy(f"{self._uploads} pictures are being received or searched for, which is the most")
            self._uploads += 1
            try:
                yield await self._timely(self._form(_Counted(request, self._settings.upload_bytes)))
            finally:
                self._uploads -= 1
        else:
            raise Problem(415, f"expected content-type {JSON} or {MULTIPART}, got {kind[:100]!r}")

    async def _timely(self, reading: Any) -> Any:
        seconds = self._settings.body_seconds
        try:
            async with asyncio.timeout(seconds):
                return await reading
        except TimeoutError:
            raise Problem(
                408, f"the body did not arrive within {seconds:g} s", {"Connection": "close"}
            ) from None

    async def _form(self, counted: _Counted) -> Body:
        request = counted.as_request()
        try:
            form = await request.form(
                max_files=1, max_fields=MAX_FIELDS, max_part_size=self._settings.json_bytes
            )
        except HTTPException as error:
            status = 413 if error.detail.startswith(("Too many", "Part exceeded")) else 400
            raise Problem(status, f"multipart: {error.detail}") from None
        try:
            return await _body_of(form)
        finally:
            await form.close()


async def _body_of(form: FormData) -> Body:
    """The parts ``json`` and ``image`` of a form."""
    content: dict[str, Any] = {}
    upload = None
    for name, value in form.multi_items():
        if name == "image" and isinstance(value, UploadFile):
            upload = await value.read()
        elif name == "json" and isinstance(value, str) and not content:
            content = read_object(value.encode("utf-8", "surrogatepass"))
        else:
            raise Problem(
                422, f"multipart: expected one file image and one field json, got also {name[:100]!r}"
            )
    if upload is None:
        raise Problem(422, "multipart: expected a file image")
    return Body(content, upload)


async def _all(counted: _Counted) -> bytes:
    return b"".join([chunk async for chunk in counted.as_request().stream()])


class _Counted:
    """A request whose body may have so many bytes; the one that is too many raises 413."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._left = self._limit = limit
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and len(declared) < 20 and int(declared) > limit:
            raise self._too_large()

    def as_request(self) -> Request:
        return Request(self._request.scope, self._receive)

    async def _receive(self) -> Message:
        message = await self._request.receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise self._too_large()
        return message

    def _too_large(self) -> Problem:
        return Problem(413, f"the body is larger than {self._limit:,} bytes")


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object (RFC 8259, no key twice, at most 16 deep).

    Raises Problem: 400 for what is no JSON, 422 for other JSON.
    """
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # Not UTF-8, not JSON, a number of thousands of digits.
        raise Problem(400, f"not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise Problem(422, f"expected a JSON object, got {type(value).__name__}")
    if not _is_flat(value, MAX_DEPTH):
        raise _too_deep()
    return value


def _too_deep() -> Problem:
    return Problem(422, f"JSON nested deeper than {MAX_DEPTH}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _is_flat(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_flat(one, depth - 1) for one in inner)
