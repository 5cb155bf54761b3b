"""Two hosts on this machine: network namespaces with a slow, lossy line between them. Needs root.

The line is made of two TUN devices whose packets this process carries over, late or never: kernels are built without
netem, but rarely without TUN.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ADDRESSES = ("10.77.0.1", "10.77.0.2")
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500


def skip_without_two_hosts() -> None:
    """Skip a test where two hosts cannot be made; but as root in CI fail it."""
    if os.geteuid() != 0:
        pytest.skip("two hosts are network namespaces, which need root")
    if shutil.which("ip") is None or not os.path.exists("/dev/net/tun"):
        what = "two hosts need ip (iproute2) and /dev/net/tun"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)


class Line:
    """The line between two hosts: ``seconds`` one way, ``loss`` the share of packets that get lost; both may be changed
    at any time. ``carried`` and ``lost`` count packets.
    """

    def __init__(self, ends: tuple[int, int], seed: int) -> None:
        self.seconds, self.loss, self.carried, self.lost = 0.0, 0.0, 0, 0
        self._ends = ends
        self._random = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _carry(self) -> None:
        under_way: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not self._over.is_set():
            wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else 0.1
            for end in select.select(self._ends, [], [], min(wait, 0.1))[0]:
                packet = os.read(end, 65536)
                if self._random.random() < self.loss:
                    self.lost += 1
                    continue
                other = self._ends[1 - self._ends.index(end)]
                number += 1
                heapq.heappush(under_way, (time.monotonic() + self.seconds, number, other, packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, end, packet = heapq.heappop(under_way)
                os.write(end, packet)
                self.carried += 1


@contextmanager
def two_hosts(name: str, seed: int = 0) -> Iterator[tuple[list[str], list[str], Line]]:
    """The beginning of a command on the first host and on the second, and the line between their ``ADDRESSES``.

    ``name`` is up to 8 letters that nothing else on this machine uses.
    """
    spaces = [f"{name}{number}" for number in (1, 2)]
    ends: list[int] = []
    try:
        for number, space in enumerate(spaces):
            _ip("netns", "add", space)
            ends.append(_tun(space))
            _ip("link", "set", space, "netns", space)
            _ip("-n", space, "address", "add", ADDRESSES[number], "peer", ADDRESSES[1 - number], "dev", space)
            for device in ("lo", space):
                _ip("-n", space, "link", "set", device, "up")
        line = Line((ends[0], ends[1]), seed)
        try:
            yield (
                ["ip", "netns", "exec", spaces[0]],
                ["ip", "netns", "exec", spaces[1]],
                line,
            )
        finally:
            line.close()
    finally:
        for end in ends:
            os.close(end)
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return end


def _ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)
