"""The least of an HTTP/1.1 client: connections that are kept, answers of a known length, nothing that costs time."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

HOST = "127.0.0.1"


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[int] | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, content = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(content) < length:
            return
        if b"connection: close" in lines:
            self.closed = True
        self._buffer = b""
        self._finish(int(lines[0].split()[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._finish(0)

    def _finish(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, request: bytes) -> int:
        """The status of the answer; 0 where the connection ended without one."""
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or self.closed:
            return 0
        self._transport.write(request)
        return await self._answer


@dataclass
class Connections:
    """Connections to a port; a new one where none is free, up to ``most``, beyond which requests wait."""

    port: int
    most: int
    _free: deque[Connection] = field(default_factory=deque)
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.most)

    async def ask(self, request: bytes) -> int:
        """The status of the answer; 0 for none."""
        async with self._places:
            connection = await self._connected()
            status = await connection.ask(request) if connection is not None else 0
            if connection is not None and not connection.closed:
                self._free.append(connection)
            return status

    def close(self) -> None:
        """End those that are free."""
        while self._free:
            self._free.pop().close()

    async def _connected(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()
            if not connection.closed:
                return connection
        try:
            _, made = await asyncio.get_running_loop().create_connection(Connection, HOST, self.port)
        except OSError:
            return None
        return made


def post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    """A request with a body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
