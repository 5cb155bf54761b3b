"""Requests at a fixed rate, whatever becomes of those before, and as many as are answered.

A request's time counts from when it was to be sent: a server that stops for a second delays all that were to come
meanwhile, and a client that waits for it would never see that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from spdq_benchmarks.serving.connections import Connections

MOST_CONNECTIONS = 200
"""Below what the server takes, so that the queue of the service is what refuses."""


@dataclass
class Log:
    """What became of each request, in seconds since the load began."""

    planned: list[float] = field(default_factory=list)
    began: list[float] = field(default_factory=list)
    done: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)

    def note(self, planned: float, began: float, done: float, status: int) -> None:
        """Add one request."""
        self.planned.append(planned)
        self.began.append(began)
        self.done.append(done)
        self.status.append(status)


@dataclass(frozen=True)
class Answers:
    """Times of the answers of one kind, in ms since each was to be sent."""

    count: int
    p50: float | None
    p99: float | None
    most: float | None


@dataclass(frozen=True)
class Load:
    """What a load showed.

    Parameters
    ----------
    rate : requests a second that were to be sent.
    accepted, refused : answers 200 and 503.
    errors : other answers, and connections that ended without one.
    late_p99 : ms by which the client itself was late.
    trouble_until : the last second in which a request was to be sent that was not answered 200 within ``slow`` ms.
    """

    rate: float
    seconds: float
    accepted: Answers
    refused: Answers
    errors: int
    late_p99: float
    trouble_until: float


def summary(log: Log, rate: float, seconds: float, slow: float) -> Load:
    """The figures of a log; ``slow`` in ms."""
    planned, status = np.array(log.planned), np.array(log.status)
    taken = 1000 * (np.array(log.done) - planned)
    late = 1000 * (np.array(log.began) - planned)
    trouble = planned[(status != 200) | (taken > slow)]
    return Load(
        rate=rate,
        seconds=seconds,
        accepted=_answers(taken[status == 200]),
        refused=_answers(taken[status == 503]),
        errors=int((~np.isin(status, (200, 503))).sum()),
        late_p99=float(np.percentile(late, 99)),
        trouble_until=float(trouble.max()) if len(trouble) else 0.0,
    )


def _answers(taken: np.ndarray[Any, np.dtype[np.float64]]) -> Answers:
    if not len(taken):
        return Answers(0, None, None, None)
    p50, p99 = np.percentile(taken, (50, 99))
    return Answers(len(taken), float(p50), float(p99), float(taken.max()))


async def open_loop(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Log:
    """Send requests, one after the other and again from the first, at a rate for some seconds; wait for the answers."""
    connections = Connections(port, MOST_CONNECTIONS)
    log = Log()
    start = perf_counter()

    async def one(planned: float, request: bytes) -> None:
        began = perf_counter() - start
        status = await connections.ask(request)
        log.note(planned, began, perf_counter() - start, status)

    async with asyncio.TaskGroup() as group:
        for number, request in zip(range(int(rate * seconds)), itertools.cycle(requests), strict=False):
            planned = number / rate
            # A millisecond is what the loop's clock can tell apart; those that are due go out together.
            if (wait := planned - (perf_counter() - start)) > 0.001:
                await asyncio.sleep(wait)
            group.create_task(one(planned, request))
    connections.close()
    return log


async def closed_loop(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> float:
    """Answers a second where each of some clients asks again as soon as it is answered."""
    connections = Connections(port, clients)
    start = perf_counter()
    answered = 0

    async def client(own: Sequence[bytes]) -> None:
        nonlocal answered
        for request in itertools.cycle(own):
            if perf_counter() - start > seconds:
                return
            status = await connections.ask(request)
            answered += status == 200

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client([*requests[number:], *requests[:number]]))
    connections.close()
    return answered / (perf_counter() - start)
