"""The loops that train a system, with checkpoints, resumption and a JSONL log."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from spdq.data.dataset import Dataset
    from spdq.models.model import Model
    from spdq.training.loop import Progress
    from spdq.training.recipes import AnyRecipe
    from spdq.training.task import Task

__all__ = ["SYSTEMS", "quantized_for", "train", "with_bits"]

M = TypeVar("M", bound="Model")

SYSTEMS = {
    "spdq": "spdq.training.spdq:SPDQTask",
    "csm": "spdq.training.csm:CSMTask",
    "mixer": "spdq.training.mixer:MixerTask",
    "gated": "spdq.training.gated:GatedTask",
}
"""The task of each system; the first is the default."""


def train(
    system: str,
    dataset: Dataset,
    bits: int = 64,
    recipe: str | AnyRecipe = "default",
    seed: int = 0,
    directory: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Train a system, by its name, on the training rows of a data set's split; the rest is as in ``train_task``.

    Raises
    ------
    UsageError
        An unknown system, too.
    """
    from spdq.training.run import train_task

    model: Model = train_task(task_of(system), dataset, bits, recipe, seed, directory, resume, progress)
    return model


def with_bits(model: M, dataset: Dataset, bits: int) -> M:
    """The same network with codebooks of another length, fitted on the data set it was trained on.

    They are those that training with ``bits`` would have fitted, but for SPDQ's recipe "paper": it then has one Z for
    all lengths, where a run of its own would let each length pull at its Z.

    Raises
    ------
    UsageError
        Bits that are not 16, 32, 64 or 128.
    IncompatibleError
        The data set has other training rows than the model's.
    """
    from spdq.training.run import recoded

    made: M = recoded(task_of(model.config.model_type), model, dataset, bits)
    return made


def quantized_for(model: M, vectors: NDArray[np.float32], bits: int | None = None, seed: int = 0) -> M:
    """The same network with codebooks that are learned from what will be searched.

    Codebooks from training code best what was trained on. An index whose items are mostly new keeps more of their
    order with codebooks of its own; codes and indexes that were made with the others do not go with them.

    Parameters
    ----------
    vectors
        (n, dim) float32 of the items, as ``Model.embed_image``, ``embed_text`` and ``embed_unit`` give them; of more
        than 20,000 a random 20,000 are learned from.
    bits
        Code length, 16, 32, 64 or 128; None keeps the model's.
    seed
        Of the codebooks.

    Raises
    ------
    UsageError
        Other bits, a negative seed.
    DataError
        No vectors, of another width than the model's, or not finite.
    """
    from spdq.training.run import requantized

    made: M = requantized(model, vectors, bits, seed)
    return made


def task_of(system: str) -> type[Task[Any]]:
    """The task of a system, by its name. Raises UsageError for an unknown one."""
    from spdq.errors import UsageError

    if system not in SYSTEMS:
        raise UsageError(f"unknown system {system!r}: known are {', '.join(SYSTEMS)}")
    module, _, name = SYSTEMS[system].partition(":")
    task: type[Task[Any]] = getattr(import_module(module), name)
    return task
