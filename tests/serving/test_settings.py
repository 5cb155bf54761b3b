from __future__ import annotations

import subprocess
import sys

import pytest

import spdq.serving
from spdq.errors import MissingExtraError, NotFoundError, UsageError
from spdq.serving.settings import Settings, read_token

TOKEN = "0123456789abcdef"


def test_writes_need_a_token():
    with pytest.raises(UsageError, match=r"writes need a token: name its file \(--token-file\)"):
        Settings(allow_writes=True)
    assert Settings(allow_writes=True, token=TOKEN).allow_writes


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "photos.example", ""])
def test_an_address_others_reach_needs_a_token(host):
    with pytest.raises(UsageError, match="can be reached by others: name the file of a token"):
        Settings(host=host)
    assert not Settings(host=host, token=TOKEN).is_local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_an_address_of_this_machine_does_not(host):
    assert Settings(host=host).is_local


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 4097, "a token with spaces in", "0123456789abcd\u00e9\u00e9"]
)
def test_what_is_no_token(token, tmp_path):
    with pytest.raises(
        UsageError, match=rf"expected a token of 16 to 4096 visible ASCII .* got {len(token)} char"
    ):
        Settings(token=token)
    (tmp_path / "token").write_text(token, "utf-8")
    with pytest.raises(UsageError, match="token: expected a token of 16 to 4096 visible ASCII"):
        read_token(tmp_path / "token")


def test_a_token_is_read_without_its_line_break(tmp_path):
    (tmp_path / "token").write_text(f" {TOKEN}\n")
    assert read_token(tmp_path / "token") == TOKEN


def test_no_file_no_token(tmp_path):
    with pytest.raises(NotFoundError, match=r"none: cannot be read \(No such file"):
        read_token(tmp_path / "none")


@pytest.mark.parametrize("name", ["threads", "deadline", "uploads", "refresh_seconds"])
def test_counts_and_times_are_above_0(name):
    with pytest.raises(UsageError, match=f"{name} must be above 0, got 0"):
        Settings(**{name: 0})


def test_the_queue_is_four_times_the_threads():
    assert Settings(threads=3).waiting == 12
    assert Settings(threads=3, queue=0).waiting == 0


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_a_missing_package_names_the_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'needs the package {package}: pip install "spdq\[serve\]"'):
        spdq.serving.serve  # noqa: B018


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"module 'spdq\.serving' has no attribute 'nothing'"):
        spdq.serving.nothing  # noqa: B018


def test_the_room_is_light_until_it_is_used():
    code = "import sys, spdq.serving; print([m for m in ('fastapi', 'numpy', 'torch', 'uvicorn') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        check=True,
    )
    assert run.stdout == "[]\n"
