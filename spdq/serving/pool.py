"""A few threads and a short queue before them: what does not fit is refused at once, not made to wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from spdq.serving.problems import Problem, busy

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Pool:
    """``threads`` that work, and places for ``waiting`` requests more. Used from one event loop.

    Once ``is_ending()`` there is a place for each: nothing new comes then, and what has been begun shall finish.
    The threads are daemons: work that outlives its deadline cannot be stopped, and must not hold up the end of the
    process.
    """

    def __init__(
        self, name: str, threads: int, waiting: int, is_ending: Callable[[], bool] = lambda: False
    ) -> None:
        self.name = name
        self._is_ending = is_ending
        self.places = threads + waiting
        self.taken = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_full(self) -> bool:
        """Whether the next request would be refused."""
        return self.has_no_place_beside(self.taken)

    def has_no_place_beside(self, taken: int) -> bool:
        """Whether so many requests take all places."""
        return taken >= self.places and not self._is_ending()

    @property
    def full(self) -> str:
        """What is said of a full queue."""
        return f"{self.places} requests are under way or waiting, which is the most"

    def check(self) -> None:
        """Raise the 503 of a full queue."""
        if self.is_full:
            raise busy(self.full)

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """What ``work()`` returns or raises in a thread; a Problem where there is no place, or no answer in time."""
        self.check()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.taken += 1
        self._jobs.put((work, answer))
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            if not answer.cancelled():
                raise  # The work's own.
            raise Problem(408, f"no answer within {seconds:g} s") from None

    def close(self) -> None:
        """Let the threads end when they are done with what they do now."""
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, answer = job
            result, error = None, None
            # Nobody waits any more for what has been cancelled.
            if not answer.cancelled():
                try:
                    result = work()
                except Exception as raised:
                    error = raised
            with suppress(RuntimeError):  # The loop has ended.
                answer.get_loop().call_soon_threadsafe(self._finish, answer, result, error)

    def _finish(self, answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        self.taken -= 1
        if answer.done():
            return
        if error is None:
            answer.set_result(result)
        else:
            answer.set_exception(error)
