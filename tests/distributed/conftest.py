"""One private Ray for all tests of a process; none of its processes outlives them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import ModuleType

import pytest

from spdq.distributed.cluster import ray_session

CPUS = 2


@pytest.fixture(scope="session")
def local_ray() -> Iterator[ModuleType]:
    with ray_session(n_cpus=CPUS) as ray:
        yield ray
    assert children_of_ray() == []


def children_of_ray(parent: int | None = None, seconds: float = 10) -> list[str]:
    """The commands of Ray's processes below this one (or ``parent``), once those that are ending have ended."""
    until = time.monotonic() + seconds
    while (found := _commands(parent or os.getpid())) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _commands(parent: int) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/cmdline") as line:
                above = int(stat.read().rpartition(")")[2].split()[1])
                command = line.read().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if above == parent and "ray" in command:
            found.append(command)
    return found
