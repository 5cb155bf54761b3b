"""Training by Ray Train: the model of one process, and the errors of workers (spdq/distributed/training.py)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oracles_training import QUICK, made_dataset

from spdq.distributed.training import _cause, train
from spdq.errors import NotFoundError, StorageError, UnavailableError, UsageError
from spdq.training import train as train_here
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.log import LOG, read_log

# Of Ray itself, as it reads its own settings.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated")

RECIPE = replace(QUICK["default"], mean_embedding=1.0, batch=33)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "made.h5"
    made_dataset().save(path)
    return path


def test_two_workers_make_the_model_of_one_process(local_ray, data, tmp_path):
    seen = []
    folder = tmp_path / "model"
    model = train(
        "spdq",
        data,
        folder,
        bits=16,
        recipe=RECIPE,
        labels="group:",
        seed=1,
        progress=lambda *s: seen.append(s),
    )
    alone = train_here("spdq", made_dataset().select_labels("group:"), 16, RECIPE, 1)
    assert model.config.label_names == alone.config.label_names
    assert model.training == alone.training
    for name, weights in model.network.state_dict().items():
        expected = alone.network.state_dict()[name]
        assert torch.linalg.vector_norm(weights - expected) < 0.01 * torch.linalg.vector_norm(expected), name
    assert [entry["step"] for entry in read_log(folder / LOG)] == [50, 60]
    assert not (folder / CHECKPOINT).exists()
    assert seen == sorted(set(seen))
    assert all(steps == 60 for _, steps in seen)


def test_the_error_of_a_worker_is_raised_here(local_ray, data):
    with pytest.raises(StorageError, match=r"cannot make .*made.h5/model: Not a directory"):
        train("spdq", data, data / "model", bits=16, recipe=RECIPE)


def test_settings_that_are_refused(local_ray, data, tmp_path):
    with pytest.raises(UsageError, match="workers must be 1 or more, got 0"):
        train("spdq", data, tmp_path, workers=0)
    with pytest.raises(
        UsageError, match="3 workers need a CPU of Ray each, and it has 2: take fewer workers"
    ):
        train("spdq", data, tmp_path, workers=3)
    with pytest.raises(NotFoundError, match=r"no data set at .*nothing.h5"):
        train("spdq", tmp_path / "nothing.h5", tmp_path)
    with pytest.raises(UsageError, match="unknown system 'soup'"):
        train("soup", data, tmp_path)


def test_a_lost_worker_is_said_in_one_line():
    told = StorageError("no space")
    assert _cause(told, RuntimeError("any")) is told
    lost = _cause(None, RuntimeError("Training failed:\n\n  The actor died.\n"))
    assert isinstance(lost, UnavailableError)
    assert str(lost).startswith("a rank of the training run is lost (The actor died). The same with resume")
    assert "lost (RuntimeError)." in str(_cause(None, RuntimeError()))
