"""The loops that train a system, with checkpoints, resumption and a JSONL log."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.models.model import Model
    from spdq.training.loop import Progress

__all__ = ["SYSTEMS", "train"]

SYSTEMS = {
    "spdq": "spdq.training.spdq:train_spdq",
    "csm": "spdq.training.csm:train_csm",
    "mixer": "spdq.training.mixer:train_mixer",
    "gated": "spdq.training.gated:train_gated",
}
"""What trains each system; the first is the default."""


def train(
    system: str,
    dataset: Dataset,
    bits: int = 64,
    recipe: str = "default",
    seed: int = 0,
    directory: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Train a system on the training rows of a data set's split; arguments and errors as ``run_training``.

    Raises
    ------
    UsageError
        An unknown system or recipe.
    """
    from spdq.errors import UsageError

    if system not in SYSTEMS:
        raise UsageError(f"unknown system {system!r}: known are {', '.join(SYSTEMS)}")
    module, _, name = SYSTEMS[system].partition(":")
    model: Model = getattr(import_module(module), name)(
        dataset, bits, recipe, seed, directory, resume, progress
    )
    return model
