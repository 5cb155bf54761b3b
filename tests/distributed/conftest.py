"""One private Ray for all tests of a process; none of its processes outlives them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType

import pytest
from ray_processes import ray_processes

from spdq.distributed.cluster import TEMPORARY, ray_session

CPUS = 2


@pytest.fixture(scope="session")
def local_ray() -> Iterator[ModuleType]:
    with ray_session(n_cpus=CPUS) as ray:
        yield ray
    ours = f"spdq-ray-{os.getpid()}-"
    assert ray_processes(ours) == []
    assert list(TEMPORARY.glob(f"{ours}*")) == []
