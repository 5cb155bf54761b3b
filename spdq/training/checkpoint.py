"""A training run on disk: one safetensors file with the tensors and, in its header, where the run stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spdq.errors import DamagedError, IncompatibleError, StorageError
from spdq.models.directory import write_bytes

CHECKPOINT = "checkpoint.safetensors"


def save_checkpoint(directory: Path, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write the checkpoint, whole or not at all. Raises StorageError where the storage refuses."""
    try:
        content = save(
            {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
            metadata={"state": json.dumps(state, sort_keys=True)},
        )
        write_bytes(directory / CHECKPOINT, content)
    except OSError as error:
        raise StorageError(f"cannot write {directory / CHECKPOINT}: {error.strerror}") from error


def load_checkpoint(directory: Path, run: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the checkpoint of the very run that is described.

    Raises
    ------
    DamagedError
        The file is not a checkpoint.
    IncompatibleError
        It belongs to a run with other settings or other data.
    """
    path = directory / CHECKPOINT
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DamagedError(f"not a checkpoint ({path}): {error}. Remove it and train anew") from error
    different = sorted(name for name in run if state.get("run", {}).get(name) != run[name])
    if different:
        raise IncompatibleError(
            f"the checkpoint belongs to another run: {', '.join(different)} differ ({path}). "
            "Resume with the settings it was started with, or remove it"
        )
    return state, tensors


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer with one parameter group, by parameter number."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put ``optimizer_tensors`` back."""
    state: dict[int, dict[str, Tensor | int]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        # SparseAdam counts its steps in an int: a tensor there would be computed with in single precision.
        whole = tensor.ndim == 0 and not tensor.is_floating_point()
        state.setdefault(int(number), {})[name] = int(tensor) if whole else tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's parameters."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
