from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks
from spdq.serving.settings import cores

TOKEN = "0123456789abcdef"


@contextmanager
def served(process, *args):
    """The command in a process of its own, with the ``url`` it says it serves on."""
    with process("serve", *args, "--port", 0) as started:
        try:
            line = started.stderr.readline()
            started.url = line.rpartition(" on ")[2].strip()
            assert re.fullmatch(r"spdq: serving \S+ on http://127\.0\.0\.1:\d+\n", line), (
                line + started.stderr.read()
            )
            yield started
        finally:
            started.kill()


def ask(url, told=None, method=None, **headers):
    """The status and the JSON of an answer."""
    content = None if told is None else json.dumps(told).encode()
    request = urllib.request.Request(
        url, content, {"Content-Type": "application/json"} | headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
            return answer.status, json.loads(body) if body else None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.fixture
def plain(tmp_path):
    """An index of two vectors that came without a model."""
    words = np.random.default_rng(0).normal(size=(2, 16, 4)).astype(np.float32)
    with Index.create(tmp_path / "plain", Codebooks(words, "product")) as index:
        index.add(np.eye(2, 8, dtype=np.float32), [7, 9])
    return tmp_path / "plain"


def test_it_answers_as_search_does_and_ends_on_sigterm(process, spdq, world):
    found = spdq("search", world.index, "--text", "red circle", "-k", 3, "--json")
    want = json.loads(found.out)["hits"]
    with served(process, world.index, "--pictures", world.data) as started:
        status, answer = ask(f"{started.url}/v1/search", {"text": "red circle", "k": 3})
        assert (status, answer["hits"]) == (200, want)
        status, item = ask(f"{started.url}/v1/items/{want[0]['id']}")
        assert status == 200
        with urllib.request.urlopen(started.url + item["image"], timeout=30) as picture:
            assert picture.headers["Content-Type"] == "image/webp"
        assert ask(f"{started.url}/readyz")[0] == 200
        started.send_signal(signal.SIGTERM)
        out, err = started.communicate(timeout=11)
    assert (started.returncode, out, err) == (143, "", "spdq: interrupted\n")


def test_ctrl_c_ends_it(process, plain):
    with served(process, plain) as started:
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=11)
    assert (started.returncode, err) == (130, "spdq: interrupted\n")


def test_writes_with_a_token(process, plain, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    options = (
        "--allow-writes",
        "--token-file",
        tmp_path / "token",
        "--threads",
        1,
        "--allow-host",
        "photos.example",
    )
    with served(process, plain, *options) as started:
        told = {"items": [{"id": 1, "vector": [0.0] * 8}]}
        assert ask(f"{started.url}/v1/items", told)[0] == 401
        assert ask(f"{started.url}/v1/items", told, Authorization=f"Bearer {TOKEN}")[0] == 201
        remove = {"method": "DELETE", "Authorization": f"Bearer {TOKEN}"}
        assert ask(f"{started.url}/v1/items/7", **remove) == (204, None)
        assert ask(f"{started.url}/healthz", Host="photos.example")[0] == 200
        assert ask(f"{started.url}/healthz", Host="other.example")[0] == 400
        started.send_signal(signal.SIGTERM)
        started.communicate(timeout=11)
    with Index.open(plain, writable=True) as index:
        assert index.ids.tolist() == [1, 9]


@pytest.mark.parametrize(("options", "code", "message"), [
    (["--allow-writes"], 2, "writes need a token"),
    (["--host", "0.0.0.0"], 2, "0.0.0.0 can be reached by others"),
    (["--token-file", "none"], 3, "none: cannot be read"),
    (["--port", "70000"], 2, "Invalid value for '--port'"),
    (["--threads", "0"], 2, "Invalid value for '--threads'"),
    (["--deadline", "0"], 2, "Invalid value for '--deadline'"),
    (["--model", "none"], 3, "none"),
    (["--pictures", "none.h5"], 3, "none.h5"),
    (["--encoders", "2"], 2, "are for Ray: add --ray"),
    (["--ray", "--allow-writes"], 2, "writes need a token"),
    (["--port", "0", "--host", "127.0.0.256"], 2, "127.0.0.256 can be reached by others"),
])  # fmt: skip
def test_what_keeps_it_from_starting(spdq, plain, options, code, message):
    done = spdq("serve", plain, *options)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_what_ray_is_told(spdq, plain, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "spdq.distributed.serving.serve", lambda *given: asked.append((given[3].threads, given[6:]))
    )
    assert spdq("serve", plain, "--ray").code == 0
    options = ("--address", "auto", "--encoders", 3, "--replicas", 2)
    assert spdq("serve", plain, "--ray", *options).code == 0
    assert spdq("serve", plain, "--ray", "--threads", 1).code == 0
    assert asked == [
        (max(cores(), 4), (None, 1, 1)),
        (max(cores(), 12), ("auto", 3, 2)),
        (1, (None, 1, 1)),
    ]


def test_an_index_that_is_not_there(spdq, tmp_path):
    done = spdq("serve", tmp_path / "none", "--port", 0)
    assert done.code == 3
    assert "none" in done.err
