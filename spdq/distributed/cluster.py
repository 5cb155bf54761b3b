"""Ray for as long as it is needed: the one this process has, a cluster at an address, or a private one.

A private Ray listens on this machine's loopback alone, asks for a random token, and has no dashboard: who reaches Ray's
ports with its token can run code. https://docs.ray.io/en/latest/ray-security/index.html
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

from spdq.errors import IncompatibleError, MissingExtraError, UnavailableError, UsageError

OLDEST = (2, 59)
"""The first Ray whose local clusters can be asked for a token."""
TEMPORARY = Path("/tmp")
"""Not the system's choice: Ray puts sockets deep below it, and the path of a socket has at most 107 bytes."""
KNOCK_SECONDS = 10

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray prints what it has to say of lost workers to this process's stdout, amid the data. Errors say it here.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
}
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Where it is 0, all servers of Ray listen on 127.0.0.1 alone, as they always do on the systems in its name."""
_FOLDER = re.compile(r"spdq-ray-(\d+)-")


@contextmanager
def ray_session(address: str | None = None, n_cpus: int | None = None) -> Iterator[ModuleType]:
    """The module ``ray``, initialised.

    Where this process has initialised Ray already, that one is used and left as it is. Else one is made and ended with
    the block: a connection to ``address``, or a private Ray on this machine.

    Parameters
    ----------
    address
        Of a running cluster: ``HOST:PORT``, or ``auto`` for the one on this machine. It asks for the token that
        ``RAY_AUTH_TOKEN`` or ``RAY_AUTH_TOKEN_PATH`` give. None starts a private Ray.
    n_cpus
        How many CPUs a private Ray has to give away; None takes those this process may use.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    IncompatibleError
        A Ray before 2.59, or one that this process imported in a way that opens it to the network.
    UnavailableError
        Nothing answers at ``address``, or it refuses the token.
    UsageError
        ``n_cpus`` below 1, or given with an address.
    """
    if n_cpus is not None and (n_cpus < 1 or address is not None):
        raise UsageError(f"n_cpus must be 1 or more and is for a private Ray, got {n_cpus}")
    _set_environment(private=address is None)
    ray = _imported()
    if ray.is_initialized():
        yield ray
        return
    _remove_leftovers()
    with _private(ray, n_cpus) if address is None else _connected(ray, address):
        yield ray


def _set_environment(private: bool) -> None:
    """Ray and its processes read these as they are loaded."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if private:
        os.environ.setdefault(_LOOPBACK, "0")
        # Ray's workers give way to all other processes (15); those that answer somebody must not.
        os.environ.setdefault("RAY_worker_niceness", "0")
        if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _imported() -> ModuleType:
    try:
        version = metadata.version("ray")
        ray = import_module("ray")
    except ImportError:
        raise MissingExtraError('this needs Ray: pip install "spdq[ray]"') from None
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise IncompatibleError(f'expected Ray {oldest} or newer, got {version}: pip install "spdq[ray]"')
    return ray


@contextmanager
def _private(ray: ModuleType, n_cpus: int | None) -> Iterator[None]:
    loopback = not import_module("ray._private.ray_constants").ENABLE_RAY_CLUSTER
    if not loopback and os.environ.get(_LOOPBACK) == "0":
        raise IncompatibleError(
            f"ray was imported before it was told to listen on this machine alone: set {_LOOPBACK}=0 before that"
        )
    folder = Path(tempfile.mkdtemp(prefix=f"spdq-ray-{os.getpid()}-", dir=TEMPORARY))
    try:
        with _own_handler():
            ray.init(
                address="local",
                num_cpus=n_cpus or len(os.sched_getaffinity(0)),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                _temp_dir=str(folder),
            )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _connected(ray: ModuleType, address: str) -> Iterator[None]:
    try:
        _knock(address)
        with _own_handler():
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except Exception as error:
        ray.shutdown()
        raise UnavailableError(
            f"no Ray cluster that takes this token answers at {address} ({_first_sentence(error)}). "
            "Look at the address, and at RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray would go on trying for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def _first_sentence(error: Exception) -> str:
    return re.split(r"\.\s|\n", str(error).strip())[0].rstrip(".") or type(error).__name__


@contextmanager
def _own_handler() -> Iterator[None]:
    """Keep this process's own answer to SIGTERM, which Ray replaces where it starts in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _remove_leftovers() -> None:
    """Remove the folders of private Rays whose process was killed."""
    for folder in TEMPORARY.glob("spdq-ray-*"):
        made_by = _FOLDER.match(folder.name)
        if made_by and folder.stat().st_uid == os.getuid() and not _lives(int(made_by[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
