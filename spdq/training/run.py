"""From a data set to a saved model, whichever system learns it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from spdq.data.dataset import Dataset
from spdq.errors import UsageError
from spdq.models.model import Model
from spdq.training.loop import Loop, Progress, Task
from spdq.training.provenance import run_identity

BITS = (16, 32, 64, 128)


def run_training(
    make_task: Callable[[], Task],
    dataset: Dataset,
    recipe: dict[str, Any],
    bits: int,
    seed: int,
    directory: Path | None,
    resume: bool,
    progress: Progress | None,
) -> Model:
    """Make the task, run the loop, make the model of what was learned and save it.

    Parameters
    ----------
    make_task
        Reads the data set and makes the network; what it draws from torch's generator is not seen outside.
    dataset, recipe, bits, seed
        What decides the run, the recipe as a dict of its numbers; a checkpoint of another run is refused.
    directory
        Where checkpoint, log and, in the end, the model go; None keeps nothing. Checkpoints are written every 50
        steps, so an interrupted run loses fewer than that (more where writing takes over a tenth of the time).
    resume
        Go on from the checkpoint in ``directory``, if there is one.
    progress
        Called with (steps done, steps).

    Raises
    ------
    UsageError
        Unknown bits, a negative seed.
    DataError
        The data set lacks what the task needs.
    IncompatibleError
        The checkpoint belongs to another run.
    StorageError
        The directory cannot be written.
    """
    check_bits(bits)
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        task = make_task()
    loop = Loop(task, seed, run_identity(dataset, recipe, seed, bits), directory, resume)
    loop.run(progress)
    split = dataset.split.kind if dataset.split else ""
    model = task.model({**loop.identity, "split": split, **task.sizes, "steps": loop.kept_step})
    if directory is not None:
        model.save_pretrained(directory)
        loop.forget()
    return model


def check_bits(bits: int) -> None:
    """UsageError for a code length that no model has."""
    if bits not in BITS:
        raise UsageError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")
