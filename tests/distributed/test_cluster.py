"""Ray as this library starts it: on loopback, with a token, and gone at the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys

import pytest
from ray_processes import ray_processes, run_driver, start_driver

from spdq.distributed import cluster
from spdq.distributed.cluster import TEMPORARY, ray_session
from spdq.errors import IncompatibleError, MissingExtraError, UsageError

ANSWER = "ray.get(ray.remote(num_cpus=1)(lambda: 6 * 7).remote())"
CONNECT = f"""
    import sys
    from spdq.distributed.cluster import ray_session
    from spdq.errors import SpdqError
    try:
        with ray_session(sys.argv[1]) as ray:
            print({ANSWER})
    except SpdqError as error:
        print(type(error).__name__, error)
"""
LISTENERS = f"""
    import os
    from pathlib import Path
    from spdq.distributed.cluster import ray_session

    def listening():
        "Addresses on which processes listen, by what the kernel says of their sockets."
        mine = {{}}
        for fd in Path("/proc").glob("[0-9]*/fd/*"):
            try:
                mine.setdefault(os.readlink(fd), set()).add(fd.parts[2])
            except OSError:
                continue
        for table in ("tcp", "tcp6"):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                part = line.split()
                if part[3] == "0A":
                    owners = mine.get(f"socket:[{{part[9]}}]", set())
                    yield part[1].partition(":")[0], owners

    def ancestors(pid):
        while pid not in ("0", "1"):
            yield pid
            pid = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[1]

    with ray_session(n_cpus=1) as ray:
        {ANSWER}
        ours = [a for a, pids in listening() if any(str(os.getpid()) in ancestors(pid) for pid in pids)]
        print(len(ours), *sorted(set(ours)))
"""
WAIT = """
    import time
    from spdq.distributed.cluster import ray_session
    with ray_session(n_cpus=1) as ray:
        print(ray.get_runtime_context().gcs_address, flush=True)
        time.sleep(100)
"""
AT_ONCE = """
    import ray
    from spdq.distributed.cluster import ray_session
    with ray_session():
        pass
"""


def test_a_session_is_used_where_there_is_one(local_ray):
    with ray_session() as ray:
        assert ray is local_ray
        assert ray.get(ray.remote(num_cpus=1)(lambda: 6 * 7).remote()) == 42
    assert local_ray.is_initialized()


def test_a_private_ray_listens_on_loopback_alone():
    code, out, err = run_driver(LISTENERS)
    assert code == 0, err
    count, *addresses = out.split()
    assert int(count) > 3
    # As the kernel writes 127.0.0.1, and the same within IPv6.
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_a_private_ray_asks_for_its_token():
    with start_driver(WAIT) as program:
        address = program.stdout.readline().strip()
        try:
            code, out, err = run_driver(CONNECT, address, RAY_AUTH_TOKEN="ab" * 32)
        finally:
            program.kill()
    assert code == 0, err
    assert re.fullmatch(
        f"UnavailableError no Ray cluster that takes this token answers at {address} .*RAY_AUTH_TOKEN_PATH", out.strip()
    )  # fmt: skip


def test_a_cluster_by_its_address():
    token = "cd" * 32
    with start_driver(WAIT, RAY_AUTH_TOKEN=token) as program:
        address = program.stdout.readline().strip()
        try:
            assert run_driver(CONNECT, address, RAY_AUTH_TOKEN=token)[:2] == (0, "42\n")
        finally:
            program.kill()


def test_nothing_is_left_of_a_killed_program():
    with start_driver(WAIT) as program:
        assert program.stdout.readline()
        ours = f"spdq-ray-{program.pid}-"
        assert ray_processes(ours, seconds=0)
        program.send_signal(signal.SIGKILL)
    assert ray_processes(ours) == []
    # Its folder goes when the next one starts.
    cluster._remove_leftovers()
    assert list(TEMPORARY.glob(f"{ours}*")) == []


def test_folders_of_living_programs_stay(tmp_path):
    ours = TEMPORARY / f"spdq-ray-{os.getpid()}-kept"
    ours.mkdir()
    try:
        cluster._remove_leftovers()
        assert ours.is_dir()
    finally:
        ours.rmdir()


def test_nobody_at_the_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, out, err = run_driver(CONNECT, f"127.0.0.1:{port}")
    assert code == 0, err
    assert f"UnavailableError no Ray cluster that takes this token answers at 127.0.0.1:{port} (" in out
    assert "refused" in out


def test_ray_that_was_imported_open_to_the_network():
    code, _, err = run_driver(AT_ONCE, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=None)
    assert code == 1
    assert "IncompatibleError: ray was imported before it was told to listen on this machine alone" in err


@pytest.mark.parametrize(("address", "n_cpus"), [(None, 0), ("auto", 2)])
def test_cpus_are_for_a_private_ray(address, n_cpus):
    with pytest.raises(UsageError, match=f"n_cpus must be 1 or more and is for a private Ray, got {n_cpus}"), \
            ray_session(address, n_cpus):  # fmt: skip
        pass


def test_without_ray(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'this needs Ray: pip install "spdq\[ray\]"'), ray_session():
        pass


def test_an_old_ray(monkeypatch):
    monkeypatch.setattr(cluster.metadata, "version", lambda name: "2.58.1")
    with (
        pytest.raises(IncompatibleError, match=r"expected Ray 2\.59 or newer, got 2\.58\.1: pip install"),
        ray_session(),
    ):
        pass
