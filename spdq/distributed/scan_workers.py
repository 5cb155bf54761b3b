"""The actors of Ray that scan: started together, asked together, replaced where they are lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from time import monotonic, sleep
from typing import Any

from spdq.distributed.cluster import ray_session
from spdq.distributed.remote import fetched
from spdq.distributed.scan_worker import ScanWorker
from spdq.errors import SpdqError, UnavailableError, UsageError
from spdq.index.inputs import at_least_one
from spdq_kernels import warmup
from spdq_kernels.dispatch import SCANNING

START_SECONDS = 300.0
"""A worker on a machine that never searched compiles the kernels first."""
_DIRECT_BYTES = 1 << 16
"""Larger arrays go through Ray's shared memory, once a machine."""
_PAUSE = 0.2
"""Seconds until a lost worker, which Ray starts anew, is asked again."""


class ScanWorkers:
    """Actors of Ray for ``ShardedIndex``; several indexes may share them. Ends them with the block or ``close``.

    Parameters
    ----------
    count
        How many actors; None takes as many as Ray has CPUs free, at most ``most``.
    threads
        Threads, and CPUs of Ray, for each.
    address
        Of a Ray cluster; None takes the Ray of this process, or starts a private one (``cluster.ray_session``).
    timeout
        Seconds until all have started.

    Raises
    ------
    UsageError
        A count or threads below 1.
    UnavailableError
        Ray has no room for so many in time, or there is no Ray at the address.
    """

    def __init__(
        self,
        count: int | None = None,
        threads: int = 1,
        address: str | None = None,
        timeout: float = START_SECONDS,
        most: int | None = None,
    ) -> None:
        self.threads = at_least_one(threads, "threads")
        if count is not None:
            at_least_one(count, "count")
        self._stack = ExitStack()
        self._actors: list[Any] = []
        warmup(SCANNING)  # Here alone, so that the workers of this machine find it done.
        try:
            self._ray = self._stack.enter_context(ray_session(address))
            free = int(self._ray.available_resources().get("CPU", 0)) // threads
            self.count = count or max(1, min(free, most or free))
            self._start(timeout)
        except BaseException:
            self.close()
            raise

    def ask(
        self,
        method: str,
        requests: Mapping[int, Sequence[Any]],
        timeout: float,
        who: Callable[[int], str],
        lost: dict[int, UnavailableError] | None = None,
    ) -> dict[int, Any]:
        """What some workers return for a method, by their number.

        A worker that is lost is started anew, by Ray, and asked again as long as there is time. One that has not
        answered after ``timeout`` seconds is ended and started anew. ``lost``, where given, takes the errors of workers
        that do not answer in time, else the first is raised.

        Raises SpdqError as the worker raised it, UnavailableError that begins with ``who``.
        """
        until = monotonic() + timeout
        refs = {number: self.send(method, number, *request) for number, request in requests.items()}
        try:
            values = fetched(list(refs.values()), max(0.0, timeout))
            return dict(zip(refs, values, strict=True))
        except UnavailableError:
            pass  # Whose fault it is, is found out one by one.
        answers: dict[int, Any] = {}
        faults: list[SpdqError] = []
        for number, ref in refs.items():
            try:
                while number not in answers:
                    try:
                        answers[number] = fetched(ref, max(0.0, until - monotonic()), who(number))
                    except UnavailableError:
                        if monotonic() + _PAUSE > until:
                            self._replace_hung(number, ref)
                            raise
                        sleep(_PAUSE)
                        ref = self.send(method, number, *requests[number])
            except UnavailableError as error:
                if lost is None:
                    faults.append(error)
                else:
                    lost[number] = error
            except SpdqError as error:
                faults.append(error)
        if faults:
            raise faults[0]
        return answers

    def send(self, method: str, number: int, *request: Any) -> Any:
        """Ask a worker and do not wait: the reference of its answer. Raises UsageError after ``close``."""
        if not self._actors:
            raise UsageError("the scan workers are closed")
        return getattr(self._actors[number], method).remote(*request)

    def shared(self, array: Any) -> Any:
        """An array to be sent to several workers, as a reference where it is large."""
        return self._ray.put(array) if array is not None and array.nbytes > _DIRECT_BYTES else array

    def forget(self, index: str) -> None:
        """Let the workers unmap an index."""
        for number in range(len(self._actors)):
            self.send("forget", number, index)

    def close(self) -> None:
        """End the workers, and Ray where it was started for them."""
        actors, self._actors = self._actors, []
        for actor in actors:
            self._ray.kill(actor)
        self._stack.close()

    def __enter__(self) -> ScanWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, timeout: float) -> None:
        actor = self._ray.remote(ScanWorker).options(
            num_cpus=self.threads,
            max_restarts=-1,
            scheduling_strategy="SPREAD",
        )
        self._actors = [actor.remote(self.threads) for _ in range(self.count)]
        try:
            fetched([one.ready.remote() for one in self._actors], timeout)
        except UnavailableError as error:
            raise UnavailableError(
                f"Ray has not started {self.count} scan workers of {self.threads} CPUs in {timeout:g} s ({error})"
            ) from error

    def _replace_hung(self, number: int, ref: Any) -> None:
        """End a worker that has not answered; Ray starts it anew. One that is lost is being started already."""
        if not self._ray.wait([ref], timeout=0)[0]:
            self._ray.kill(self._actors[number], no_restart=False)
