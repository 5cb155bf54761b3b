"""Tasks in processes of their own, one thread each: one that dies costs its task, not the run.

``concurrent.futures.ProcessPoolExecutor`` would do but for two things: a process that is killed (out of memory) breaks
the whole pool, and there is no public way to stop its processes when the user presses Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from spdq.errors import SpdqError

Task = TypeVar("Task")
Result = TypeVar("Result")

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Environment of a process; libraries read it when they are first imported."""

STOP_SECONDS = 5
"""How long a process may take to end before it is killed."""


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """What became of a task: a result, or an error in one line."""

    task: Task
    result: Result | None
    error: str | None
    seconds: float


def outcomes(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Generator[Outcome[Task, Result], None, None]:
    """Call the function with every task in ``workers`` processes; outcomes as they come.

    Function, tasks and results are pickled; the function is imported anew in each process. Closing the iterator, or
    an exception thrown into the loop around it, ends the processes and with them the tasks under way.
    """
    waiting = deque(tasks)
    crew: list[_Worker[Task, Result]] = []
    try:
        while waiting or any(worker.task is not None for worker in crew):
            crew = [worker for worker in crew if worker.is_alive]
            while waiting and len(crew) < workers:
                taken = {worker.number for worker in crew}
                crew.append(_Worker(function, min(set(range(workers)) - taken)))
            for worker in crew:
                if waiting and worker.task is None:
                    worker.give(waiting.popleft())
            busy = {worker.connection: worker for worker in crew if worker.task is not None}
            for connection in wait(list(busy)):
                yield busy[connection].outcome()  # type: ignore[index]
    finally:
        for worker in crew:
            worker.stop()


class FailedJobsError(SpdqError):
    """Some jobs failed; the others are on record."""


@dataclass(frozen=True)
class Failure:
    """The job that failed, by its name, and why."""

    job: str
    error: str


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    workers: int | None,
    keep: Callable[[Result], None],
    tell: Callable[[str], None],
) -> list[Failure]:
    """Call the function with every task in processes, one a core or ``workers``; ``keep`` gets each result as it comes.

    ``tell`` gets a line for each task, by its ``str``. Returns the tasks that failed.
    """
    crew = min(workers or len(os.sched_getaffinity(0)), len(tasks))
    failures, spent = [], 0.0
    with closing(outcomes(function, tasks, crew)) as found:
        for done, outcome in enumerate(found, start=1):
            spent += outcome.seconds
            left = _duration(spent / done * (len(tasks) - done) / crew)
            name = f"[{done}/{len(tasks)}] {outcome.task}"
            if outcome.result is None:
                failures.append(Failure(str(outcome.task), outcome.error or ""))
                tell(f"{name} failed: {outcome.error}")
                continue
            keep(outcome.result)
            tell(f"{name}: {_duration(outcome.seconds)}; about {left} left")
    return failures


def check_failures(failures: Sequence[Failure]) -> None:
    """Raise FailedJobsError with the names of the jobs that failed, if there are any."""
    if failures:
        named = "; ".join(f"{failure.job}: {failure.error}" for failure in failures)
        count = f"{len(failures)} job{'s' * (len(failures) > 1)}"
        raise FailedJobsError(
            f"{count} failed, the others are on record and a run goes on from there: {named}"
        )


def _duration(seconds: float) -> str:
    minutes, hours = round(seconds / 60), round(seconds / 3600, 1)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{hours:g} h"


class _Worker(Generic[Task, Result]):
    """One process, and the task it is at."""

    def __init__(self, function: Callable[[Task], Result], number: int) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        cores = sorted(os.sched_getaffinity(0))
        core = cores[number % len(cores)]
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, function, core), daemon=True)
        with _without_interrupts(), _environment(ONE_THREAD):
            self.process.start()
        theirs.close()
        self.number = number
        self.task: Task | None = None
        self.is_alive = True
        self._began = 0.0

    def give(self, task: Task) -> None:
        self.task, self._began = task, time.perf_counter()
        with suppress(OSError):  # Of a process that has died: its outcome will say so.
            self.connection.send(task)

    def outcome(self) -> Outcome[Task, Result]:
        """What has become of the task; waits for it."""
        task, self.task = self.task, None
        if task is None:
            raise RuntimeError("the process has no task")
        try:
            result, error = self.connection.recv()
        except EOFError:
            self.is_alive = False
            self.process.join()
            result, error = None, f"its process ended without an answer ({_ending(self.process.exitcode)})"
        return Outcome(task, result, error, time.perf_counter() - self._began)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(connection: Connection, function: Callable[[Task], Result], core: int) -> None:
    """Answer tasks with (result, None) or (None, error) until the other end is closed."""
    os.sched_setaffinity(0, {core})  # Our kernels take a thread for each core they may use.
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer: tuple[Result | None, str | None] = function(task), None
        except SpdqError as error:
            answer = None, str(error)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            answer = (
                None,
                f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})",
            )
        try:
            connection.send(answer)
        except BrokenPipeError:
            return


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
    return f"exit code {code}"


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal; those started here leave it to this one, which gets it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
