"""From a data set to a saved model, and to the same model with codes of another length, whatever the system."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import torch

from spdq import __version__
from spdq.data.dataset import Dataset
from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.models.model import Model
from spdq.quantizers.codebooks import Floats, checked_vectors
from spdq.training.joining import joined_ranks
from spdq.training.loop import Loop, Progress
from spdq.training.provenance import data_digest, run_identity, training_digest
from spdq.training.recipes import AnyRecipe, chosen_recipe
from spdq.training.task import M, Task
from spdq.training.vectors import OWN_ALONG, additive_codebooks

Q = TypeVar("Q", bound=Model)

BITS = (16, 32, 64, 128)


def train_task(
    task: type[Task[M]],
    dataset: Dataset,
    bits: int = 64,
    recipe: str | AnyRecipe = "default",
    seed: int = 0,
    directory: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> M:
    """Train a system on the training rows of a data set's split.

    Same data, settings, machine and versions give the same model, also when the run was interrupted and resumed:
    every step draws from a generator of its own.

    Where ``torchrun`` or Ray Train has started several processes, each makes this call and they learn together, as its
    ``ranks``: see ``joined_ranks``. All return the model; the first alone writes and reports progress.

    Parameters
    ----------
    task
        The system. Its class says what of the data set is needed and used.
    dataset
        With a split.
    bits
        Code length, 16, 32, 64 or 128.
    recipe
        "default", "paper", or settings of one's own.
    seed
        Of initialisation, batches, dropout, validation rows and codebooks.
    directory
        Where checkpoint, log and, in the end, the model go; None keeps nothing. Checkpoints are written every 50
        steps, so an interrupted run loses fewer than that (more where writing takes over a tenth of the time).
    resume
        Go on from the checkpoint in ``directory``, if there is one; that of another run is refused.
    progress
        Called with (steps done, steps).

    Raises
    ------
    UsageError
        Unknown recipe or bits, a recipe of another system, a negative seed.
    DataError
        The data set lacks what training needs.
    IncompatibleError
        The checkpoint belongs to another run, or ranks have different data or settings.
    StorageError
        The directory cannot be written.
    UnavailableError
        Another rank ended or cannot be reached.
    """
    settings = chosen_recipe(task.recipes, recipe)
    check_bits(bits)
    check_seed(seed)
    with joined_ranks() as ranks:
        if ranks.size > 1:
            same = [dataset.name, asdict(settings), seed, bits, data_digest(dataset), __version__]
            ranks.check_alike("data and settings", json.dumps(same))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            learning = task(dataset, settings, seed, bits)
        learning.ranks = ranks
        identity = run_identity(dataset, asdict(settings), seed, bits)
        loop = Loop(learning, seed, identity, directory, resume)
        loop.run(progress)
        split = dataset.split.kind if dataset.split else ""
        model = learning.model({**identity, "split": split, **learning.sizes, "steps": loop.kept_step})
        if directory is not None and ranks.is_first:
            model.save_pretrained(directory)
            loop.forget()
        ranks.wait()
    return model


def recoded(task: type[Task[M]], model: M, dataset: Dataset, bits: int) -> M:
    """A trained model with codebooks of another length: ``spdq.training.with_bits``, which finds its task."""
    check_bits(bits)
    if training_digest(dataset) != model.training["rows_digest"]:
        raise IncompatibleError(
            f"the model was trained on other rows than data set {dataset.name} has: fit codebooks on the same ones"
        )
    return model.with_codebooks(task.codebooks(model, dataset, bits))


def requantized(model: Q, vectors: Floats, bits: int | None, seed: int) -> Q:
    """A trained model with codebooks learned from vectors (n, dim): ``spdq.training.quantized_for``."""
    length = model.codebooks.bits if bits is None else bits
    check_bits(length)
    check_seed(seed)
    vectors = checked_vectors(vectors, "vectors")
    if not len(vectors):
        raise DataError("there are no vectors to learn codebooks from")
    if vectors.shape[1] != model.codebooks.dim:
        raise DataError(f"vectors have {vectors.shape[1]} columns, those of the model {model.codebooks.dim}")
    codebooks = additive_codebooks(vectors, length, OWN_ALONG, seed)
    return model.with_codebooks(codebooks, f"{len(vectors)} items, seed {seed}")


def check_seed(seed: int) -> None:
    """UsageError for a negative seed."""
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")


def check_bits(bits: int) -> None:
    """UsageError for a code length that no model has."""
    if bits not in BITS:
        raise UsageError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")
