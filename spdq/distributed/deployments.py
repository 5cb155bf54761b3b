"""The parts of the HTTP service in Ray Serve: the web program, and the encoders that it asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from spdq.distributed.remote import worker_errors
from spdq.distributed.serving import WAITING_FOR_ONE
from spdq.distributed.shard_folder import shard_paths
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import SpdqError, UnavailableError
from spdq.index.index import Index
from spdq.index.store import CATALOGUE
from spdq.models.spaces import Modality
from spdq.serving.app import create_app
from spdq.serving.embedder import Embedded, Floats, ModelEmbedder, RawQuery
from spdq.serving.opening import give_back_large_blocks, served_model, shown
from spdq.serving.service import Service
from spdq.serving.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

START_SECONDS = 600.0
"""How long a web program waits for the first encoder."""
SHARE_OF_DEADLINE = 0.8
"""What an encoder may take of it, so that the answer is 503 and not 408 where there is none."""
DRAIN_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Served:
    """What is served, as plain values; the paths hold on every machine that Ray may choose."""

    index: str
    model: str | None
    """A model directory; None answers searches by vectors alone."""
    pictures: str | None
    picture_folder: str | None
    settings: Settings


class Encoder:
    """A model, asked by the methods of ``Embedder``."""

    def __init__(self, directory: str) -> None:
        listen_locally()
        give_back_large_blocks()
        self._embedder = ModelEmbedder(served_model(directory))
        self._modalities = self._embedder.modalities

    def fingerprint(self) -> str:
        """The model's."""
        return self._embedder.fingerprint

    def modalities(self) -> tuple[Modality, ...]:
        """What it reads."""
        return self._modalities

    def embed(self, queries: Sequence[RawQuery]) -> list[Embedded | SpdqError]:
        """The vector of each query, or why there is none."""
        return self._embedder.embed(queries)

    def embed_item(self, text: str | None, picture: bytes | None) -> Floats:
        """The vector (1, dim) of an item."""
        return self._embedder.embed_item(text, picture)


class RemoteEmbedder:
    """Whichever encoder is free, as an ``Embedder`` for the threads of one web program.

    A call is repeated once where the encoder died under it; Ray Serve starts another one meanwhile.

    Raises UnavailableError where none answers within ``seconds``.
    """

    def __init__(self, encoder: DeploymentHandle[Any], seconds: float) -> None:
        self._encoder = encoder
        self.seconds = seconds
        self.fingerprint: str = self._asked("fingerprint")
        self.modalities: tuple[Modality, ...] = self._asked("modalities")

    def embed(self, queries: Sequence[RawQuery]) -> list[Embedded | SpdqError]:
        """The vector of each query, or why there is none."""
        return cast("list[Embedded | SpdqError]", self._asked("embed", list(queries)))

    def embed_item(self, text: str | None, picture: bytes | None) -> Floats:
        """The vector (1, dim) of an item."""
        return cast("Floats", self._asked("embed_item", text, picture))

    def _asked(self, method: str, *given: Any) -> Any:
        from ray.exceptions import RayActorError

        until = monotonic() + self.seconds
        call = partial(getattr(self._encoder, method).remote, *given)
        with worker_errors("the encoder"):
            try:
                try:
                    return call().result(timeout_s=self.seconds)
                except RayActorError:
                    return call().result(timeout_s=max(0.0, until - monotonic()))
            except TimeoutError:
                raise UnavailableError(f"no encoder has answered within {self.seconds:g} s") from None


class Ingress:
    """The web program of ``spdq.serving``, over the index or its shards."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it.
        self, served: dict[str, Any], encoder: DeploymentHandle[Any] | None = None
    ) -> None:
        listen_locally()
        # What waits for an encoder must not do so in the event loop.
        await asyncio.to_thread(self._open, served, encoder)

    def _open(self, served: dict[str, Any], encoder: DeploymentHandle[Any] | None) -> None:
        self._settings = Settings(**served["settings"])
        self._index = open_index(served["index"])
        embedder = None if encoder is None else RemoteEmbedder(encoder, START_SECONDS)
        pictures = shown(served["pictures"], served["picture_folder"])
        self._service = Service(self._index, embedder, *pictures)
        self._service.warm_up()
        if embedder is not None:
            embedder.seconds = SHARE_OF_DEADLINE * self._settings.deadline

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What Ray Serve asks for once the constructor is through."""
        self._app = create_app(self._service, self._settings)
        return self._app

    async def drain(self) -> None:
        """Refuse what comes from now on, and wait for the answers to what has come."""
        self._service.draining = True
        async with asyncio.timeout(self._settings.drain_seconds):
            while self._app.state.metrics.under_way:
                await asyncio.sleep(DRAIN_LOOK_SECONDS)

    def __del__(self) -> None:
        if hasattr(self, "_index"):
            self._index.close()


def application(served: Served, encoders: int = 1, replicas: int = 1) -> Application:
    """What Ray Serve is to run: web programs, and as many encoders, up to a number, as there is work for."""
    serve: Any = import_module("ray.serve")

    # The app refuses what is too much with its own words: more of what Serve lets through is for it to say.
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        num_replicas=replicas,
        max_ongoing_requests=served.settings.connections,
        max_queued_requests=served.settings.connections,
        ray_actor_options={"num_cpus": 1},
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=served.settings.drain_seconds,
    )
    told = asdict(served)
    if served.model is None:
        return cast("Application", ingress.bind(told))
    encoder = serve.deployment(
        Encoder,
        name="encoder",
        max_ongoing_requests=WAITING_FOR_ONE,
        ray_actor_options={"num_cpus": 1},
        autoscaling_config={
            "min_replicas": 1,
            "max_replicas": encoders,
            "target_ongoing_requests": WAITING_FOR_ONE / 2,
        },
        graceful_shutdown_wait_loop_s=0.1,
    )
    return cast("Application", ingress.bind(told, encoder.bind(served.model)))


def check(served: Served) -> str | None:
    """Open everything once, where Ray runs it, so that errors are told as such; the model directory to serve with.

    Raises as ``spdq.serving.serve``.
    """
    # That the shards belong together is seen by the web program, which starts workers for it.
    first = shard_paths(served.index)[0] if is_sharded(served.index) else served.index
    with Index.open(first, verify=False) as index:
        directory = served.model or index.model_path
        model = None if directory is None else served_model(directory)
        Service(index, model, *shown(served.pictures, served.picture_folder))
        return directory


def open_index(path: str) -> Index:
    """An index, or the shards in a folder, whose workers belong to this process. Raises as they do."""
    if is_sharded(path):
        return cast("Index", ShardedIndex.open(path))  # It has all that a service asks of an index.
    return Index.open(path)


def is_sharded(path: str) -> bool:
    """Whether a folder is no index itself, so that it holds shards."""
    return os.path.isdir(path) and not os.path.exists(os.path.join(path, CATALOGUE))


def listen_locally() -> None:
    """Keep the port that Ray Serve opens in each replica, for other replicas, to this machine where all of Ray is.

    It is not used unless RAY_SERVE_USE_GRPC_BY_DEFAULT is set, and would be open to all addresses.
    """
    if import_module("ray._private.ray_constants").ENABLE_RAY_CLUSTER:
        return
    replica: Any = import_module("ray.serve._private.replica")
    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, _: add_port(server, "127.0.0.1:0")
