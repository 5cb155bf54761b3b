"""The server and the client that loads it, each a process with cores of its own.

Played by ``python -m spdq_benchmarks.serving.processes server|client``: told by one line of JSON on standard input,
answering in lines on standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spdq.errors import SpdqError
from spdq_benchmarks.serving.loads import closed_loop, open_loop, summary

DRAIN_SECONDS = 60.0


class Process:
    """One of the two, told what to do; killed by ``stop``."""

    def __init__(self, role: str, told: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "spdq_benchmarks.serving.processes", role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.pid = self._process.pid
        if self._process.stdin:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()

    def answer(self) -> str:
        """Its next line. Raises SpdqError where it has ended instead."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SpdqError("a process of the benchmark failed: its error stands above")
        return line.strip()

    def drain(self) -> None:
        """Let it end what it has started."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(DRAIN_SECONDS)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def split_cores() -> tuple[list[int], list[int]]:
    """Cores of the server and of the client: the client has the last one, or shares the only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[:-1] or cores, cores[-1:]


@contextmanager
def serving(index: Path, on_ray: bool = False, **settings: Any) -> Iterator[tuple[Process, int]]:
    """A server of an index, and its port."""
    told = {"index": str(index), "cores": split_cores()[0], "settings": settings, "on_ray": on_ray}
    process = Process("server", told)
    try:
        yield process, int(process.answer().rpartition(":")[2])
    finally:
        if on_ray:
            process.drain()
        process.stop()


def load(port: int, **told: Any) -> Any:
    """What the client measures of a load; ``told`` as ``_client`` reads it."""
    process = Process("client", {"port": port, "cores": split_cores()[1], **told})
    try:
        return json.loads(process.answer())
    finally:
        process.stop()


def main() -> None:
    """Play the role that the argument names."""
    told = json.loads(sys.stdin.readline())
    os.sched_setaffinity(0, told["cores"])
    if sys.argv[1] == "server":
        _server(told)
    else:
        _say(json.dumps(asyncio.run(_client(told))))


def _server(told: dict[str, Any]) -> None:
    from spdq.serving import Settings

    if told.get("on_ray"):
        from spdq.distributed.serving import serve as serve_on_ray
        from spdq.distributed.serving import threads_for

        settings = Settings(port=0, **{"threads": threads_for(1)} | told["settings"])
        serve_on_ray(told["index"], settings=settings, ready=_say)
    else:
        from spdq.serving import serve

        serve(told["index"], settings=Settings(port=0, **told["settings"]), ready=_say)


async def _client(told: dict[str, Any]) -> Any:
    requests = [line.encode("latin-1") for line in told["requests"]]
    if told["rate"] is None:
        return await closed_loop(told["port"], requests, told["clients"], told["seconds"])
    log = await open_loop(told["port"], requests, told["rate"], told["seconds"])
    return asdict(summary(log, told["rate"], told["seconds"], told["slow"]))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
