"""How a server is set: what its operator decides, and the bounds that keep it in memory and in time."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from spdq.errors import NotFoundError, UsageError

MIN_TOKEN = 16
MAX_TOKEN = 4096


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Settings:
    """All that is set of a server; bytes, seconds and counts.

    Raises UsageError for writes or an open address without a token, and for numbers below their least.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    allow_writes: bool = False
    token: str | None = None
    """Who writes must name it, and on an address that others reach everyone who asks for more than health."""
    allowed_hosts: tuple[str, ...] = ()
    """Names the server answers to, beside its address and those of this machine."""

    threads: int = field(default_factory=cores)
    """Requests worked on at once, each by one thread."""
    queue: int | None = None
    """Requests that may wait for a thread; None is 4 a thread. More are refused with 503."""
    deadline: float = 5.0
    """From the last byte of a request to its answer."""
    json_bytes: int = 256 << 10
    upload_bytes: int = 8 << 20
    uploads: int = 8
    """Requests with a picture received or worked on at once."""
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    send_seconds: float = 10.0
    """How long a client may take nothing of an answer."""
    drain_seconds: int = 8
    """How long requests under way may take after SIGTERM; ending the process takes another second or two."""
    connections: int = 256
    refresh_seconds: float = 1.0
    """How often a newer generation of the index is looked for."""

    def __post_init__(self) -> None:
        if self.allow_writes and self.token is None:
            raise UsageError("writes need a token: name its file (--token-file)")
        if not self.is_local and self.token is None:
            raise UsageError(
                f"{self.host} can be reached by others: name the file of a token (--token-file), or stay at 127.0.0.1"
            )
        if self.token is not None and not _is_token(self.token):
            raise UsageError(
                f"expected a token of {MIN_TOKEN} to {MAX_TOKEN} visible ASCII characters without spaces, "
                f"got {len(self.token)} characters"
            )
        for name in ("threads", "deadline", "uploads", "refresh_seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be above 0, got {getattr(self, name)}")

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str]:
        """The names in a Host header that mean this server, in small letters."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset(
            name.lower() for name in ("127.0.0.1", "localhost", "[::1]", own, *self.allowed_hosts)
        )

    @property
    def waiting(self) -> int:
        """Requests that may wait for a thread."""
        return 4 * self.threads if self.queue is None else self.queue


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it. Raises NotFoundError, UsageError."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOKEN + 2).decode("ascii").strip()
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        text = ""
    if not _is_token(text):
        raise UsageError(
            f"{path}: expected a token of {MIN_TOKEN} to {MAX_TOKEN} visible ASCII characters without spaces"
        )
    return text


def _is_token(text: str) -> bool:
    return MIN_TOKEN <= len(text) <= MAX_TOKEN and all("!" <= letter <= "~" for letter in text)
