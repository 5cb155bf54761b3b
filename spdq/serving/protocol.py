"""HTTP/1.1 for clients that may be slow: uvicorn's protocol waits for ever for the rest of a request."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from spdq.serving.problems import Problem, busy
from spdq.serving.shedding import Shedding, searched

GRACE = 1.0
"""Seconds after the body's time in which the app may answer 408 itself."""


class TimedProtocol(H11Protocol):
    """A connection that is closed where the head of a request, or its body, takes too long as a whole.

    Likewise where a client does not take the answer it asked for: it lies in memory meanwhile.
    """

    header_seconds: float
    body_seconds: float
    send_seconds: float
    most: int
    """Connections at once; requests on more are refused."""
    shedding: Shedding
    """Refuses searches that came whole before they are parsed."""

    _is_search = False
    """Whether what is under way is a search that came whole."""
    _timer: asyncio.TimerHandle | None = None
    _phase: tuple[Any, Any] | None = None
    """What the timer is for: the state of the reading, and the request it belongs to."""
    _sending: asyncio.TimerHandle | None = None

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._whole_app, self.app = self.app, self._limited

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self.connections) > self.most:
            crowded = busy(f"{self.most} connections are open, which is the most")
            crowded.headers["Connection"] = "close"
            await crowded.response()(scope, receive, send)
        else:
            await self._whole_app(scope, receive, send)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._search_ended()
        self._set(None, 0)
        self._stop_sending()

    def data_received(self, data: bytes) -> None:
        is_between = self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE
        route = searched(data) if is_between and not self.conn.trailing_data[0] else None
        refused = None if route is None else self.shedding.refusal(route)
        if refused is not None:
            self.transport.write(refused)
            self._set(None, 0)
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
            return
        if route is not None:
            self._is_search = True
            self.shedding.under_way += 1
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._search_ended()
        super().on_response_complete()

    def _search_ended(self) -> None:
        self.shedding.under_way -= self._is_search
        self._is_search = False

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        self._end(Problem(400, "not HTTP/1.1"))

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
            self._end(
                Problem(408, f"the head of the request did not arrive within {self.header_seconds:g} s")
            )
        else:
            self.transport.abort()

    def _end(self, problem: Problem) -> None:
        """Answer past the app, and close."""
        problem.headers["Connection"] = "close"
        self.transport.write(problem.as_bytes())
        self.transport.close()


def timed(
    header_seconds: float,
    body_seconds: float,
    send_seconds: float,
    most: int,
    shedding: Shedding,
) -> type[TimedProtocol]:
    """The protocol with these times and bounds."""
    given = {
        "header_seconds": header_seconds,
        "body_seconds": body_seconds,
        "send_seconds": send_seconds,
        "most": most,
        "shedding": shedding,
    }
    return type("Timed", (TimedProtocol,), given)
