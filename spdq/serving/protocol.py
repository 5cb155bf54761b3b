"""HTTP/1.1 for clients that may be slow: uvicorn's protocol waits for ever for the rest of a request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from spdq.serving.problems import MEDIA_TYPE

GRACE = 1.0
"""Seconds after the body's time in which the app may answer 408 itself."""


class TimedProtocol(H11Protocol):
    """A connection that is closed where the head of a request, or its body, takes too long as a whole.

    Likewise where a client does not take the answer it asked for: it lies in memory meanwhile.
    """

    header_seconds: float
    body_seconds: float
    send_seconds: float

    _timer: asyncio.TimerHandle | None = None
    _phase: tuple[Any, Any] | None = None
    """What the timer is for: the state of the reading, and the request it belongs to."""
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._set(None, 0)
        self._stop_sending()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending = self.loop.call_later(self.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_sending()

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()

    def _watch(self) -> None:
        """Keep the timer to what is being read now; a byte now and then does not wind it up again."""
        state = self.conn.their_state
        if self.transport.is_closing() or state not in (h11.IDLE, h11.SEND_BODY):
            self._set(None, 0)
        elif state is h11.SEND_BODY:
            self._set((state, self.cycle), self.body_seconds + GRACE)
        elif self.cycle is None or self.conn.trailing_data[0]:
            self._set((state, self.cycle), self.header_seconds)
        else:
            self._set(None, 0)  # Between two requests uvicorn's own timer runs.

    def _set(self, phase: tuple[Any, Any] | None, seconds: float) -> None:
        if phase == self._phase:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._phase = phase
        self._timer = None if phase is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE:
            self._answer_408()
            self.transport.close()
        else:
            self.transport.abort()

    def _answer_408(self) -> None:
        detail = f"the head of the request did not arrive within {self.header_seconds:g} s"
        problem = {"type": "about:blank", "title": "Request Timeout", "status": 408, "detail": detail}
        content = json.dumps(problem).encode()
        headers = [
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(content))),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=408, headers=headers, reason=b"Request Timeout"),
            h11.Data(data=content),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")


def timed(header_seconds: float, body_seconds: float, send_seconds: float) -> type[TimedProtocol]:
    """The protocol with these times."""
    times = {
        "header_seconds": header_seconds,
        "body_seconds": body_seconds,
        "send_seconds": send_seconds,
    }
    return type("Timed", (TimedProtocol,), times)
