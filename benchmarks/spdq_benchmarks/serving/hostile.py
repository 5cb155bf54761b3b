"""Requests that are made to cost a server memory or time, eight of a kind at once."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import perf_counter

from PIL import Image

from spdq_benchmarks.serving.connections import HOST, post

AT_ONCE = 8
MIB = 1 << 20
_FORM = "multipart/form-data; boundary=xx"
_PIECE = 65_536


@dataclass(frozen=True)
class Kind:
    """One kind of them. 503 is what finds no place, 422 also what no model of the server can read."""

    name: str
    pieces: Callable[[], Iterator[bytes]]
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of eight of a kind: statuses, and ms from the first byte sent to the first of the answer."""

    name: str
    statuses: tuple[int, ...]
    ms: tuple[float, ...]
    expected: bool

    @property
    def slowest_refusal(self) -> float:
        """In ms, 0 where none was refused."""
        return max(
            (ms for status, ms in zip(self.statuses, self.ms, strict=True) if status >= 400), default=0.0
        )


@cache
def _picture(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "PNG", compress_level=9)
    return file.getvalue()


def _upload(width: int, height: int) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        part = b'--xx\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        yield post("/v1/search", part + _picture(width, height) + b"\r\n--xx--\r\n", _FORM)

    return pieces


def _chunked() -> Iterator[bytes]:
    yield (
        f"POST /v1/search HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunk = f"{_PIECE:x}\r\n".encode() + b" " * _PIECE + b"\r\n"
    for _ in range(150 * MIB // _PIECE):
        yield chunk
    yield b"0\r\n\r\n"


def _parts() -> Iterator[bytes]:
    parts = (
        f'--xx\r\nContent-Disposition: form-data; name="x{n}"\r\n\r\n1\r\n'.encode() for n in range(1001)
    )
    yield post("/v1/search", b"".join(parts) + b"--xx--\r\n", _FORM)


def _json(body: bytes, path: str = "/v1/search") -> Callable[[], Iterator[bytes]]:
    return lambda: iter([post(path, body)])


KINDS: Sequence[Kind] = (
    Kind("PNG of 16 megapixels", _upload(4000, 4000), (200, 408, 422, 503)),
    Kind("PNG of 17 megapixels", _upload(4250, 4000), (422, 503)),
    Kind("PNG of 89 megapixels", _upload(9433, 9433), (422, 503)),
    Kind("chunked body of 150 MiB", _chunked, (413, 503)),
    Kind("form of 1,001 parts", _parts, (413, 503)),
    Kind("JSON 64 deep", _json(b'{"text":' + b"[" * 63 + b"]" * 63 + b"}"), (422, 503)),
    Kind("k = 10^9", _json(b'{"text": "a", "k": 1000000000}'), (422, 503)),
    Kind(
        "batch of 10^6 searches",
        _json(b'{"queries":[' + b"{}," * 999_999 + b"{}]}", "/v1/search/batch"),
        (413, 503),
    ),
)


def attack(port: int, kind: Kind) -> Outcome:
    """Send eight requests of a kind at once and wait for their answers."""

    next(kind.pieces())  # Drawing a picture takes longer than refusing it, and is kept.

    async def eight() -> list[tuple[int, float]]:
        return await asyncio.gather(*(_one(port, kind) for _ in range(AT_ONCE)))

    answers = asyncio.run(eight())
    statuses = tuple(status for status, _ in answers)
    return Outcome(
        kind.name, statuses, tuple(ms for _, ms in answers), all(one in kind.statuses for one in statuses)
    )


async def _one(port: int, kind: Kind) -> tuple[int, float]:
    """The status, 0 for a connection that ended without one, and how long it took."""
    reader, writer = await asyncio.open_connection(HOST, port)
    began = perf_counter()

    async def send() -> None:
        for piece in kind.pieces():
            writer.write(piece)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        line = await reader.readline()
    except ConnectionError:
        line = b""
    taken = 1000 * (perf_counter() - began)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.transport.abort()
    return int(line.split()[1]) if line else 0, taken


def memory(pid: int) -> tuple[float, float]:
    """Resident memory of a process, now and at its most since ``forget_peak``, in MiB, as Linux counts it."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    facts = {name: rest.split()[0] for name, _, rest in lines if name in ("VmRSS", "VmHWM")}
    return int(facts["VmRSS"]) / 1024, int(facts["VmHWM"]) / 1024


def forget_peak(pid: int) -> None:
    """Let ``memory`` begin anew with the most."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
