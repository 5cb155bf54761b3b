"""The tests of the HTTP service that only ask, asked again of the service on Ray Serve, over two shards."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from inspect import signature
from types import SimpleNamespace

import httpx
import pytest
from made_served import Client, made, model, png, told_problem  # noqa: F401
from process_tree import below
from served import ON_RAY, server
from serving import test_app, test_bodies, test_front, test_items, test_searching, test_thumbnails
from serving.test_searching import engine  # noqa: F401

from spdq.distributed.shard_folder import shard_index
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
    # The generation of shards is the sum of theirs.
    "test_health_and_readiness",
    "test_a_text_finds_what_the_engine_finds",
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
def client(made, tmp_path_factory):  # noqa: F811
    shards = tmp_path_factory.mktemp("on_ray") / "shards"
    shard_index(made.index, shards, 2)
    with (
        server(shards, made.data, code=ON_RAY) as process,
        closing(RemoteClient(process.url)) as client,
        Index.open(made.index) as index,
    ):
        client.service, client.process = SimpleNamespace(index=index), process
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


def test_a_lost_scan_worker_is_replaced(client):
    """Ray repeats what it was asked."""
    wanted = client.search(text="red", k=50)
    workers = [
        pid for pid, command in below(client.process.pid).items() if command.startswith("ray::ScanWorker")
    ]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert client.search(text="red", k=50) == wanted
