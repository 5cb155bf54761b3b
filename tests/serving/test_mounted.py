"""The app as a part of another web program."""

from __future__ import annotations

from contextlib import asynccontextmanager, closing

from fastapi import FastAPI

from spdq.index import Index
from spdq.serving import Service, Settings, create_app

TOKEN = "0123456789abcdef"


def test_an_app_below_a_path_of_another_program(made, model, client_of, told_problem):
    """Its page is open without a token, and finds the rest beside itself."""
    with Index.open(made.index) as index:
        app = create_app(
            Service(index, model), Settings(host="0.0.0.0", token=TOKEN, allowed_hosts=("127.0.0.1",))
        )

        @asynccontextmanager
        async def lifespan(_):
            async with app.router.lifespan_context(app):
                yield

        outer = FastAPI(lifespan=lifespan)
        outer.mount("/find", app)
        with closing(client_of(outer)) as client:
            assert "<title>SPDQ search</title>" in client("GET", "/find/").text
            told_problem(client("GET", "/find/v1/items"), 401)
            bearer = {"authorization": f"Bearer {TOKEN}"}
            assert (
                told_problem(client("GET", "/find/v1/items?k=2", headers=bearer), 200)["items"][0]["id"]
                == 100
            )
