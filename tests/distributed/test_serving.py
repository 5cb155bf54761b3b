"""The HTTP service on Ray Serve: answers, who listens, what happens when parts die, its end."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace

import httpx
import numpy as np
import pytest
from made_models import N_ITEMS
from made_served import Client, build_index, made, model, png, told  # noqa: F401
from process_tree import LOOPBACK, below, listening
from served import ON_RAY, ask_everything, server

from spdq.distributed.cluster import TEMPORARY
from spdq.distributed.deployments import RemoteEmbedder
from spdq.distributed.serving import served
from spdq.errors import UnavailableError, UsageError
from spdq.index import Index
from spdq.serving import Service, Settings, create_app
from spdq.serving.opening import shown

CASES = int(os.environ.get("SPDQ_SERVING_CASES", "8"))
JSON = {"content-type": "application/json"}
BODY = b'{"text": "red"}'
IDS = [(f"item {row}", f"a/{row}", f"a/{row}/image", f"\u00fc {row}")[row % 4] for row in range(N_ITEMS)]


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):  # noqa: F811
    """Of an index under string ids, some with slashes, and its data set."""
    folder = tmp_path_factory.mktemp("on_ray")
    replace(made.dataset, ids=np.array(IDS)).save(made.folder / "on_ray.h5")
    build_index(made, folder / "index", IDS)
    return folder


@pytest.fixture(scope="module")
def running(made, folder):  # noqa: F811
    more = {"encoders": 2}
    with server(folder / "index", made.folder / "on_ray.h5", ON_RAY, more=more, drain_seconds=20) as process:
        yield process


def test_nothing_that_is_asked_breaks_it(running, tmp_path):
    run = ask_everything(running.url, CASES, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_it_answers_as_the_plain_server(running, folder, made, model, png):  # noqa: F811
    vector = [round(float(value), 3) for value in np.linspace(-1, 1, model.codebooks.dim)]
    mix = [{"text": "small red", "weight": 1}, {"item": "a/5", "weight": -0.25}, {"vector": vector}]
    picture = base64.b64encode(png(5)).decode()
    searches = [
        {"text": "red unheard", "k": 7, "explain": True, "attributes": True},
        {"text": "unheard"},
        {"image": picture, "instance_weight": 0.5},
        {"vector": vector, "modality": "text"},
        {"mix": mix, "where": "number < 20"},
        {"item": "a/6/image", "where": "has(tags, 'even')", "k": 100},
        {"text": "red", "where": "nonsense <"},
        {"vector": [1.0]},
    ]
    requests = [("POST", "/v1/search", {"json": search}) for search in searches]
    requests += [
        ("POST", "/v1/search", {"files": {"image": png(3)}, "data": {"json": '{"k": 3}'}}),
        ("POST", "/v1/search/batch", {"json": {"queries": searches[:6]}}),
        ("GET", "/v1/items?k=5&where=number%20%3E%203", {}),
        ("GET", "/v1/items/item%204", {}),
        ("GET", "/v1/items/a%2F5", {}),
        ("GET", "/v1/items/a%2F6%2Fimage", {}),
        ("GET", "/v1/items/a%2F6%2Fimage/image?size=64", {}),
        ("GET", "/v1/items/%FC%207", {}),
        ("GET", "/v1/items/none", {}),
        ("GET", "/v1/index", {}),
        ("GET", "/openapi.json", {}),
        ("GET", "/", {}),
        ("GET", "/healthz", {}),
        ("GET", "/readyz", {}),
    ]
    with Index.open(folder / "index") as index:
        service = Service(index, model, *shown(made.folder / "on_ray.h5", None))
        with closing(Client(create_app(service, Settings()))) as plain:
            for method, path, given in requests:
                wanted = plain(method, path, **given)
                found = httpx.request(method, running.url + path, timeout=30, **given)
                assert (found.status_code, found.content) == (wanted.status_code, wanted.content)
                for name in ("date", "server", "x-request-id"):
                    found.headers.pop(name, None)
                assert found.headers == wanted.headers


def test_its_figures(running):
    assert httpx.post(f"{running.url}/v1/search", content=BODY, headers=JSON).status_code == 200
    told_figures = httpx.get(f"{running.url}/metrics").text
    assert 'spdq_http_requests_total{method="POST",route="/v1/search",status="200"}' in told_figures
    assert f"spdq_index_items {N_ITEMS}.0" in told_figures


def test_a_large_chunked_body_is_refused(running):
    def chunks():
        for _ in range(64):
            yield b" " * 65536

    found = httpx.post(f"{running.url}/v1/search", content=chunks(), headers=JSON)
    assert told(found, 413) == "the body is larger than 262,144 bytes"


def test_this_machine_alone_reaches_it(running):
    assert httpx.get(f"{running.url}/healthz", headers={"host": "evil.example"}).status_code == 400
    addresses = listening(below(running.pid))
    assert any(address.endswith(f":{running.port:04X}") for address in addresses)
    assert {address.partition(":")[0] for address in addresses} <= LOOPBACK


def test_a_lost_encoder_is_replaced(running):
    """What is asked meanwhile is answered, or told to come back."""
    answers = []
    ended = threading.Event()

    def ask():
        with httpx.Client(base_url=running.url, timeout=30) as http:
            while not ended.is_set():
                answers.append(http.post("/v1/search", content=BODY, headers=JSON))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_until(lambda: len(answers) > 10)
    (encoder,) = parts(running, "ServeReplica:spdq:encoder")
    os.kill(encoder, signal.SIGKILL)
    wait_until(lambda: (now := parts(running, "ServeReplica:spdq:encoder")) and encoder not in now)
    seen = len(answers)
    wait_until(lambda: any(answer.status_code == 200 for answer in answers[seen:]))
    ended.set()
    for thread in asking:
        thread.join()
    for answer in answers:
        if answer.status_code != 200:
            assert told(answer, 503) == "a part of the service does not answer; the server's log says more"
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1


def test_a_newer_generation_is_picked_up(running, folder):
    before = httpx.get(f"{running.url}/readyz").json()
    with Index.open(folder / "index", writable=True) as index:
        index.remove(["item 0"])
    wait_until(lambda: httpx.get(f"{running.url}/readyz").json()["items"] == N_ITEMS - 1)
    assert httpx.get(f"{running.url}/readyz").json()["generation"] > before["generation"]
    assert httpx.get(f"{running.url}/v1/items/item%200").status_code == 404


def test_its_end(running):
    """What is under way is answered, what comes late is refused, and nothing is left."""
    rest = below(running.pid)
    folders = list(TEMPORARY.glob(f"spdq-ray-{running.pid}-*"))
    assert len(folders) == 1
    with ExitStack() as stack:
        late = [
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), 30)) for _ in range(4)
        ]
        head = "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(BODY)}\r\n\r\n"
        for connection in late:
            connection.sendall(head.encode() + BODY[:5])
        figures = f"{running.url}/metrics"
        wait_until(lambda: "requests_under_way 5.0" in httpx.get(figures).text)
        running.send_signal(signal.SIGTERM)
        wait_until(lambda: httpx.get(f"{running.url}/readyz").status_code == 503)
        refused = httpx.post(f"{running.url}/v1/search", content=BODY, headers=JSON)
        assert told(refused, 503) == "the server is shutting down"
        for connection in late:
            connection.sendall(BODY[5:])
        for connection in late:
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    assert running.wait(60) == -signal.SIGTERM
    assert running.stderr.read() == ""
    # Ray tells of the encoder that another test ended.
    assert all("(raylet)" in line for line in running.stdout.read().splitlines())
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in rest))
    assert not any(folder.exists() for folder in folders)


def parts(process, name):
    """Ids of the processes of one part of the service."""
    return [pid for pid, command in below(process.pid).items() if command.startswith(f"ray::{name}")]


def wait_until(reached, seconds=60):
    until = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < until, "it never was so"
        time.sleep(0.05)


@pytest.mark.parametrize(("given", "message"), [
    ({"settings": Settings(allow_writes=True, token="x" * 16)}, "Ray Serve answers searches alone"),
    ({"encoders": 0}, "encoders must be 1 or more, got 0"),
    ({"replicas": 0}, "replicas must be 1 or more, got 0"),
    ({"address": "auto", "settings": Settings(port=0)}, "port 0 is for a private Ray"),
    ({"settings": Settings(host="192.0.2.1", token="x" * 16)}, "cannot listen on 192"),
])  # fmt: skip
def test_what_cannot_be_served(given, message):
    with pytest.raises(UsageError, match=message), served("index", **given):
        pass


class Encoder:
    """Handles of Ray Serve as they answer an embedder: a value, or an error."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __getattr__(self, name):
        return self

    def remote(self, *_):
        return self

    def result(self, timeout_s):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_an_encoder_is_asked_again_once():
    from ray.exceptions import RayActorError

    handle = Encoder("print", ("text",))
    embedder = RemoteEmbedder(handle, 1.5)
    assert (embedder.fingerprint, embedder.modalities) == ("print", ("text",))
    handle.answers = [RayActorError(), []]
    assert embedder.embed([]) == []
    handle.answers = [RayActorError(), RayActorError(), []]
    with pytest.raises(UnavailableError, match="the encoder is lost"):
        embedder.embed([])
    handle.answers = [TimeoutError()]
    with pytest.raises(UnavailableError, match=r"no encoder has answered within 1\.5 s"):
        embedder.embed([])


FAILS = """
import sys
from spdq.distributed.serving import served
from spdq.errors import NotFoundError
from spdq.serving import Service, Settings, create_app
from spdq.serving.opening import shown
try:
    with served(sys.argv[1], settings=Settings(port=0)):
        pass
except NotFoundError as error:
    print(error)
"""


def test_what_keeps_it_from_starting_is_told_in_a_line(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", FAILS, tmp_path / "none"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stdout.count("\n")) == (0, 1), run.stderr
    assert str(tmp_path / "none") in run.stdout
    assert run.stderr == ""
