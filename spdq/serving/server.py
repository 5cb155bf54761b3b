"""The process that serves: opens, listens, drains."""

from __future__ import annotations

import ctypes
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from spdq.data.captions import captions
from spdq.errors import UsageError
from spdq.index.index import Index
from spdq.models import load_model
from spdq.serving.app import create_app
from spdq.serving.protocol import timed
from spdq.serving.service import Service
from spdq.serving.settings import Settings
from spdq.serving.thumbnails import Thumbnails

if TYPE_CHECKING:
    from spdq.models.model import Model

BACKLOG = 128
MAX_HEAD_BYTES = 16384
KEEP_ALIVE_SECONDS = 5
LARGE_BYTES = 4 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""


def serve(
    index: str | os.PathLike[str],
    model: str | os.PathLike[str] | None = None,
    pictures: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    ready: Callable[[str], None] | None = None,
    picture_folder: str | os.PathLike[str] | None = None,
) -> None:
    """Serve an index until SIGTERM or SIGINT, which is raised again once requests under way have been answered.

    Parameters
    ----------
    model
        The model directory; None takes the one the index was built with, if it says so.
    pictures
        A data set file that names the pictures of the items, for thumbnails, and has their texts, for captions.
    ready
        Called with the server's address as soon as it answers.
    picture_folder
        The one folder that pictures are shown from; None takes that of the data set file.

    Raises
    ------
    NotFoundError, DamagedError, IncompatibleError
        Index, model or data set, as ``Index.open`` and ``load_model`` raise them.
    LockedError
        With ``allow_writes``: another process is writing.
    UsageError
        An address or port that cannot be had.
    """
    settings = settings or Settings()
    _give_back_large_blocks()
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # It warns of every malformed form.
    listener = listen(settings.host, settings.port)
    with listener, Index.open(index, writable=settings.allow_writes) as opened:
        directory = model or opened.model_path
        loaded = None if directory is None else _loaded(directory)
        service = Service(
            opened, loaded, *(() if pictures is None else _shown_of(Path(pictures), picture_folder))
        )
        service.warm_up()  # What fails here is an error of the command, not of the web program's start.
        _Server(service, settings, listener, ready).run([listener])


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises UsageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Listening, and so accepting, begins when everything is loaded. Only where the protocol is named does asyncio
        # turn off Nagle's algorithm, which holds the end of an answer back for 40 ms.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host} port {port} ({reason}): choose another --port") from None
    return made


def _give_back_large_blocks() -> None:
    """Let the C library return what large pictures took: glibc learns from such blocks to keep all up to 32 MiB."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # There is none in musl and on macOS.
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(M_TRIM_THRESHOLD, 2 * LARGE_BYTES)


def _loaded(directory: str | os.PathLike[str]) -> Model:
    import torch

    # Requests share the cores already; threads inside each of them would only wait for one another.
    torch.set_num_threads(1)
    return load_model(directory)


def _shown_of(file: Path, folder: str | os.PathLike[str] | None) -> tuple[Thumbnails, dict[int | str, str]]:
    from spdq.data.dataset import Dataset

    dataset = Dataset.load(file)
    return Thumbnails(dataset, folder), captions(dataset)


class _Server(uvicorn.Server):
    def __init__(
        self,
        service: Service,
        settings: Settings,
        listener: socket.socket,
        ready: Callable[[str], None] | None,
    ) -> None:
        self._service = service
        self._ready = ready
        self._url = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
        app = create_app(service, settings)
        config = uvicorn.Config(
            app,
            http=timed(
                settings.header_seconds,
                settings.body_seconds,
                settings.send_seconds,
                settings.connections,
                app.state.shedding,
            ),
            ws="none",
            lifespan="on",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=settings.drain_seconds,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            server_header=False,
            proxy_headers=False,
            access_log=False,
            log_config=None,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready is not None:
            self._ready(self._url)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.draining = True
        super().handle_exit(sig, frame)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
