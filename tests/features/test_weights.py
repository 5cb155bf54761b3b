"""Fetching weights, from a hub that runs here; what each library does with them is tested with its extractor."""

from __future__ import annotations

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from spdq.errors import MissingExtraError, NotFoundError
from spdq.features.timm_images import import_timm
from spdq.features.weights import stored_shapes

CONTENT = b"the weights, whatever they are"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FETCH = """
import sys
from spdq.errors import NotFoundError
from spdq.features.weights import hub_file
try:
    print(hub_file("timm:net", sys.argv[1], "model.safetensors", sys.argv[2] == "allowed").read_bytes().decode())
except NotFoundError as error:
    sys.exit(str(error))
"""


class Hub(BaseHTTPRequestHandler):
    """The one file of the repository made/net, as Hugging Face answers for it."""

    def do_GET(self):
        self.server.asked.append(self.path)
        found = self.path == "/made/net/resolve/main/model.safetensors"
        self.send_response(200 if found else 404)
        body = CONTENT if found else b""
        self.send_header("Content-Length", str(len(body)))
        if found:
            self.send_header("ETag", '"' + "a" * 40 + '"')
            self.send_header("X-Repo-Commit", COMMIT)
        else:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is absent")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.asked = []
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def fetch(hub, tmp_path):
    """In a process of its own, which reads the hub's address as it starts -> (exit code, what it prints)."""

    def call(repository, word):
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(tmp_path / "hf"),
            "NO_PROXY": "*",
        }
        done = subprocess.run(
            [sys.executable, "-c", FETCH, repository, word], env=environment, capture_output=True, text=True
        )
        return done.returncode, (done.stdout or done.stderr).strip()

    return call


def test_weights_are_fetched_only_where_that_is_allowed(hub, fetch):
    code, message = fetch("made/net", "no")
    assert (code, hub.asked) == (1, [])
    assert message == (
        "extractor timm:net: its weights (made/net, model.safetensors) are not in Hugging Face's cache on this machine"
        ": allow the download (spdq dataset import ... --allow-download), or name a file: timm:net:FILE.safetensors"
    )
    assert fetch("made/net", "allowed") == (0, CONTENT.decode())
    assert any(path.endswith("/main/model.safetensors") for path in hub.asked)
    hub.asked.clear()
    for word in ("no", "allowed"):
        assert fetch("made/net", word) == (0, CONTENT.decode())
    assert hub.asked == []


def test_weights_that_cannot_be_fetched(hub, fetch):
    code, message = fetch("made/other", "allowed")
    assert code == 1
    assert message.startswith(
        "extractor timm:net: its weights (made/other, model.safetensors) cannot be fetched (404"
    )
    assert message.endswith("): try again, or name a file: timm:net:FILE.safetensors")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFoundError, match=r"extractor timm:net: .*none\.safetensors cannot be read \("):
        stored_shapes("timm:net", tmp_path / "none.safetensors")


def test_a_torchvision_that_cannot_be_imported(tmp_path):
    """One that was built for another torch fails with what it likes; it is named, with the way out."""
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('made for another torch')\n")
    code = "from spdq.features.timm_images import import_timm\nimport_timm()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "spdq.errors.MissingExtraError: this extractor needs timm, which cannot be imported "
        '(made for another torch): pip install "spdq[timm]"'
    )


def test_a_library_that_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r'needs timm, .*: pip install "spdq\[timm\]"'):
        import_timm()
