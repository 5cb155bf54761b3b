"""An index of drawn pictures with a model that reads texts and pixels, and a client that asks an app of it."""

from __future__ import annotations

import asyncio
import io
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from made_models import COLOURS, N_ITEMS, SHORT, SIZES, picture, worded

from spdq import load_model
from spdq.data.captions import captions
from spdq.features import image_extractor
from spdq.index import Index
from spdq.serving import Service, Settings, create_app
from spdq.serving.thumbnails import Thumbnails
from spdq.training.recipes import RECIPES
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask

ATTRIBUTES = {"colour": "str", "size": "str", "number": "int", "tags": "set"}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """``model``, ``index``, ``data`` as paths, ``dataset``; nobody may change them."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "pictures").mkdir()
    extractor = image_extractor("pixels:8")
    pictures = [picture(row) for row in range(N_ITEMS)]
    names = tuple(f"pictures/{row}.png" for row in range(N_ITEMS))
    for name, image in zip(names, pictures, strict=True):
        image.save(folder / name)
    dataset = replace(
        worded(),
        image_features=extractor.extract(pictures),
        image_extractor=extractor.name,
        image_paths=names,
        root=folder,
    )
    dataset.save(folder / "data.h5")
    model = train_task(SPDQTask, dataset, 16, replace(RECIPES["default"], **SHORT))
    model.save_pretrained(folder / "model")
    made = SimpleNamespace(
        folder=folder,
        data=folder / "data.h5",
        dataset=dataset,
        model=folder / "model",
        index=folder / "index",
    )
    build_index(made, made.index)
    return made


def build_index(made, path, ids=None):
    """All units of the data set, under its int ids or others, with attributes."""
    model, dataset = load_model(made.model), made.dataset
    kind = "int" if ids is None else "str"
    rows = np.arange(N_ITEMS)
    with Index.create(
        path, model.codebooks, "ip", kind, model.fingerprint, made.model, attributes=ATTRIBUTES
    ) as index:
        index.add(
            model.embed_unit(dataset.image_features, model.text_features(dataset.texts)),
            dataset.ids if ids is None else ids,
            {
                "colour": [COLOURS[row % 3] for row in rows],
                "size": [SIZES[row // 3 % 2] for row in rows],
                "number": rows.tolist(),
                "tags": [{"even"} if row % 2 == 0 else None for row in rows],
            },
        )


@pytest.fixture
def named(made, tmp_path):
    """The paths of the same index under string ids, some with slashes, and of its data set."""
    ids = [(f"item {row}", f"a/{row}", f"a/{row}/image", f"\u00fc {row}")[row % 4] for row in range(N_ITEMS)]
    data = made.folder / "named.h5"
    replace(made.dataset, ids=np.array(ids)).save(data)
    build_index(made, tmp_path / "index", ids)
    return tmp_path / "index", data


@pytest.fixture(scope="session")
def model(made):
    return load_model(made.model)


class Client:
    """Asks an app without a network, one request after the other or several at once."""

    def __init__(self, app, **headers):
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers)
        self._lifespan = app.router.lifespan_context(app)
        self._runner.run(self._lifespan.__aenter__())

    def __call__(self, method, path, **given):
        return self._runner.run(self._http.request(method, path, **given))

    def search(self, status=200, **asked):
        """What a search answers; the detail of a problem."""
        return told(self("POST", "/v1/search", json=asked), status)

    def at_once(self, *requests, after=0, then=None):
        """The answers to several (method, path, arguments); once some are there, ``then()`` is called."""

        async def all_of_them():
            asking = [
                asyncio.create_task(self._http.request(method, path, **given))
                for method, path, given in requests
            ]
            while sum(one.done() for one in asking) < after:
                await asyncio.sleep(0.01)
            if then is not None:
                then()
            return await asyncio.gather(*asking)

        return self._runner.run(asyncio.wait_for(all_of_them(), 60))

    def wait_until(self, reached):
        """Let the app's own tasks go on until it is so."""
        for _ in range(1000):
            if reached():
                return
            self._runner.run(asyncio.sleep(0.02))
        pytest.fail("it never was so")

    def close(self):
        self._runner.run(self._http.aclose())
        self._runner.run(self._lifespan.__aexit__(None, None, None))
        self._runner.close()


def told(answer, status):
    """The JSON of an answer with this status; of a problem, which must be a proper one, its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    if status < 400:
        return answer.json() if answer.content else None
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() - {"errors"} == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert "Traceback" not in answer.text
    assert "\n" not in problem["detail"]
    if status == 503:
        assert int(answer.headers["retry-after"]) > 0
    return problem["detail"]


@pytest.fixture(scope="session")
def client_of():
    return Client


@pytest.fixture(scope="session")
def told_problem():
    return told


@pytest.fixture(scope="session")
def serving(made, model):
    """Open an index and a client for it: ``with serving(threads=1) as client``."""

    @contextmanager
    def opened(path=made.index, model=model, pictures=False, headers=None, change=None, **settings):
        chosen = Settings(**{"threads": 2, **settings})
        with Index.open(path, writable=chosen.allow_writes) as index:
            shown = (Thumbnails(made.dataset), captions(made.dataset)) if pictures else ()
            service = Service(index, model, *shown)
            if change is not None:
                change(service)
            client = Client(create_app(service, chosen), **(headers or {}))
            client.service = service
            try:
                yield client
            finally:
                client.close()

    return opened


@pytest.fixture(scope="module")
def client(serving):
    """A client of an app that is only read."""
    with serving(pictures=True) as client:
        yield client


@pytest.fixture
def own_index(made, tmp_path):
    """A copy of the index to change."""
    build_index(made, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture(scope="session")
def png():
    def of(row, size=32):
        file = io.BytesIO()
        picture(row).resize((size, size)).save(file, "PNG")
        return file.getvalue()

    return of
