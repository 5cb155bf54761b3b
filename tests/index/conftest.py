from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from oracles_index import integer_codebooks, make_index

from spdq.index import Index

NOBODY = 65534


class Unprivileged:
    """Gives up root's power to ignore permissions, within ``folder``; nothing to give up for other users."""

    def __init__(self, folder):
        self.folder = folder

    @contextmanager
    def __call__(self):
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)


@pytest.fixture
def unprivileged():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        # Load every module and kernel now: without root's powers they might not be readable.
        with Index.open(make_index(Path(folder) / "warm"), writable=True) as index:
            index.search(np.zeros(6))
        yield Unprivileged(Path(folder))


@pytest.fixture(params=["memory", "disk"])
def new_index(request, tmp_path):
    """Makes empty indexes, in memory or on disk."""
    names = count()

    def new_index(**settings):
        if request.param == "memory":
            return Index(integer_codebooks(), **settings)
        return Index.create(tmp_path / f"i{next(names)}", integer_codebooks(), **settings)

    return new_index
