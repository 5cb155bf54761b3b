"""The web program: routes, and what they have in common."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from spdq import __version__
from spdq.errors import UsageError
from spdq.features import shrunk
from spdq.serving import paths, problems, thumbnails
from spdq.serving.bodies import Bodies
from spdq.serving.front import Front, check_token
from spdq.serving.metrics import MEDIA_TYPE as METRICS_TYPE
from spdq.serving.metrics import Metrics
from spdq.serving.openapi import bearer, body, describe, parameters
from spdq.serving.openapi import problems as described
from spdq.serving.page import page
from spdq.serving.pool import Pool
from spdq.serving.problems import Problem, busy
from spdq.serving.schemas import (
    WAYS,
    About,
    Batch,
    BatchAnswer,
    Changed,
    Item,
    Items,
    Listing,
    NewItems,
    Search,
    SearchAnswer,
    UploadSearch,
)
from spdq.serving.service import Service
from spdq.serving.settings import Settings
from spdq.serving.shedding import Shedding

Asked = TypeVar("Asked", bound=BaseModel)

PICTURE_THREADS = 2
PICTURES_WAITING = 32
_COMMON = (400, 401, 403, 408, 422, 503)


def create_app(service: Service, settings: Settings) -> FastAPI:
    """The ASGI app of a service. Its lifespan warms the service up and looks for newer generations.

    Raises UsageError where it is to write and the index is open for reading.
    """
    if settings.allow_writes and not service.index.stats()["writable"]:
        raise UsageError("the index is open for reading: open it with writable=True to allow writes")
    # Pictures have threads of their own: a page full of them must not keep searches waiting.
    searches = Pool("searches", settings.threads, settings.waiting, lambda: service.draining)
    pictures = Pool("pictures", PICTURE_THREADS, PICTURES_WAITING, lambda: service.draining)
    metrics = Metrics(service, [searches, pictures])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.warm_up)
        following = asyncio.create_task(_follow(service, settings.refresh_seconds))
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        searches.close()
        pictures.close()

    app = FastAPI(
        title="SPDQ",
        summary="Text finds images, images find text.",
        version=__version__,
        docs_url=None,  # They load scripts from elsewhere.
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.shedding = Shedding(searches, metrics)
    app.state.metrics = metrics
    app.add_middleware(Front, service=service, settings=settings, metrics=metrics)
    problems.install(app)
    describe(app)
    _add_page(app)
    _add_state(app, service, metrics)
    _add_searching(app, service, settings, searches)
    if settings.allow_writes:
        _add_writing(app, service, settings, searches)
    _add_items(app, service, settings, searches, pictures)
    return app


async def _follow(service: Service, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(service.refresh)


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def start() -> Response:
        made = page()
        headers = {"Content-Security-Policy": made.policy}
        return Response(made.content, headers=headers, media_type="text/html")


def _add_state(app: FastAPI, service: Service, metrics: Metrics) -> None:
    @app.get("/healthz", summary="The process lives.", responses=described(400, 403))
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        summary="Searches are answered, from the newest generation.",
        responses=described(400, 403, 503),
    )
    async def readyz() -> dict[str, Any]:
        if service.draining:
            raise busy("the server is shutting down")
        if service.fault is not None:
            raise busy("the index cannot be brought up to date; the server's log says why", 10)
        return {"status": "ready", "items": len(service.index), "generation": service.index.generation}

    @app.get(
        "/metrics",
        summary="Figures for Prometheus.",
        response_class=Response,
        responses={200: {"content": {METRICS_TYPE: {}}}, **described(400, 401, 403, 503)},
    )
    async def figures() -> Response:
        return Response(metrics.text(), media_type=METRICS_TYPE)


def _add_searching(app: FastAPI, service: Service, settings: Settings, pool: Pool) -> None:
    bodies = Bodies(settings)

    @app.post(
        "/v1/search",
        summary="The items closest to a text, a picture, a vector or a mixture.",
        response_model=SearchAnswer,
        responses=described(*_COMMON, 413, 415),
        openapi_extra=body(Search, UploadSearch),
    )
    async def search(request: Request) -> Response:
        pool.check()
        async with bodies.receive(request) as received:
            content = received.content
            if received.upload is not None and all(content.get(way) is None for way in (*WAYS, "mix")):
                content = content | {"upload": True}
            asked = _parsed(Search, content)
            return await _answered(pool, settings.deadline, lambda: service.search(asked, received.upload))

    @app.post(
        "/v1/search/batch",
        summary="Several searches, answered from one generation of the index.",
        response_model=BatchAnswer,
        responses=described(*_COMMON, 413, 415),
        openapi_extra=body(Batch),
    )
    async def batch(request: Request) -> Response:
        pool.check()
        async with bodies.receive(request) as received:
            asked = _parsed(Batch, received.content)
            if received.upload is not None:
                raise Problem(415, "a batch takes no files: give pictures as base64")
            return await _answered(pool, settings.deadline, lambda: service.search_all(asked.queries))


def _add_writing(app: FastAPI, service: Service, settings: Settings, pool: Pool) -> None:
    bodies = Bodies(settings)

    @app.post(
        "/v1/items",
        summary="Add items, or replace them.",
        status_code=201,
        response_model=Changed,
        responses=described(*_COMMON, 409, 413, 415, 507),
        openapi_extra=body(NewItems, NewItems) | bearer(),
    )
    async def add(request: Request) -> Response:
        check_token(request.headers, settings)
        pool.check()
        async with bodies.receive(request) as received:
            asked = _parsed(NewItems, received.content)
            return await _answered(
                pool,
                settings.deadline,
                lambda: service.add(asked.items, asked.replace, received.upload),
                status=201,
            )

    @app.delete(
        "/v1/items/{item_id:item}",
        summary="Remove an item.",
        status_code=204,
        responses=described(*_COMMON, 404, 507),
        openapi_extra=bearer(),
    )
    async def remove(request: Request, item_id: str) -> Response:
        check_token(request.headers, settings)
        key = paths.item_key(item_id, service.index.id_kind)
        await pool.run(lambda: service.remove(key), settings.deadline)
        return Response(status_code=204)


def _add_items(app: FastAPI, service: Service, settings: Settings, pool: Pool, pictures: Pool) -> None:
    @app.get(
        "/v1/index",
        summary="What is searched: how many items, their attributes, and what it takes.",
        response_model=About,
        responses=described(*_COMMON),
    )
    async def about() -> Response:
        return await _answered(pool, settings.deadline, service.about)

    @app.get(
        "/v1/items",
        summary="The first items by their ids, all or those that fulfil a condition.",
        response_model=Items,
        responses=described(*_COMMON),
        openapi_extra=parameters(Listing),
    )
    async def listed(request: Request) -> Response:
        asked = _parsed(Listing, dict(request.query_params))
        return await _answered(pool, settings.deadline, lambda: service.items(asked.k, asked.where))

    @app.get(
        "/v1/items/{item_id:path}/image",
        summary="A small picture of an item, as WebP.",
        response_class=Response,
        responses={
            200: {"content": {shrunk.MEDIA_TYPE: {}}},
            304: {"description": "the one that If-None-Match names"},
            **described(*_COMMON, 404),
        },
    )
    async def image(
        request: Request,
        item_id: str,
        size: str = Query(
            str(thumbnails.DEFAULT_SIZE),
            description="pixels of the longer side",
            json_schema_extra={"enum": [str(size) for size in thumbnails.SIZES]},
        ),
    ) -> Response:
        if service.thumbnails is None:
            raise Problem(404, "this server was started without pictures (--pictures)")
        if size not in map(str, thumbnails.SIZES):
            sizes = ", ".join(map(str, thumbnails.SIZES))
            raise Problem(422, f"size: expected one of {sizes}, got {size[:20]!r}")
        key = paths.item_key(item_id, service.index.id_kind)
        made = await pictures.run(lambda: service.thumbnail(key, int(size)), settings.deadline)
        headers = {"ETag": made.tag, "Cache-Control": "private, max-age=3600"}
        if made.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(made.content, headers=headers, media_type=shrunk.MEDIA_TYPE)

    @app.get(
        "/v1/items/{item_id:item}",
        summary="What is known of an item.",
        response_model=Item,
        responses=described(*_COMMON, 404),
    )
    async def item(item_id: str) -> Response:
        key = paths.item_key(item_id, service.index.id_kind)
        return await _answered(pool, settings.deadline, lambda: service.item(key))


def _parsed(model: type[Asked], content: dict[str, Any]) -> Asked:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise problems.of_validation(error) from None


async def _answered(
    pool: Pool, seconds: float, work: Callable[[], dict[str, Any]], status: int = 200
) -> Response:
    # Made into JSON by the thread, too: a thousand hits take milliseconds.
    content = await pool.run(lambda: json.dumps(work(), allow_nan=False).encode(), seconds)
    return Response(content, status, media_type="application/json")
