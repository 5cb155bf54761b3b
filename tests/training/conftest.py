"""Models trained once, in about a second each; nobody may change them."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import pytest
from oracles_training import QUICK, made_dataset

from spdq.training import codebooks
from spdq.training.log import LOG, read_log
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask


@pytest.fixture(scope="session", autouse=True)
def few_mixes():
    """Small made data need few mixes, and thousands cost a second a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebooks, "MIXES", 100)
        yield


@pytest.fixture(scope="session")
def data():
    """``data("raw")`` -> the made data set whose text is of that kind."""
    return cache(lambda text="features": made_dataset(text=text))


@pytest.fixture(scope="session")
def trained(data, tmp_path_factory):
    """``trained("default")`` -> ``model``, ``log``, ``steps`` (as reported) and the ``directory`` it left."""

    def train(recipe="default", text="features", bits=16, seed=0):
        directory = tmp_path_factory.mktemp("run")
        steps = []
        model = train_task(
            SPDQTask,
            data(text),
            bits,
            QUICK[recipe],
            seed,
            directory,
            progress=lambda *step: steps.append(step),
        )
        return SimpleNamespace(model=model, log=read_log(directory / LOG), steps=steps, directory=directory)

    return cache(train)
