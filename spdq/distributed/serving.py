"""The HTTP service on Ray Serve: started, ready, drained, ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from spdq.distributed.cluster import ray_session
from spdq.distributed.remote import fetched
from spdq.distributed.shard_folder import shard_paths
from spdq.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from spdq.distributed.deployments import Served
    from spdq.serving import Settings

NAME = "spdq"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CHECK_SECONDS = 600.0
WAITING_FOR_ONE = 4
"""Requests that an encoder has at once; half as many are aimed at, beyond which another encoder is started."""


def serve(
    index: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    pictures: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    ready: Callable[[str], None] | None = None,
    picture_folder: str | os.PathLike[str] | None = None,
    address: str | None = None,
    encoders: int = 1,
    replicas: int = 1,
) -> None:
    """Serve an index until SIGTERM or SIGINT, which is raised again once requests under way have been answered.

    The parameters are those of ``served``; ``ready`` is called with the server's address as soon as it answers.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with served(index, model, pictures, settings, picture_folder, address, encoders, replicas) as url:
        ended_by = _wait_for_signal(lambda: None if ready is None else ready(url))
    for number, handler in before.items():
        signal.signal(number, handler)  # Ray has put its own there.
    signal.raise_signal(ended_by)


@contextmanager
def served(
    index: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    pictures: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    picture_folder: str | os.PathLike[str] | None = None,
    address: str | None = None,
    encoders: int = 1,
    replicas: int = 1,
) -> Iterator[str]:
    """The address of a service that answers as long as the block runs; what is under way at its end is answered.

    Parameters
    ----------
    index
        An index, or a folder of shards.
    model, pictures, picture_folder
        As ``spdq.serving.serve`` takes them. All are opened where Ray runs the parts of the service.
    settings
        As there, but for ``allow_writes``; None works on ``threads_for(encoders)`` requests at once. Times for slow
        clients are not kept by Ray Serve's proxy; ``connections`` is how many requests a web program takes.
    address
        Of a Ray cluster on which Ray Serve does not run yet; None starts a private Ray on this machine.
    encoders
        The most processes that embed queries: Ray Serve starts them as there is work.
    replicas
        Processes that answer HTTP and search.

    Raises
    ------
    NotFoundError, DamagedError, IncompatibleError
        Index, model or data set, as ``Index.open`` and ``load_model`` raise them.
    MissingExtraError
        Ray or the packages of the extra ``serve`` are not installed.
    UsageError
        Writes, an address or port that cannot be had, Ray Serve that is running already, a number below 1.
    UnavailableError
        No cluster at ``address``, or the service does not start there.
    """
    from spdq.distributed.deployments import Served
    from spdq.serving import Settings
    from spdq.serving.server import url

    settings = settings or Settings(threads=threads_for(encoders))
    _check(settings, address, encoders, replicas)
    if address is None:
        settings = replace(settings, port=_free_port(settings))
    parts = Served(
        os.path.abspath(index), _absolute(model), _absolute(pictures), _absolute(picture_folder), settings
    )
    n_cpus = (
        max(len(os.sched_getaffinity(0)), encoders + replicas * (1 + _shards(parts.index)))
        if address is None
        else None
    )
    ends_with_us = address is None and not _has_ray()
    with ray_session(address, n_cpus) as ray, _running(ray, parts, encoders, replicas, ends_with_us):
        yield url(settings.host, settings.port)


def threads_for(encoders: int) -> int:
    """How many requests a web program works on at once unless told otherwise: they wait for encoders meanwhile."""
    return max(len(os.sched_getaffinity(0)), WAITING_FOR_ONE * encoders)


def _check(settings: Settings, address: str | None, encoders: int, replicas: int) -> None:
    if settings.allow_writes:
        raise UsageError(
            "Ray Serve answers searches alone: change the index by `spdq index`, "
            "and the service goes on to the newer generation by itself"
        )
    if address is not None and settings.port == 0:
        raise UsageError("port 0 is for a private Ray: name the port that the cluster is to listen on")
    for name, count in (("encoders", encoders), ("replicas", replicas)):
        if count < 1:
            raise UsageError(f"{name} must be 1 or more, got {count}")


def _free_port(settings: Settings) -> int:
    """The port to listen on, after a look whether it can be had: Ray Serve would not say."""
    from spdq.serving.server import listen

    with listen(settings.host, settings.port) as listener:
        return int(listener.getsockname()[1])


def _shards(index: str) -> int:
    """How many workers scan for each web program; 0 where it scans itself."""
    from spdq.distributed.deployments import is_sharded

    return len(shard_paths(index)) if is_sharded(index) else 0


def _absolute(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _has_ray() -> bool:
    """Whether this process has initialised Ray already."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@contextmanager
def _running(
    ray: ModuleType, parts: Served, encoders: int, replicas: int, ends_with_us: bool
) -> Iterator[None]:
    ray_serve: Any = import_module("ray.serve")
    from spdq.distributed.deployments import application, check

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if ray_serve.status().proxies:
        raise UsageError(
            "Ray Serve is running there already, with an address of its own: "
            "give it spdq.distributed.deployments.application instead"
        )
    checking = ray.remote(num_cpus=0)(check).remote(parts)
    ray_serve.start(
        proxy_location="HeadOnly",
        http_options={"host": parts.settings.host, "port": parts.settings.port},
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    try:
        parts = replace(parts, model=fetched(checking, CHECK_SECONDS, "what opens the index"))
        try:
            handle = ray_serve.run(application(parts, encoders, replicas), name=NAME)
        except RuntimeError as error:
            raise UnavailableError(f"the service does not start: {_reason(error)}") from error
        try:
            yield
        finally:
            # Before Ray Serve stops anything: what is under way may need an encoder.
            with suppress(Exception):
                handle.broadcast("drain").results(timeout_s=parts.settings.drain_seconds)
            ray_serve.delete(NAME)
    finally:
        if not ends_with_us:
            ray_serve.shutdown()


def _reason(error: Exception) -> str:
    """What was raised where a part of the service started: Ray Serve tells its traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith("spdq.errors.")), lines[0])


def _wait_for_signal(ready: Callable[[], None]) -> int:
    received: list[int] = []
    ending = threading.Event()

    def note(number: int, _: Any) -> None:
        received.append(number)
        ending.set()

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        ready()
        ending.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return received[0]
