"""The tests of the HTTP service that only ask, asked again of the service on Ray Serve."""

from __future__ import annotations

import asyncio
from contextlib import closing
from inspect import signature
from types import SimpleNamespace

import httpx
import pytest
from made_served import Client, made, model, png, told_problem  # noqa: F401
from served import ON_RAY, server
from serving import test_app, test_bodies, test_front, test_items, test_searching, test_thumbnails
from serving.test_searching import engine  # noqa: F401

from spdq.index import Index

SHARED = (test_app, test_bodies, test_front, test_items, test_searching, test_thumbnails)
NOT_SHARED = {
    # No HTTP client sends these.
    "test_a_declared_length_is_not_trusted",
    "test_a_declared_length_is_refused_before_a_byte_is_read",
    # Ray Serve's proxy refuses the method by itself, and reads on while the app refuses a body.
    "test_a_method_that_nobody_knows",
    "test_a_chunked_body_is_counted_while_it_streams",
    "test_a_chunked_form_is_counted_while_it_streams",
}


class RemoteClient(Client):
    """Asks a server over the network."""

    def __init__(self, url):
        self._runner = asyncio.Runner()
        self._http = httpx.AsyncClient(base_url=url, headers={"host": "127.0.0.1:8080"}, timeout=30)

    def close(self):
        self._runner.run(self._http.aclose())
        self._runner.close()


@pytest.fixture(scope="module")
def client(made):  # noqa: F811
    with (
        server(made.index, made.data, code=ON_RAY) as process,
        closing(RemoteClient(process.url)) as client,
        Index.open(made.index) as index,
    ):
        client.service = SimpleNamespace(index=index)
        yield client


def shared():
    """Tests by name that ask a client and open no app of their own."""
    found = {}
    for module in SHARED:
        for name, test in vars(module).items():
            if name.startswith("test_") and name not in NOT_SHARED and "client" in signature(test).parameters:
                assert name not in found
                found[name] = test
    return found


globals().update(shared())


def test_they_are_shared():
    assert len(shared()) > 30
