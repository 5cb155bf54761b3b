"""The process that serves: opens, listens, drains."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from spdq.errors import UsageError
from spdq.index.index import Index
from spdq.serving.app import create_app
from spdq.serving.opening import give_back_large_blocks, served_model, shown
from spdq.serving.protocol import timed
from spdq.serving.service import Service
from spdq.serving.settings import Settings

BACKLOG = 128
MAX_HEAD_BYTES = 16384
KEEP_ALIVE_SECONDS = 5


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
    give_back_large_blocks()
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # It warns of every malformed form.
    listener = listen(settings.host, settings.port)
    with listener, Index.open(index, writable=settings.allow_writes) as opened:
        directory = model or opened.model_path
        loaded = None if directory is None else served_model(directory)
        service = Service(opened, loaded, *shown(pictures, picture_folder))
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
        self._url = url(settings.host, listener.getsockname()[1])
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


def url(host: str, port: int) -> str:
    """The address of a server as people type it."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
